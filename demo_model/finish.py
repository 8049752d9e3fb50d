"""Train the second stage, which finishes pictures of the first: `python -m demo_model.finish --work DIR`.

The same network, shown an enlarged picture beside the noisy one, at 256 x 256. It starts from the first stage's
weights and learns from parts of 64 x 64 pixels of drawn pictures. What it is shown is the drawn picture seen
through pixels four times as wide, painted anew by the first stage from some noise level, and enlarged by the
upscaler: so it is too smooth now and then, as the first stage's own pictures are, and what is missing has to be
made up. Pictures are drawn first; a run that was told to end (Ctrl+C, SIGTERM) goes on the next time.
"""

import csv
import multiprocessing
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from .captions import training_caption
from .data import AS_LEVELS, look_of, view_of, write_array
from .precision import fast_precision
from .text import PAD, WordTokenizer, padded, tokens_of
from .train import Run, error_weights, flow_error, import_comfy, told_to_end, training_parser
from .upscaler import painted_anew, shrink, trained
from .world import draw

SIZE, PART = 256, 64  # sides of a picture and of what a step sees of it
SHARD = 120
FIRST_SEED = 500_000_000
# Ranges of noise levels from which the first stage paints what is shown anew: not at all, a little, a lot, and a lot
# but for the middle quarter: in a jointly sampled zoom that comes from the next level and is as sharp as can be.
SPOILT = ((0.0, 0.0), (0.02, 0.3), (0.3, 0.6), (0.4, 0.75))
SHARES_OF_LEVEL = (1, 0.6, 0.25, 0)  # over which it is painted
SHARES = (0.15, 0.2, 0.15, 0.5)  # of the parts that a step sees
MIDDLE = np.s_[..., 24:40, 24:40]
WEIGHTS = Path(__file__).with_name("zoom_demo_finish.safetensors")


def finish_view(index: int) -> dict:
    """The random view number `index`; three in four show what lies inside, as a zoom's levels do."""
    view = view_of(index, FIRST_SEED, AS_LEVELS)
    return view | {"only": view["only"] and index % 2 == 0}


def draw_shard(job: tuple[str, int]) -> None:
    """Draw shard `job[1]` into folder `job[0]`, unless it is there."""
    folder, number = job
    path = Path(folder) / f"large_{number:04d}.npy"
    if not path.exists():
        views = [finish_view(number * SHARD + n) for n in range(SHARD)]
        drawn = [draw(v["seed"], v["scale"], SIZE, v["center"], v["angle"], v["only"]) for v in views]
        write_array(path, np.round(np.stack(drawn) * 255).astype(np.uint8).transpose(0, 3, 1, 2))


def caption(index: int, rng: np.random.Generator) -> str:
    """A sentence about picture `index`."""
    return training_caption(look_of(finish_view(index)), rng)


def from_first_stage(state: dict[str, torch.Tensor], fresh: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the first stage's UNet made to fit the second's (`fresh`), which then ignores what it is shown.

    Its fine stages are of another size: they stay as `initialise` left them and add nothing yet.
    """
    result = {name: value.clone() for name, value in fresh.items()}
    for name, value in result.items():
        if name.startswith("fine."):
            continue
        old = state[name].float()
        if name == "input_blocks.0.0.weight":
            noisy = value.shape[1] // 2
            value.zero_()
            value[:, :noisy] = old[:, :noisy]  # and not the places
        else:
            value.copy_(old)
    return result


class LargePictures:
    """Drawn pictures of a folder and what the net is shown of them, which is made on first use and kept."""

    def __init__(self, folder: Path, net, tokenizer: WordTokenizer, device: str = "cpu"):
        """net: the first stage, on `device`, which paints."""
        self.folder, self.net, self.tokenizer, self.device = folder, net, tokenizer, device
        self.upscaler = trained().to(device)
        self.drawn: list[torch.Tensor] = []  # of [SHARD, 3, SIZE, SIZE] uint8
        self.shown: list[torch.Tensor] = []  # of [len(SPOILT), SHARD, 3, SIZE, SIZE] uint8

    def refresh(self) -> int:
        """Read the next shard if there is one, and those after it that are ready; the number of pictures."""
        fresh = True
        while True:
            number = len(self.drawn)
            path, kept = (self.folder / f"{name}_{number:04d}.npy" for name in ("large", "shown"))
            if not path.exists() or not (fresh or kept.exists()):
                return number * SHARD
            drawn = torch.from_numpy(np.load(path))
            if not kept.exists():
                write_array(kept, self._show(drawn, number).numpy())
                fresh = False
            self.shown.append(torch.from_numpy(np.load(kept)))
            self.drawn.append(drawn)

    @torch.no_grad()
    def _show(self, drawn: torch.Tensor, number: int) -> torch.Tensor:
        rng, generator = np.random.default_rng(number), torch.Generator().manual_seed(number)
        found = []
        for start in range(0, SHARD, 24):
            small = shrink(drawn[start : start + 24].to(self.device).float() / 255)
            texts = [caption(number * SHARD + start + n, rng) for n in range(len(small))]
            tokens = torch.tensor([padded(self.tokenizer(text)["input_ids"]) for text in texts], device=self.device)
            inputs = []
            for lowest, highest in SPOILT:
                level = torch.from_numpy(rng.uniform(lowest, highest, len(small))).to(small)
                spoilt = painted_anew(small, self.net, tokens, level, SHARES_OF_LEVEL, generator) if highest else small
                inputs.append(spoilt)
            inputs[3][MIDDLE] = small[MIDDLE]
            enlarged = [self.upscaler(x).clamp(0, 1) for x in inputs]
            found.append((torch.stack(enlarged) * 255).round().to(torch.uint8).cpu())
        return torch.cat(found, 1)

    def batch(self, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Parts of drawn pictures and of what is shown of them, [count, 3, PART, PART] in -1..1, and their numbers."""
        pairs, numbers = [], []
        for _ in range(count):
            shard, n = (int(rng.integers(stop)) for stop in (len(self.drawn), SHARD))
            how = int(rng.choice(len(SPOILT), p=SHARES))
            y, x = (int(start) for start in rng.integers(SIZE - PART + 1, size=2))
            part = np.s_[:, y : y + PART, x : x + PART]
            pair = torch.stack([self.drawn[shard][n][part], self.shown[shard][how, n][part]])
            pairs.append(pair.flip(-1) if rng.random() < 0.5 else pair)
            numbers.append(shard * SHARD + n)
        drawn, shown = (torch.stack(pairs).to(self.device).float() / 127.5 - 1).unbind(1)
        return drawn, shown, numbers


def main() -> None:
    """Draw what is missing, then train."""
    parser = training_parser(__doc__)
    parser.set_defaults(minutes=75, batch=24, threads=1, average=0.998, export=WEIGHTS)
    parser.add_argument("--pictures", type=int, default=2880, help="how many to draw")
    parser.add_argument("--processes", type=int, default=2, help="that draw")
    parser.add_argument("--init", type=Path, help="start from these exported weights instead of the first stage's")
    args = parser.parse_args()
    folder = args.work / "finish"
    folder.mkdir(parents=True, exist_ok=True)
    shards = -(-args.pictures // SHARD)
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for done, _ in enumerate(pool.imap(draw_shard, [(str(folder), n) for n in range(shards)]), 1):
            print(f"drawn: {done * SHARD} of {shards * SHARD} pictures", flush=True)
    train(args, folder)


def train(args, folder: Path) -> None:
    """The training loop; returns when the wall time is used up, or after a signal to end, with all written."""
    from .evaluate import read_net

    import_comfy(args.comfyui)
    import comfy.ops

    from .network import FINISH, FOLD, ZoomUNet, initialise

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    asked_to_end = told_to_end()
    tokenizer = WordTokenizer.from_pretrained()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    first = read_net(Path(__file__).with_name("zoom_demo.safetensors")).to(device)
    net = ZoomUNet(**FINISH, dtype=torch.float32, device=device, operations=comfy.ops.disable_weight_init)

    def prepare() -> None:
        if args.init:
            net.load_state_dict({name.removeprefix("unet."): value for name, value in load_file(args.init).items()})
        else:
            initialise(net)
            net.load_state_dict(from_first_stage(first.unet.state_dict(), net.state_dict()))

    run = Run(net, args, folder / "checkpoint.pt", prepare, prefix="unet.")
    data = LargePictures(folder, first, tokenizer, device)
    if not data.refresh():
        raise SystemExit(f"{folder} has no pictures: run with --pictures N.")
    frequencies = error_weights(PART, FOLD, args.lattice).to(device)
    rng, generator = np.random.default_rng(run.step), torch.Generator(device).manual_seed(run.step)
    losses: list[float] = []
    with open(folder / "losses.csv", "a", newline="") as log_file:
        log = csv.writer(log_file)
        while not asked_to_end and run.done < 1:
            minutes = run.used / 60
            x, shown, numbers = data.batch(args.batch, rng)
            texts = ["" if rng.random() < 0.1 else caption(number, rng) for number in numbers]
            tokens = torch.tensor([tokens_of(text, tokenizer, rng) for text in texts], device=device)
            noise = torch.randn(x.shape, generator=generator, device=device)
            # What is shown decides all that high noise leaves open.
            level = torch.randn(len(x), generator=generator, device=device)
            sigma = torch.sigmoid(-0.5 + 1.2 * level).clamp(min=1e-3)
            mixed = x + sigma[:, None, None, None] * (noise - x)
            with torch.no_grad():
                context, _ = first.text(tokens, tokens != PAD)
            with fast_precision(device):
                out = net(torch.cat([mixed, shown], 1), sigma * 1000.0, context=context)
            loss = flow_error(out, x, noise, sigma, frequencies)
            rate = run.learn(loss)
            losses.append(loss.item())
            if run.step % 10 == 0:
                log.writerow((run.step, f"{minutes:.2f}", f"{np.mean(losses):.5f}", f"{rate:.6f}"))
                log_file.flush()
                print(f"step {run.step}  {minutes:.1f} min  loss {np.mean(losses):.4f}", flush=True)
                losses.clear()
            if run.step % 25 == 0:
                data.refresh()
    run.save()


if __name__ == "__main__":
    main()
