"""What the person is told."""

from __future__ import annotations


class Problem(Exception):
    """Something the person can act on; its text is all they need to see."""
