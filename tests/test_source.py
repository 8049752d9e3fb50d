"""How the source looks and whether its types fit, by the tools that decide it (requirements-test.txt)."""

from __future__ import annotations

import os
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


def test_benchmarks_that_use_comfyui_start(comfy_path):
    """In one process, which imports torch and ComfyUI once; what they measure takes minutes."""
    texts = {file.name: file.read_text("utf-8") for file in sorted((ROOT / "benchmarks").glob("*.py"))}
    files = [name for name, text in texts.items() if "argparse" in text and "zoom_stack_pack" in text]
    assert "sampling.py" in files
    script = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
for file in {files!r}:
    sys.argv = [file, "--help"]
    try:
        runpy.run_path({str(ROOT / "benchmarks")!r} + "/" + file, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, file
    print("started", file)
"""
    environment = {**os.environ, "COMFYUI_PATH": str(comfy_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("started")] == files, done.stderr
