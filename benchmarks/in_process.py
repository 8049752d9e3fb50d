"""ComfyUI and this pack in the benchmark's own process.

    from in_process import pack          # the pack as a package, as ComfyUI loads it
    import comfy.samplers                # after that, ComfyUI's own modules

Benchmarks run in the environment that `python run.py test` makes: with its Python, and COMFYUI_PATH
naming the ComfyUI folder. `python run.py bench NAME` does both.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
NAME = "zoom_stack_pack"
# ComfyUI's base folder until this process ends.
FOLDER = tempfile.TemporaryDirectory(prefix="zoom-stack-bench-", ignore_cleanup_errors=True)


def _comfyui() -> Path:
    path = Path(os.environ.get("COMFYUI_PATH", ""))
    if not (path / "comfy" / "cli_args.py").is_file():
        raise SystemExit("COMFYUI_PATH must name a ComfyUI folder: run `python run.py bench NAME`, or set it.")
    return path.resolve()


def _load() -> ModuleType:
    sys.path.insert(0, str(_comfyui()))
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.base_directory = FOLDER.name
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


pack = _load()
