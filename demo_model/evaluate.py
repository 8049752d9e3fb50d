"""What the demo model can do: `python -m demo_model.evaluate --work DIR` writes evaluation.json and a table.

A classifier trained on drawn scenes (`judge.py`) judges samples. Captions are of kept-out combinations,
worlds are of kept-out seeds. Single pictures for their captions come from ComfyUI's own sampler with the templates'
sampler, steps and part of the sampling with guidance; all else takes Euler steps, stacks jointly with zoom_core.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from .captions import FORMS, caption, held_out
from .classifier import held_out_accuracy
from .data import FIRST_EVAL_SEED
from .judge import Judge, kept_out_worlds
from .text import WordTokenizer, padded
from .train import Net, import_comfy, noise_level, sample, schedule
from .world import KINDS, TONES, looks

COLOR_SUBJECTS = (
    "a {} galaxy",
    "a {} nebula in space",
    "a {} gas giant",
    "a {} leaf up close",
    "{} plant cells under the microscope",
)
STACKS = (
    (
        "a galaxy cluster",
        "a blue spiral galaxy",
        "a purple nebula",
        "a star system with a yellow sun",
        "a blue planet seen from space",
        "a green continent in a blue sea",
    ),
    (
        "a purple nebula",
        "a star system with a yellow sun",
        "a planet like the earth, seen from space",
        "a green continent in a blue sea, with clouds",
        "a golden beach by a blue sea, from the air",
        "a green forest from above",
    ),
    (
        "a blue planet seen from space",
        "a green continent in a blue sea",
        "a coast with a sandy beach",
        "an autumn forest from the air",
        "an orange tree in autumn, from above",
        "a red maple leaf",
    ),
    (
        "a green continent in a blue sea",
        "a golden beach by a turquoise sea",
        "a green forest from above",
        "a green tree from above",
        "a green leaf in close-up",
        "green leaf cells under the microscope",
    ),
    (
        "a golden beach by a turquoise sea",
        "a green forest from above",
        "a green tree from above",
        "a green leaf in close-up",
        "green leaf cells under the microscope",
        "a green plant cell with a purple nucleus",
    ),
)
STACK_START = (0, 2, 4, 5, 6)  # the kind of each stack's first level
# text-to-zoom's settings.
CFG, SAMPLER, STEPS, RESTARTS = 3.0, "er_sde", 24, 1
GUIDED = 0.26, 0.95  # the part of the sampling with guidance
FRESCA = 0.4, 1.0, 3  # how much guidance counts for large shapes and for small ones, and the waves a frame between them
CFG_ALONE = 1.5  # of single pictures, which lose no detail to each other


def read_net(path: Path) -> Net:
    """The networks with the weights of a file."""
    net = Net()
    net.load_state_dict(load_file(path))
    return net.eval()


def encode(texts, tokenizer: WordTokenizer) -> torch.Tensor:
    """Captions -> tokens [B, T]."""
    return torch.tensor([padded(tokenizer(text)["input_ids"]) for text in texts])


def unseen_captions(each: int) -> tuple[list[str], list[int]]:
    """Captions of kept-out combinations, `each` a kind."""
    rng = np.random.default_rng(7)
    texts, kinds = [], []
    for kind in range(len(KINDS)):
        seed = FIRST_EVAL_SEED
        found: list[str] = []
        while len(found) < each:
            seed += 1
            look = looks(seed, apart=True)[kind]
            forms = [form for form in FORMS if held_out(look, form)]
            if forms:
                found.append(caption(look, rng, forms[int(rng.integers(len(forms)))]))
        texts += found
        kinds += [kind] * each
    return texts, kinds


def judged_samples(net, judge, tokenizer, each: int, cfg: float, steps: int) -> dict:
    """Accuracy of the kind on samples of unseen captions."""
    texts, kinds = unseen_captions(each)
    found = []
    for start in range(0, len(texts), 24):
        pictures = sample(net, encode(texts[start : start + 24], tokenizer), steps, cfg, seed=start)
        with torch.no_grad():
            found += judge.kinds(pictures).tolist()
    right = np.array(found) == np.array(kinds)
    return {
        "samples": len(texts),
        "accuracy": float(right.mean()),
        "per_kind": {name: float(right[np.array(kinds) == n].mean()) for n, name in enumerate(KINDS)},
    }


def guidance(cfg: float, sigma: float, part: tuple[float, float] = GUIDED) -> float:
    """The cfg that counts at this noise level: 1 outside of this part of the sampling."""
    return cfg if noise_level(1 - part[1]) <= sigma <= noise_level(1 - part[0]) else 1.0


def core_samples(
    demo, captions: list[str], seed: int, cfg: float, part: tuple[float, float], steps: int = STEPS
) -> torch.Tensor:
    """Pictures [N, 3, 64, 64] in 0..1 from core's sampler, one by one, with the templates' sampler.

    part: of the sampling, with guidance.
    """
    import comfy.sample

    def guided(given: dict) -> torch.Tensor:
        now = guidance(given["cond_scale"], float(given["timestep"].max()), part)
        return given["uncond"] + now * (given["cond"] - given["uncond"])

    model, clip, vae = demo
    model = model.clone()
    model.set_model_sampler_cfg_function(guided)
    negative = clip.encode_from_tokens_scheduled(clip.tokenize(""))
    found = []
    for number, text in enumerate(captions, seed):
        empty = torch.zeros(1, 3, 64, 64)
        noise = comfy.sample.prepare_noise(empty, number)
        positive = clip.encode_from_tokens_scheduled(clip.tokenize(text))
        made = comfy.sample.sample(
            model, noise, steps, cfg, SAMPLER, "simple", positive, negative, empty, disable_pbar=True, seed=number
        )
        found.append(vae.decode(made)[..., :3].movedim(-1, 1))
    return torch.cat(found)


def judged_worlds(demo, judge, sets: int, cfg: float) -> list[dict]:
    """Single pictures for the captions of kept-out worlds, in sets of 48, beside the drawn ones.

    Guided throughout, as a stock sampler does, and in the templates' part of the sampling only.
    """
    found = []
    for n in range(sets):
        worlds = kept_out_worlds(first=1000 + 8 * n)
        row = {"drawn": judge.report(worlds.pictures, worlds)}
        for name, part in (("guided", (0.0, 1.0)), ("guided in an interval", GUIDED)):
            made = core_samples(demo, worlds.captions, 5000 + 100 * n, cfg, part)
            row[name] = judge.report(made, worlds)
        found.append(row)
    return found


def color_response(net, tokenizer, cfg: float, steps: int) -> dict:
    """How far each colour word moves the mean colour, and whether it moves towards its own."""
    words = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
    means = {}
    for word in words:
        pictures = sample(net, encode([s.format(word) for s in COLOR_SUBJECTS], tokenizer), steps, cfg, seed=5)
        means[word] = pictures.mean((-1, -2))  # [subjects, 3]
    table = torch.stack([means[w] for w in words])  # [words, subjects, 3]
    moved = table - table.mean(0, keepdim=True)
    moved = moved - moved.mean(-1, keepdim=True)  # without brightness
    targets = torch.tensor([TONES[w][1] for w in words])
    targets = targets - targets.mean(0, keepdim=True)
    targets = targets - targets.mean(-1, keepdim=True)
    likeness = torch.nn.functional.cosine_similarity(moved[:, :, None], targets[None, None], dim=-1)
    nearest = likeness.argmax(-1)
    own = torch.nn.functional.cosine_similarity(moved, targets[:, None], dim=-1)
    return {
        "words": list(words),
        "subjects": [s.format("...") for s in COLOR_SUBJECTS],
        "mean_shift": float(moved.norm(dim=-1).mean()),
        "cosine_to_word": float(own.mean()),
        "nearest_word_is_own": float((nearest == torch.arange(len(words))[:, None]).float().mean()),
        "mean_rgb": {w: [round(float(v), 3) for v in means[w].mean(0)] for w in words},
    }


@torch.no_grad()
def sample_stack(net: Net, tokens: torch.Tensor, zoom: float, steps: int, cfg: float, seed: int) -> torch.Tensor:
    """Levels [N, 3, 64, 64] in 0..1 of one place, sampled jointly; tokens [N, T], outermost first.

    Nearly as the demo's workflow does it: levels agree at every step, are guided in the same part of the sampling, and
    the finished pictures are fused. Without restart and FreSca.
    """
    from zoom_core import ZoomLevels, consolidate, render_image, render_noise
    from zoom_core.blending import correlation_length
    from zoom_core.seams import fuse

    count = len(tokens)
    geometry = ZoomLevels.uniform(count, zoom).resolve(64, 64)
    both = torch.cat([tokens, torch.tensor([padded([1, 2])] * count)])
    noise = render_noise(torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)), geometry)
    x = noise
    sigmas = schedule(steps)
    for now, then in zip(sigmas[:-1], sigmas[1:]):
        with_text, without = net(torch.cat([x, x]), now.expand(2 * count), both).float().chunk(2)
        clean = x - now * (without + guidance(cfg, float(now)) * (with_text - without))
        noise_to_signal = float(now / (1 - now))
        clean = consolidate(clean, geometry, length=correlation_length(noise_to_signal, 64, 64))
        x = clean + then / now * (x - clean)
    return render_image(fuse((x * 0.5 + 0.5).clamp(0, 1), geometry), geometry)


def judged_stacks(net, judge, tokenizer, seeds: int, zoom: float, cfg: float, steps: int) -> tuple[dict, torch.Tensor]:
    """Accuracy of the kind over all levels of jointly sampled stacks, and the stacks."""
    right, stacks = [], []
    for texts, first in zip(STACKS, STACK_START):
        for seed in range(seeds):
            levels = sample_stack(net, encode(texts, tokenizer), zoom, steps, cfg, seed)
            with torch.no_grad():
                found = judge.kinds(levels)
            right.append((found == torch.arange(first, first + len(texts))).float())
            stacks.append(levels)
    right = torch.stack(right)
    return {
        "stacks": len(stacks),
        "levels": right.numel(),
        "zoom": zoom,
        "accuracy": float(right.mean()),
        "per_stack": [float(v) for v in right.view(len(STACKS), -1).mean(1)],
    }, torch.stack(stacks)


def main() -> None:
    """Run everything and write the figures."""
    import cv2

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder for the picture of the stacks")
    parser.add_argument("--comfyui")
    parser.add_argument("--weights", type=Path, default=Path(__file__).with_name("zoom_demo.safetensors"))
    parser.add_argument("--each", type=int, default=10, help="samples a kind")
    parser.add_argument("--sets", type=int, default=3, help="sets of 8 kept-out worlds of 6 levels")
    parser.add_argument("--seeds", type=int, default=3, help="stacks a prompt list")
    parser.add_argument("--cfg", type=float, default=CFG, help="text-to-zoom's")
    parser.add_argument("--cfg-alone", type=float, default=CFG_ALONE, help="of single pictures for drawn worlds")
    parser.add_argument("--zoom", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=16, help="Euler steps")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("evaluation.json"))
    args = parser.parse_args()
    import_comfy(args.comfyui)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    judge = Judge.load()
    accuracy = held_out_accuracy(judge.net)
    tokenizer = WordTokenizer.from_pretrained()
    from . import load

    net, demo = read_net(args.weights), load.load(args.weights)
    figures = {"steps": args.steps, "cfg": args.cfg, "cfg_alone": args.cfg_alone}
    figures["classifier_on_held_out_scenes"] = accuracy
    print(f"classifier on held-out scenes: {accuracy:.1%}", flush=True)
    figures["unseen_captions"] = judged_samples(net, judge, tokenizer, args.each, args.cfg, args.steps)
    print(f"unseen captions, kind recognised: {figures['unseen_captions']['accuracy']:.1%}", flush=True)
    for name, value in figures["unseen_captions"]["per_kind"].items():
        print(f"    {name:16} {value:.0%}")
    figures["worlds"] = judged_worlds(demo, judge, args.sets, args.cfg_alone)
    for row in figures["worlds"]:
        for name, values in row.items():
            print(f"    {name:22}", {k: np.round(v, 2).tolist() for k, v in values.items()}, flush=True)
    figures["colors"] = color_response(net, tokenizer, args.cfg, args.steps)
    print(
        "colour words: cosine to the word's own colour {cosine_to_word:.2f}, nearest word is the own one "
        "{nearest_word_is_own:.0%}, mean shift {mean_shift:.3f}".format(**figures["colors"]),
        flush=True,
    )
    figures["stacks"], stacks = judged_stacks(net, judge, tokenizer, args.seeds, args.zoom, args.cfg, args.steps)
    print(
        f"jointly sampled stacks, levels recognised: {figures['stacks']['accuracy']:.1%}",
        figures["stacks"]["per_stack"],
    )
    args.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    rows = torch.cat([torch.cat(list(stack), -1) for stack in stacks], -2).permute(1, 2, 0).numpy()[..., ::-1]
    cv2.imwrite(
        str(args.work / "stacks.png"),
        cv2.resize(np.round(rows * 255).astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    )


if __name__ == "__main__":
    main()
