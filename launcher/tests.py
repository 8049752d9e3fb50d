"""`run.py test`: the whole suite, in the environment that ComfyUI runs in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from . import processes
from .console import say
from .installation import PACK, prepare


def run_tests(comfyui: str | None, arguments: Sequence[str]) -> int:
    """Run pytest; its exit code."""
    installation = prepare(comfyui, for_tests=True)
    say(f"Testing with {installation.python} and ComfyUI in {installation.comfyui}")
    environment = {**os.environ, "COMFYUI_PATH": str(installation.comfyui), "PYTHONUNBUFFERED": "1"}
    # Arguments that name a file or a test replace the default of the whole folder.
    targets = [] if any(Path(a.partition("::")[0]).exists() for a in arguments) else [PACK / "tests"]
    command = [installation.python, "-m", "pytest", "-c", PACK / "tests" / "pytest.ini", *targets, *arguments]
    return processes.wait(processes.spawn(command, env=environment))
