"""How many threads a product is shared among."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to the calling thread: products of a level's size and less are too small to share, and
    beside other work waiting for each other takes up to a hundred times as long as computing them."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    # Holds for this thread only; the process-wide default for new threads is put back below.
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
