"""What joint sampling costs over a core KSampler batch of the same N, steps and model: `python run.py bench sampling`.

On the CPU with the demo model, in CPU time, which other programs on the machine hardly change; where there is a GPU,
also with a random UNet of SDXL's size at 128 x 128 latents.
The core batch has one prompt for all its items, the joint run one a level. Runs take turns in one process;
ratios are medians of ratios of neighbouring runs. Memory is the peak of live tensors, above the core batch,
in copies of the N latents. At the end, what previews of all levels take. Options: --steps N, --repeats N, --threads N.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import in_process  # noqa: F401  isort: skip  (makes ComfyUI importable)
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.supported_models
import comfy.utils
import latent_preview
import torch
from comfy.utils import set_progress_bar_enabled
from PIL import Image, ImageOps
from zoom_stack_pack.demo_model import load
from zoom_stack_pack.nodes.live import LevelPreviews
from zoom_stack_pack.nodes.sampling import MultiScaleJointKSampler
from zoom_stack_pack.zoom_core import ZoomLevels

LEVELS = (2, 4, 8, 16, 32)
COUNT = 8
# One that draws no noise on the way, and one that does at every step.
SAMPLERS = ("euler", "euler_ancestral")
# Made of the core's own node: what every input of ours has as its default.
DEFAULTS = {
    i.id: i.default for i in MultiScaleJointKSampler.define_schema().inputs if getattr(i, "default", None) is not None
}


@dataclass
class Case:
    """A model with latents [C, H, W] and a maker of conditionings, one for each number."""

    name: str
    model: object
    latent: tuple[int, int, int]
    conditioning: Callable[[int], list]
    device: torch.device

    def runs(self, count: int, steps: int, sampler: str = SAMPLERS[0]) -> tuple[Callable, Callable]:
        """(joint, core batch): functions that sample `count` levels."""
        latent = torch.zeros(count, *self.latent)
        positive, negative = [self.conditioning(i) for i in range(count)], self.conditioning(-1)
        given = {
            **DEFAULTS, "model": self.model, "levels": ZoomLevels.uniform(count), "seed": 1, "steps": steps, "cfg": 3.0,
            "sampler_name": sampler, "scheduler": "simple",
        }  # fmt: skip
        lists = {name: [value] for name, value in given.items()}

        def joint():
            MultiScaleJointKSampler.execute(
                positive=positive, negative=[negative], latent_image=[{"samples": latent}], **lists
            )

        def core():
            noise = comfy.sample.prepare_noise(latent, 1)
            comfy.sample.sample(
                self.model, noise, steps, 3.0, sampler, "simple", positive[0], negative, latent, seed=1,
                callback=latent_preview.prepare_callback(self.model, steps), disable_pbar=True,
            )  # fmt: skip

        return joint, core


def demo_case() -> Case:
    model, clip, _ = load.load()
    cache: dict[int, list] = {}

    def conditioning(number: int) -> list:
        if number not in cache:
            text = f"a green leaf number {number}" if number >= 0 else ""
            cache[number] = clip.encode_from_tokens_scheduled(clip.tokenize(text))
        return cache[number]

    return Case("demo model, 3 x 64 x 64", model, (3, 64, 64), conditioning, model.load_device)


SDXL = dict(
    image_size=32, in_channels=4, out_channels=4, model_channels=320, num_res_blocks=[2, 2, 2], channel_mult=[1, 2, 4],
    transformer_depth=[0, 0, 2, 2, 10, 10], transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10],
    transformer_depth_middle=10, num_head_channels=64, use_spatial_transformer=True, use_linear_in_transformer=True,
    context_dim=2048, adm_in_channels=2816, num_classes="sequential", legacy=False, use_checkpoint=False,
)  # fmt: skip


def sdxl_case(size: int = 128, dtype: torch.dtype = torch.float16, **changed) -> Case:
    """A UNet of SDXL's shape with random weights; `changed` overrides its config."""
    device = comfy.model_management.get_torch_device()
    config = comfy.supported_models.SDXL({**SDXL, **changed})
    config.set_inference_dtype(dtype, None)
    model = comfy.model_base.SDXL(config, device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            spread = 0.3 / weight[0].numel() ** 0.5 if weight.ndim > 1 else 0.02
            weight.copy_(torch.randn(weight.shape, generator=generator, device=device) * spread)
    patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=device)

    def conditioning(number: int) -> list:
        numbers = torch.Generator().manual_seed(number + 2)
        pooled = torch.randn(1, 1280, generator=numbers)
        return [[torch.randn(1, 77, 2048, generator=numbers), {"pooled_output": pooled}]]

    return Case(f"SDXL-sized, random, 4 x {size} x {size}", patcher, (4, size, size), conditioning, device)


def seconds(run: Callable, device: torch.device) -> float:
    if device.type == "cpu":
        begin = time.process_time()
        run()
        return time.process_time() - begin
    torch.cuda.synchronize(device)
    begin = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def peak(run: Callable, device: torch.device) -> int:
    """Largest number of bytes of tensors alive during a run, above what lived before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profile:
        run()
    live = highest = 0
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        highest = max(highest, live)
    return highest


def cost(case: Case, steps: int, repeats: int, sampler: str) -> None:
    joint, core = case.runs(COUNT, steps, sampler)
    joint(), core()
    pairs = [(seconds(joint, case.device), seconds(core, case.device)) for _ in range(repeats)]
    ratios = sorted(a / b for a, b in pairs)
    ours, theirs = (statistics.median(column) for column in zip(*pairs))
    joint, core = case.runs(COUNT, 2, sampler)
    size = 4 * COUNT * torch.Size(case.latent).numel()
    copies = (peak(joint, case.device) - peak(core, case.device)) / size
    print(
        f"| {case.device.type} | {case.name} | {sampler} | {ours:.3f} | {theirs:.3f} | {statistics.median(ratios):.3f} "
        f"({ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f}) | {copies:+.2f} |",
        flush=True,
    )


def growth(case: Case, steps: int, repeats: int) -> None:
    print("\n| device | N | joint, s | a level, ms | ratio to the core batch |\n|---|---|---|---|---|")
    for count in LEVELS:
        joint, core = case.runs(count, steps)
        joint(), core()
        pairs = [(seconds(joint, case.device), seconds(core, case.device)) for _ in range(repeats)]
        ours = statistics.median(a for a, _ in pairs)
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"| {case.device.type} | {count} | {ours:.3f} | {1e3 * ours / count:.1f} | {ratio:.3f} |", flush=True)


def previews(case: Case, steps: int, repeats: int) -> None:
    """What showing all levels at every step takes of a run: the previewer, and the JPEG that the server sends."""
    spent, shown = [0.0], LevelPreviews.__call__

    def encode(value, total, preview, node_id=None) -> None:
        if preview:
            kind, image, side = preview
            image = ImageOps.contain(image, (side, side), Image.Resampling.BILINEAR)
            image.save(io.BytesIO(), format=kind, quality=95, compress_level=1)

    def timed(self, *given) -> None:
        spent[0] += seconds(lambda: shown(self, *given), case.device)

    latent_preview.set_preview_method("latent2rgb")
    comfy.utils.set_progress_bar_global_hook(encode)
    LevelPreviews.__call__ = timed
    joint, _ = case.runs(COUNT, steps)
    joint()
    shares = []
    for _ in range(repeats):
        spent[0] = 0.0
        whole = seconds(joint, case.device)
        shares.append(100 * spent[0] / (whole - spent[0]))
    LevelPreviews.__call__ = shown
    print(f"\nPreviews of all levels: {statistics.median(shares):.2f} % of the sampler ({case.name}).", flush=True)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_progress_bar_enabled(False)
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        print("No GPU at hand: CPU only.")
    case = sdxl_case() if on_gpu else demo_case()
    print(f"torch {torch.__version__}, {args.threads} threads, N = {COUNT}, {args.steps} steps, cfg 3\n")
    print("| device | model | sampler | joint, s | core batch, s | ratio (quartiles) | memory, copies of N latents |")
    print("|---|---|---|---|---|---|---|")
    for each in (demo_case(), case) if on_gpu else (case,):
        for sampler in SAMPLERS:
            cost(each, args.steps, args.repeats, sampler)
    growth(case, max(args.steps // 5, 2), max(args.repeats // 3, 3))
    previews(case, args.steps, args.repeats)


if __name__ == "__main__":
    main()
