"""Peak memory of making a video, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_CHILD = """
import os, resource, sys, tempfile
sys.path.insert(0, {root!r})
import torch
from benchmarks.render import encode
from zoom_core import ZoomLevels
from zoom_core.stack import ZoomStack
from zoom_core.stream import stream_frames
height, width, levels, count = {height}, {width}, {levels}, {count}

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

zoom = ZoomLevels.uniform(levels)
generator = torch.Generator().manual_seed(0)
layers = torch.nn.functional.interpolate(
    torch.rand(levels, 3, height // 8, width // 8, generator=generator), (height, width), mode="bilinear")
stack = ZoomStack(layers, zoom.resolve(height, width), zoom)
del layers
before = resident()
open("/proc/self/clear_refs", "w").write("5")
zooms = [(levels - 1) * i / (count - 1) for i in range(count)]
with tempfile.TemporaryDirectory() as folder:
    encode(stream_frames(stack, zooms, height, width), os.path.join(folder, "v.mp4"), width, height)
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
print(int(peak.split()[1]) * 1024 - before)
"""


def peak(height: int, width: int, levels: int, count: int) -> float:
    """MiB above the stack itself while `count` frames are rendered and encoded (Linux only)."""
    code = _CHILD.format(root=str(_ROOT), height=height, width=width, levels=levels, count=count)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) / 2**20


def rows() -> list[dict[str, object]]:
    """The table of `render.py --memory`."""
    cases = [(256, 256, 6, 300), (256, 256, 6, 3000), (2160, 3840, 3, 48)]
    return [
        {"output and levels": f"{w} x {h}", "frames": n, "peak MiB": peak(h, w, levels, n)} for h, w, levels, n in cases
    ]
