"""What the operators between levels cost: `python run.py bench operators`.

One consolidation (render the noise, blend, render; the drawing of random numbers is not counted) beside the
paper's formulas taken literally, N = 8, zoom 2, medians of runs that take turns. Then blending and fusing in CPU
time with two threads against one: the pack fuses and renders with one. Options: --repeats N, --threads N (for the
first table), --device cpu or cuda.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.benchmark import Measurement, Timer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import paper_operators  # noqa: E402
from zoom_core import ZoomLevels, blend, render_image, render_noise  # noqa: E402
from zoom_core.seams import blend_agreeing, feather_seams  # noqa: E402

COUNT, ZOOM = 8, 2
TARGETS = {64: 3.0, 512: 150.0}
THREADS_SIZES = (64, 256, 1024)


def medians(works: list[tuple[Callable, int]], repeats: int, clock: Callable[[], float] | None = None) -> list[float]:
    """Milliseconds of works with so many threads each, which take turns so that all meet the same machine.

    clock: seconds; by default the time of day, with a GPU's work awaited.
    """
    options = {} if clock is None else {"timer": clock}
    timers = [Timer("work()", globals={"work": work}, num_threads=threads, **options) for work, threads in works]
    for timer in timers:
        timer.timeit(1)
    runs = [[timer.timeit(1) for timer in timers] for _ in range(repeats)]
    return [1e3 * Measurement.merge(column)[0].median for column in zip(*runs)]


def levels(size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and noise [N, 3, size, size]."""
    generator = torch.Generator().manual_seed(0)
    images, noise = (torch.randn(COUNT, 3, size, size, generator=generator).to(device) for _ in range(2))
    return images, noise


def beside_the_paper(devices: list[torch.device], threads: int, repeats: int) -> None:
    print("| device | levels | ours, ms | formulas as printed, ms | ratio | target, ms |\n|---|---|---|---|---|---|")
    for device in devices:
        for size, target in TARGETS.items():
            images, noise = levels(size, device)
            geometry = ZoomLevels.uniform(COUNT, ZOOM).resolve(size, size)

            def ours():
                return render_image(blend(images, geometry, "multi-resolution"), geometry), render_noise(
                    noise, geometry
                )

            def printed():
                return paper_operators.consolidate(images, noise, ZOOM)

            mine, theirs = medians([(ours, threads), (printed, threads)], repeats)
            wanted = f"{target:g}" if device.type == "cpu" else "-"
            print(
                f"| {device.type} | 3 x {size} x {size} | {mine:.2f} | {theirs:.1f} | {theirs / mine:.1f} | {wanted} |",
                flush=True,
            )


def two_threads_against_one(repeats: int) -> None:
    print("\n| work | levels | CPU ms, one thread | CPU ms, two | ratio | ms by the clock, one | two |")
    print("|---|---|---|---|---|---|---|")
    for size in THREADS_SIZES:
        images, _ = levels(size, torch.device("cpu"))
        geometry = ZoomLevels.uniform(COUNT, ZOOM).resolve(size, size)

        def consolidate():
            return render_image(blend(images, geometry), geometry)

        def fuse():
            # `seams.fuse` but for its own choice of one thread.
            return feather_seams(blend_agreeing(images, geometry, "border"), geometry)

        for name, work in (("consolidate", consolidate), ("fuse", fuse)):
            pair = [(work, 1), (work, 2)]
            cpu, clock = medians(pair, repeats, time.process_time), medians(pair, repeats)
            print(
                f"| {name} | 3 x {size} x {size} | {cpu[0]:.1f} | {cpu[1]:.1f} | {cpu[1] / cpu[0]:.2f} "
                f"| {clock[0]:.1f} | {clock[1]:.1f} |",
                flush=True,
            )


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    devices = [torch.device("cpu")] + [torch.device(args.device)] * (args.device != "cpu")
    print(f"torch {torch.__version__}, {args.threads} threads, N = {COUNT}, zoom {ZOOM}\n")
    beside_the_paper(devices, args.threads, args.repeats)
    two_threads_against_one(max(args.repeats // 3, 3))


if __name__ == "__main__":
    main()
