"""The paper's ablations (figure 10) and photographs, on the demo model: `python run.py bench ablation`.

Every option is sampled with the same seeds. A row is the mean over seeds, with the standard deviation:
    misfit     rms difference between D(level i+1) and the inset of level i, 0..255
    seam       step across an inset's border over the steps next to it, 1 = no border to see
    detail     energy of the finest octave of levels 1.., in percent of levels sampled alone
Options: --seeds N, --steps N, --levels N, --zoom Z (at 2 neighbours share a quarter of their area, at 4 a sixteenth, and
the options differ less).
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from in_process import ROOT  # isort: skip  (makes ComfyUI importable)
import torch
from comfy.utils import set_progress_bar_enabled
from zoom_stack_pack.demo_model import load
from zoom_stack_pack.nodes.guides import ZoomPhotoGuide
from zoom_stack_pack.nodes.prompts import ZoomPromptList
from zoom_stack_pack.nodes.sampling import MultiScaleJointKSampler
from zoom_stack_pack.zoom_core import downscale
from zoom_stack_pack.zoom_core.photograph import crop_photograph

OPTIONS = {
    "joint (the method)": {},
    "iterative update": {"update": "iterative"},
    "naive average": {"blending": "average"},
    "independent noise": {"shared_noise": False},
    "levels on their own": {"blending": "none", "shared_noise": False},
}


def sample(demo, conds, seed: int, steps: int, zoom: float, **changed) -> tuple[torch.Tensor, object]:
    """(levels [N, 3, H, W] in 0..1, geometry) of the sampler node."""
    model, _, vae = demo
    positive, negative, levels = conds
    given = dict(
        model=model, levels=levels, seed=seed, steps=steps, cfg=3.0, sampler_name="euler", scheduler="simple",
        denoise=1.0, blending="multi-resolution", shared_noise=True, update="joint", consistency="latent",
        consistency_every=1, start_percent=0.0, end_percent=1.0, vae=vae,
    )  # fmt: skip
    given.update(changed)
    latent = {"samples": torch.zeros(1, 3, 64, 64)}
    lists = {name: [value] for name, value in given.items()}
    latent, resolved = MultiScaleJointKSampler.execute(
        positive=positive, negative=negative, latent_image=[latent], **lists
    ).args
    return vae.decode(latent["samples"])[..., :3].movedim(-1, 1), resolved.geometry


def finest(images: torch.Tensor) -> float:
    """Mean energy of the finest octave."""
    coarse = downscale(images, images.shape[-2] // 2, images.shape[-1] // 2)
    return float((images - coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)).square().mean())


def seam(levels: torch.Tensor, geometry) -> float:
    """Mean step across the borders of insets as a viewer sees them, over the steps on either side."""
    across, beside = [], []
    for i, n in enumerate(geometry.insets):
        seen = levels[i].clone()
        seen[:, n.top : n.top + n.height, n.left : n.left + n.width] = downscale(levels[i + 1], n.height, n.width)
        for image, start, length, low, high in (
            (seen, n.top, n.height, n.left, n.left + n.width),
            (seen.mT, n.left, n.width, n.top, n.top + n.height),
        ):
            steps = (image[:, 1:] - image[:, :-1]).abs()[:, :, low:high].mean((0, 2))
            for edge, outwards in ((start - 1, -1), (start + length - 1, 1)):
                across.append(float(steps[edge]))
                beside += [float(steps[edge + outwards]), float(steps[edge - outwards])]
    return statistics.mean(across) / statistics.mean(beside)


def misfit(levels: torch.Tensor, geometry) -> float:
    """Root mean square, in steps of 1/255."""
    errors = [
        (
            downscale(levels[i + 1], n.height, n.width)
            - levels[i, :, n.top : n.top + n.height, n.left : n.left + n.width]
        )
        .square()
        .mean()
        for i, n in enumerate(geometry.insets)
    ]
    return 255 * float(torch.stack(errors).mean().sqrt())


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.pstdev(values):.2f}"


def ablations(demo, conds, seeds: range, steps: int, zoom: float) -> None:
    print("| option | misfit, /255 | seam | detail, % |\n|---|---|---|---|")
    alone = {s: finest(sample(demo, conds, s, steps, zoom, **OPTIONS["levels on their own"])[0][1:]) for s in seeds}
    for name, option in OPTIONS.items():
        rows = []
        for seed in seeds:
            levels, geometry = sample(demo, conds, seed, steps, zoom, **option)
            rows.append((misfit(levels, geometry), seam(levels, geometry), 100 * finest(levels[1:]) / alone[seed]))
        print("| " + " | ".join([name, *map(spread, zip(*rows))]) + " |", flush=True)


def photographs(demo, conds, seeds: range, steps: int, zoom: float) -> None:
    """How closely a photograph is kept: a level of another zoom with the same prompts."""
    print("\n| photograph at level | method | PSNR, dB |\n|---|---|---|")
    count = len(conds[2])
    for level in (0, count // 2, count - 1):
        for method in ("projection", "adam"):
            values = []
            for seed in seeds:
                source = sample(demo, conds, seed + 1000, steps, zoom)[0][level]
                picture = source[None].movedim(1, -1)
                guide = ZoomPhotoGuide.execute(
                    picture, level=level, method=method, steps=5, learning_rate=0.1, start_percent=0.0, end_percent=1.0
                ).args[0]
                levels, _ = sample(demo, conds, seed, steps, zoom, guide=guide)
                error = (levels[level] - crop_photograph(source, 64, 64)).square().mean()
                values.append(float(-10 * torch.log10(error.clamp_min(1e-12))))
            print(f"| {level} | {method} | {spread(values)} |", flush=True)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--zoom", type=float, default=2.0)
    parser.add_argument("--levels", type=int, default=6, help="so many of the prompts")
    parser.add_argument("--prompts", type=Path, default=ROOT / "demo_model" / "prompts.txt")
    args = parser.parse_args()
    set_progress_bar_enabled(False)
    demo = load.load()
    prompts = "\n".join(args.prompts.read_text("utf-8").splitlines()[: args.levels])
    conds = ZoomPromptList.execute(demo[1], prompts, "", args.zoom, "", "").args
    seeds = range(args.seeds)
    print(f"{len(conds[2])} levels, zoom {args.zoom:g}, {args.steps} steps, {args.seeds} seeds\n")
    ablations(demo, conds, seeds, args.steps, args.zoom)
    photographs(demo, conds, seeds, args.steps, args.zoom)


if __name__ == "__main__":
    main()
