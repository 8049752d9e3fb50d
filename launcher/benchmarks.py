"""`run.py bench NAME`: one of the benchmarks, in the environment that ComfyUI runs in."""

from __future__ import annotations

import os
from collections.abc import Sequence

from . import processes
from .console import Problem
from .installation import PACK, prepare

NAMES = ("ablation", "operators", "render", "sampling")


def run_benchmark(comfyui: str | None, arguments: Sequence[str]) -> int:
    """Run the benchmark that the first argument names with the others; its exit code."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name not in NAMES:
        raise Problem(f"bench: expected one of {', '.join(NAMES)}, got {name or 'nothing'}.")
    installation = prepare(comfyui)
    environment = {**os.environ, "COMFYUI_PATH": str(installation.comfyui), "PYTHONUNBUFFERED": "1"}
    command = [installation.python, PACK / "benchmarks" / f"{name}.py", *rest]
    return processes.wait(processes.spawn(command, env=environment))
