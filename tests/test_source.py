"""How the source looks and whether its types fit, by the tools that decide it (requirements-test.txt)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def check(tool: str, *arguments: str | Path) -> None:
    """Runs a tool on the project; what it finds is the test's failure."""
    pytest.importorskip(tool, reason=f"needs {tool} (requirements-test.txt)")
    command = [sys.executable, "-m", tool, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_source_is_formatted():
    check("ruff", "format", "--check", "--diff", "--no-cache")


def test_source_is_free_of_what_the_linter_finds():
    check("ruff", "check", "--no-cache")


def test_types_fit(comfy_path):
    """With ComfyUI's own types where the nodes use them; what of that is dynamic says pyproject.toml."""
    # In the cache's ComfyUI a package may be named as one of ours: ours come first.
    paths = ["--search-path", ROOT, "--search-path", comfy_path]
    check("pyrefly", "check", "--python-interpreter-path", sys.executable, *paths, "--output-format", "min-text")
