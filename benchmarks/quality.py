"""What comes out of the sampler, on the demo model: `python run.py bench quality`.

Stacks of captions of drawn worlds that nobody trained on, every option with the same seeds:
    kinds      levels that the judge (demo_model/judge.py) takes for what their caption says, percent
    FD         Frechet distance to other drawn pictures of these kinds
    octaves    energy of details of 1-2, 2-4 and 4-8 pixels, percent of the drawn worlds'
    seam       step across an inset's border over the steps next to it, 1 = no border to see
    coarse     the same for means of 4 x 4 pixels: do surroundings and inset belong together?
    washed     stacks with a level whose mean is below .05 or above .85, and drawn ones of its kind are not
    misfit     rms difference between level i+1 one level down and the inset of level i, 0..255
All but misfit are of the levels as shown, fused and rendered. +-: the standard deviation over groups of stacks.
Options: --worlds N (stacks), --first N (the first world), --levels N, --zoom Z, --photographs,
--finish (the second stage, at 256 x 256), --only NAME .., --sheet FILE (levels alone, the paper's, ours, drawn),
--prompts FILE (one zoom of twelve levels with many seeds, in place of the worlds' captions; drawn are then pictures
of other worlds that show what a prompt says, and in the middle what the next one says).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from in_process import ROOT  # isort: skip  (makes ComfyUI importable)
import torch
from comfy.utils import set_progress_bar_enabled
from comfy_extras.nodes_fresca import FreSca
from comfy_extras.nodes_sdupscale import SD_4XUpscale_Conditioning
from measure import border_step as sharpness_step
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.utils import save_image
from zoom_stack_pack.demo_model import load
from zoom_stack_pack.demo_model.evaluate import CFG, CFG_ALONE, FRESCA, GUIDED, RESTARTS, SAMPLER, STEPS
from zoom_stack_pack.demo_model.judge import Judge, Worlds, frechet, kept_out_worlds, octaves, worlds_for
from zoom_stack_pack.demo_model.upscaler import shrink, trained
from zoom_stack_pack.demo_model.world import draw
from zoom_stack_pack.nodes.guides import ZoomPhotoGuide
from zoom_stack_pack.nodes.prompts import ZoomPromptList
from zoom_stack_pack.nodes.sampling import MultiScaleJointKSampler
from zoom_stack_pack.zoom_core import downscale, render_image
from zoom_stack_pack.zoom_core.photograph import crop_photograph
from zoom_stack_pack.zoom_core.seams import fuse

# The judge keeps its classifier in the launcher's cache folder.
sys.path.append(str(ROOT))

DEFAULT = "border (the default)"
PAPER = {"blending": "multi-resolution"}
WHOLE = {"cfg_start_percent": 0.0, "cfg_end_percent": 1.0}
ALONE = {"blending": "none", "shared_noise": False}
SINGLE = {"cfg": CFG_ALONE, "fresca": None, "restarts": 0}  # what a single picture wants
OPTIONS = {
    "levels on their own": ALONE,
    "the paper's mean": PAPER,
    DEFAULT: {},
    "levels on their own, as single pictures": {**ALONE, **SINGLE},
    "the paper's mean, as single pictures": {**PAPER, **SINGLE},
    "border, no restart": {"restarts": 0},
    "border, large shapes guided like small ones": {"fresca": None},
    "border, as single pictures": SINGLE,
    "border, dpmpp_2m, 16 steps": {"sampler_name": "dpmpp_2m", "steps": 16},
    "border, cfg throughout": WHOLE,
    "the paper's mean, cfg throughout": {**PAPER, **WHOLE},
    "naive average": {"blending": "average"},
    "iterative update": {"update": "iterative"},
    "independent noise": {"shared_noise": False},
}
DRAWN = 32  # pictures of each prompt that stacks of prompts are compared with
SHOWN = ("levels on their own", "the paper's mean", DEFAULT)


def run_sampler(positive: list, negative: list, samples: torch.Tensor, given: dict) -> tuple[torch.Tensor, object]:
    """(levels [N, 3, H, W] in 0..1, geometry) of the sampler node; given: its other inputs, the VAE among them."""
    lists = {name: [value] for name, value in given.items()}
    latent, resolved = MultiScaleJointKSampler.execute(
        positive=positive, negative=negative, latent_image=[{"samples": samples}], **lists
    ).args
    return given["vae"].decode(latent["samples"])[..., :3].movedim(-1, 1), resolved.geometry


def sample(demo, conds, seed: int, fresca: tuple | None = FRESCA, **changed) -> tuple[torch.Tensor, object]:
    """(levels [N, 3, H, W] in 0..1, geometry) of the sampler node as text-to-zoom has it, but for what is changed.

    fresca: inputs of core's node before it, or none for no such node.
    """
    model, _, vae = demo
    if fresca:
        (model,) = FreSca.execute(model, *fresca).args
    positive, negative, levels = conds
    given = dict(
        model=model, levels=levels, seed=seed, steps=STEPS, cfg=CFG, sampler_name=SAMPLER, scheduler="simple",
        denoise=1.0, blending="border", shared_noise=True, update="joint", consistency="latent", consistency_every=1,
        start_percent=0.0, end_percent=1.0, cfg_start_percent=GUIDED[0], cfg_end_percent=GUIDED[1],
        restarts=RESTARTS, vae=vae,
    )  # fmt: skip
    given.update(changed)
    return run_sampler(positive, negative, torch.zeros(1, 3, 64, 64), given)


def border_step(levels: torch.Tensor, geometry, block: int = 1) -> tuple[float, float]:
    """Sums of the mean absolute steps (across the borders of insets, on either side of them), over all levels.

    block: steps between means of so many pixels a side; insets have to lie on its grid.
    """
    across = beside = 0.0
    for image, inset in zip(levels, geometry.insets):
        n = [int(value) // block for value in inset]
        means = avg_pool2d(image, block)
        for view, start, length, low, high in (
            (means, n[1], n[3], n[0], n[0] + n[2]),
            (means.mT, n[0], n[2], n[1], n[1] + n[3]),
        ):
            steps = (view[..., 1:] - view[..., :-1]).abs()[:, low:high].mean((0, 1))
            for edge in (start - 1, start + length - 1):
                across += float(steps[edge])
                beside += float(steps[edge - 1] + steps[edge + 1]) / 2
    return across, beside


def misfit(levels: torch.Tensor, geometry) -> float:
    """Root mean square, in steps of 1/255."""
    errors = [
        (downscale(inner, int(n.height), int(n.width)) - outer[:, int(n.top) :, int(n.left) :]
         [:, : int(n.height), : int(n.width)]).square().mean()
        for outer, inner, n in zip(levels, levels[1:], geometry.insets)
    ]  # fmt: skip
    return 255 * float(torch.stack(errors).mean().sqrt())


def shown(levels: torch.Tensor, geometry, option: dict) -> torch.Tensor:
    """The levels as a film shows them."""
    blending = option.get("blending", "border")
    if blending == "none":
        return levels
    return render_image(fuse(levels, geometry, blending), geometry)


def energies(stacks: list[torch.Tensor], drawn: torch.Tensor, count: int) -> list[float]:
    """Energies of `count` octaves in percent of those of the pictures `drawn`."""
    return [100 * ours / true for ours, true in zip(octaves(torch.cat(stacks), count), octaves(drawn, count))]


def step_ratio(stacks: list[torch.Tensor], geometry, block: int) -> float:
    """Steps across the borders of insets over those beside them; see `border_step`."""
    across, beside = zip(*(border_step(stack, geometry, block) for stack in stacks))
    return sum(across) / sum(beside)


class Comparison:
    """What `count` stacks are compared with, and what tells how far they are from it.

    Stacks of the captions of drawn worlds are compared with these worlds, each with its own. Stacks of a list of
    prompts, which are alike, are compared with drawn pictures of what the prompts say: these differ much from one to
    the next, so all stacks are compared with all of them, at least DRAWN of each prompt.
    """

    def __init__(self, judge: Judge, prompts: list[str], count: int, levels: int, first: int):
        """prompts: one for each kind, or none for the captions of worlds from number `first` on."""
        self.judge, self.prompts, self.count, self.levels, self.first = judge, prompts, count, levels, first
        self.worlds = self.drawn(64)
        self.kinds = self.worlds.kinds[: count * levels]  # of the stacks' levels
        if prompts:
            self.reference = judge.features(worlds_for(prompts, 2 * count, max(DRAWN, count)).pictures)
        else:
            self.reference = judge.reference(self.worlds.kinds, 2)

    def drawn(self, size: int) -> Worlds:
        """The drawn pictures, `size` pixels large."""
        if self.prompts:
            return worlds_for(self.prompts, max(DRAWN, self.count), 0, size)
        return kept_out_worlds(self.count, self.levels, self.first, size)

    def figures(self, stacks: list[torch.Tensor], numbers: torch.Tensor, geometry) -> list[float]:
        """kinds, three octaves, seam and coarse step of the stacks of these numbers."""
        part = slice(int(numbers[0]) * self.levels, (int(numbers[-1]) + 1) * self.levels)
        found, drawn = [stacks[i] for i in numbers], self.worlds.pictures
        steps = [step_ratio(found, geometry, block) for block in (1, 4)]
        return [
            self.recognised(torch.cat(found), part),
            *energies(found, drawn if self.prompts else drawn[part], 3),
            *steps,
        ]

    def recognised(self, pictures: torch.Tensor, part: slice = slice(None)) -> float:
        """Percent of pictures of this part of all levels of all stacks that show their kind."""
        return 100 * self.judge.recognised(pictures, self.kinds[part])

    def distance(self, pictures: torch.Tensor) -> float:
        """Frechet distance of pictures [N, 3, 64, 64] to other drawn ones."""
        return self.judge.frechet(pictures, self.reference)

    def washed(self, stacks: list[torch.Tensor]) -> list[tuple[int, int, float, str]]:
        """(stack, level, its mean, what was expected) of levels that are black or white and not as drawn ones are."""
        means = torch.stack(stacks).mean((2, 3, 4))
        # Space is black in drawn pictures, too.
        drawn = self.worlds.pictures.mean((1, 2, 3)).view(-1, self.levels)
        low, high = drawn.amin(0).clamp(max=0.05), drawn.amax(0).clamp(min=0.85)
        return [
            (stack, level, float(means[stack, level]), f"{float(low[level]):.3f} to {float(high[level]):.3f}")
            for stack, level in ((means < low) | (means > high)).nonzero().tolist()
        ]


def spread(values: list[float]) -> str:
    deviation = statistics.pstdev(values)
    digits = 2 if max(values) < 20 else 0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def table(name: str, stacks: list[torch.Tensor], geometry, comparison: Comparison, misfits: list[float]) -> None:
    """One line: figures of groups of a quarter of the stacks each, FD of all of them."""
    count = len(stacks)
    groups = torch.arange(count).tensor_split(min(4, count))
    rows = [comparison.figures(stacks, group, geometry) for group in groups]
    washed = comparison.washed(stacks)
    figures = [spread(list(column)) for column in zip(*rows)]
    figures.insert(1, f"{comparison.distance(torch.cat(stacks)):.2f}")
    figures += [
        f"{len({stack for stack, *_ in washed})} of {count}",
        f"{statistics.mean(misfits):.1f}" if misfits else "-",
    ]
    print("| " + " | ".join([name, *figures]) + " |", flush=True)
    for stack, level, mean, expected in washed:
        print(f"  (washed: stack {stack}, level {level}: mean {mean:.3f}, expected {expected})", flush=True)


def photographs(demo, conds, seeds: range) -> None:
    """How closely a photograph is kept: a level of another zoom with the same prompts."""
    print("\n| photograph at level | method | PSNR, dB |\n|---|---|---|")
    count = len(conds[2])
    for level in (0, count // 2, count - 1):
        for method in ("projection", "adam"):
            values = []
            for seed in seeds:
                source = sample(demo, conds, seed + 1000)[0][level]
                picture = source[None].movedim(1, -1)
                guide = ZoomPhotoGuide.execute(
                    picture, level=level, method=method, steps=5, learning_rate=0.1, start_percent=0.0, end_percent=1.0
                ).args[0]
                levels, _ = sample(demo, conds, seed, guide=guide)
                error = (levels[level] - crop_photograph(source, 64, 64)).square().mean()
                values.append(float(-10 * torch.log10(error.clamp_min(1e-12))))
            print(f"| {level} | {method} | {spread(values)} |", flush=True)


def contact_sheet(*found: list[torch.Tensor]) -> torch.Tensor:
    """One picture [1, 3, H, W]: the first three stacks, a stack a line, as each of `found` has them."""
    rows = [torch.cat(list(stack), -1) for each in zip(*(stacks[:3] for stacks in found)) for stack in each]
    return torch.cat(rows, -2)[None]


def finished(second, vae, conds, pictures: torch.Tensor, seed: int) -> tuple[torch.Tensor, object]:
    """(levels [N, 3, H, W] in 0..1, geometry) of the sampler node with the second stage, as the templates have it.

    pictures: the enlarged levels [N, 3, H, W].
    """
    positive, negative, levels = conds
    images = pictures.movedim(1, -1)
    shown = [SD_4XUpscale_Conditioning.execute(images, *pair, 4.0, 0.0).args for pair in zip(positive, negative)]
    given = dict(
        model=second, levels=levels, seed=seed, steps=8, cfg=1.0, sampler_name="dpmpp_2m", scheduler="beta",
        denoise=0.7, vae=vae,
    )  # fmt: skip
    positive, negative, _ = zip(*shown)
    return run_sampler(list(positive), list(negative), vae.encode(images), given)


def parts(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [N, 3, 256, 256] cut into sixteen each: [16 N, 3, 64, 64]."""
    cut = pictures.unfold(2, 64, 64).unfold(3, 64, 64)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def second_stage(demo, conds, sampled: list[torch.Tensor], seeds: range, comparison: Comparison) -> list:
    """A table of levels at 256 x 256, enlarged only and finished, beside drawn ones; these stacks of all three.

    FD of parts: of sixteenths of 64 x 64, to other drawn pictures' of 256 x 256. Square: by how many bits the finest
    detail's energy is higher just inside an inset's border than just outside, in the mean.
    """
    second, judge = load.load_finish(), comparison.judge
    drawn = list(comparison.drawn(256).pictures.split(comparison.levels))
    if comparison.prompts:
        others = worlds_for(comparison.prompts, 8, len(drawn), 256).pictures
    else:
        others = [draw(40_000_000 + 13 * i, float(i % 12), 256) for i in range(96)]
        others = torch.stack([torch.from_numpy(p) for p in others]).permute(0, 3, 1, 2)
    others = judge.features(parts(others))
    upscaler = trained()
    large, small = [], []
    for seed, cond, stack in zip(seeds, conds, sampled):
        pictures = upscaler(stack).clamp(0, 1)
        levels, geometry = finished(second, demo[2], cond, pictures, seed)
        small.append(shown(pictures, geometry, {}))
        large.append(shown(levels, geometry, {}))
    print("\n| 256 x 256 | kinds % | FD | FD of parts | octaves 1 to 4, % | seam | coarse | square, bits |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, found in (("drawn", drawn[: len(sampled)]), ("enlarged", small), ("finished", large)):
        pictures = torch.cat(found)
        through = torch.cat([shrink(stack) for stack in found])
        percent = " ".join(f"{energy:.0f}" for energy in energies(found, torch.cat(drawn), 4))
        seam, coarse = (step_ratio(found, geometry, block) for block in (1, 16))
        square = statistics.mean(
            sharpness_step(level.mean(0).numpy(), 96, 160) for stack in found for level in stack[:-1]
        )
        print(
            f"| {name} | {comparison.recognised(through):.0f} | {comparison.distance(through):.2f} "
            f"| {frechet(judge.features(parts(pictures)), others):.2f} | {percent} | {seam:.2f} | {coarse:.2f} "
            f"| {square:.1f} |",
            flush=True,
        )
    return [small, large, drawn]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=16, help="stacks of each option")
    parser.add_argument("--first", type=int, default=100, help="number of the first world")
    parser.add_argument("--levels", type=int, default=12)
    parser.add_argument("--zoom", type=float, default=4.0)
    parser.add_argument("--prompts", type=Path, help="prompts of these kinds, one a line, for all stacks")
    parser.add_argument("--only", nargs="*", help="these options only")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of three stacks here")
    parser.add_argument("--finish", action="store_true", help="the second stage, too")
    parser.add_argument("--photographs", action="store_true", help="how closely photographs are kept, too")
    args = parser.parse_args()
    set_progress_bar_enabled(False)
    prompts = args.prompts.read_text("utf-8").strip().split("\n") if args.prompts else []
    n = args.levels
    if n != 12 and (prompts or args.finish):
        raise SystemExit(f"--prompts and --finish need all twelve levels, got --levels {n}.")
    demo, comparison = load.load(), Comparison(Judge.load(), prompts, args.worlds, n, args.first)
    worlds, seeds = comparison.worlds, range(1000 + args.first, 1000 + args.first + args.worlds)
    texts = ["\n".join(worlds.captions[i * n : (i + 1) * n]) for i in range(args.worlds)]
    conds = [ZoomPromptList.execute(demo[1], text, "", args.zoom, "", "").args for text in texts]
    print(
        f"{args.worlds} stacks of {n} levels, zoom {args.zoom:g}, {STEPS} steps of {SAMPLER}, cfg {CFG:g}, "
        f"FreSca {FRESCA}, {RESTARTS} restart(s)\n"
    )
    print("| option | kinds % | FD | oct 1 % | oct 2 % | oct 3 % | seam | coarse | washed | misfit, /255 |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    geometry = conds[0][2].resolve(64, 64)
    drawn = list(worlds.pictures.split(n))[: args.worlds]
    # Drawn for prompts, the levels of a stack are of different worlds.
    misfits = [] if prompts else [misfit(stack, geometry) for stack in drawn]
    table("drawn", drawn, geometry, comparison, misfits)
    sheet = {}
    for name, option in OPTIONS.items():
        if args.only and name not in args.only:
            continue
        sampled = [sample(demo, cond, seed, **option)[0] for seed, cond in zip(seeds, conds)]
        misfits = [misfit(levels, geometry) for levels in sampled]
        stacks = [shown(levels, geometry, option) for levels in sampled]
        table(name, stacks, geometry, comparison, misfits)
        if name in SHOWN:
            sheet[name] = stacks
        if args.finish and name == DEFAULT:
            found = second_stage(demo, conds, sampled, seeds, comparison)
            if args.sheet:
                save_image(contact_sheet(*found).clamp(0, 1), args.sheet.with_stem(args.sheet.stem + "-finish"))
    if args.sheet:
        picture = contact_sheet(*sheet.values(), drawn)
        save_image(interpolate(picture, scale_factor=2, mode="bicubic").clamp(0, 1), args.sheet)
    if args.photographs:
        photographs(demo, conds[0], range(args.worlds))


if __name__ == "__main__":
    main()
