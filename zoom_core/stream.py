"""Frames of a video, rendered while someone takes them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from .camera import Shot
from .compose import RAMP
from .stack import ZoomStack
from .view import StackRenderer

# An encoder takes two to four times what a frame takes to render: more would only wait.
_MAX_WORKERS = 4


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """Rendering threads for this machine: half of its cores, the encoder has the other half."""
    return min(max(available_cores() // 2, 1), _MAX_WORKERS)


def stream_frames(
    stack: ZoomStack,
    shots: Iterable[Shot | float],
    height: int,
    width: int,
    fit: str = "crop",
    device: torch.device | str | None = None,
    workers: int | None = None,
    bits: int = 8,
    ramp: float = RAMP,
) -> Generator[np.ndarray]:
    """The views at `shots` (or zooms, in levels), in order, as `StackRenderer.frame` gives them.

    A few frames are rendered ahead by `workers` threads while the caller uses those before, so
    that memory does not depend on how many there are. A shot equal to the one before it (a
    hold) is the same array again: do not write into what is yielded. Closing the iterator
    stops the threads. height, width, fit, device, bits, ramp: see `StackRenderer`.
    """
    device = stack.layers.device if device is None else torch.device(device)
    if workers is None:
        # Every thread keeps levels of its own on the device; a GPU is busy with one.
        workers = default_workers() if device.type == "cpu" else 1
    threads = threading.local()

    def render(shot: Shot) -> np.ndarray:
        if not hasattr(threads, "renderer"):
            threads.renderer = StackRenderer(stack, height, width, fit, device, ramp)
        return threads.renderer.frame(shot.zoom, bits, shot.roll)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="zoom-stack-frames")
    ahead: deque[Future[np.ndarray]] = deque()
    last: Shot | None = None
    try:
        for shot in shots:
            shot = shot if isinstance(shot, Shot) else Shot(shot)
            ahead.append(ahead[-1] if ahead and shot == last else pool.submit(render, shot))
            last = shot
            if len(ahead) > workers + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
