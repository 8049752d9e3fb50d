"""One consolidation, ours beside the paper's formulas taken literally: `python run.py bench operators`.

Render the noise, blend, render; the drawing of random numbers is not counted. N = 8, zoom 2, medians of
runs that take turns. Options: --repeats N, --threads N, --device cpu or cuda.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import paper_operators

from zoom_core import ZoomLevels, blend, render_image, render_noise

COUNT, ZOOM = 8, 2
TARGETS = {64: 3.0, 512: 150.0}


def milliseconds(function, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - begin)


def compare(size: int, repeats: int, device: torch.device) -> tuple[float, float]:
    """(ours, the paper's formulas) in milliseconds, medians."""
    generator = torch.Generator().manual_seed(0)
    images, noise = (torch.randn(COUNT, 3, size, size, generator=generator).to(device) for _ in range(2))
    geometry = ZoomLevels.uniform(COUNT, ZOOM).resolve(size, size)

    def ours():
        return render_image(blend(images, geometry, "multi-resolution"), geometry), render_noise(noise, geometry)

    def theirs():
        return paper_operators.consolidate(images, noise, ZOOM)

    ours(), theirs()
    rows = [(milliseconds(ours, device), milliseconds(theirs, device)) for _ in range(repeats)]
    return tuple(statistics.median(column) for column in zip(*rows))


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    devices = [torch.device("cpu")] + [torch.device(args.device)] * (args.device != "cpu")
    print(f"torch {torch.__version__}, {args.threads} threads, N = {COUNT}, zoom {ZOOM}\n")
    print("| device | levels | ours, ms | formulas as printed, ms | ratio | target, ms |\n|---|---|---|---|---|---|")
    for device in devices:
        for size, target in TARGETS.items():
            ours, theirs = compare(size, args.repeats, device)
            wanted = f"{target:g}" if device.type == "cpu" else "-"
            print(
                f"| {device.type} | 3 x {size} x {size} | {ours:.2f} | {theirs:.1f} | {theirs / ours:.1f} | {wanted} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
