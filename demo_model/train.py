"""Train the demo model from nothing: `python -m demo_model.train --work DIR`.

Needs ComfyUI (its UNet is the network): give its folder in COMFYUI_PATH or --comfyui.
Pictures are drawn first (`--draw N`), or meanwhile by `python -m demo_model.data --work DIR`.
A run that was told to end (Ctrl+C, SIGTERM) writes a checkpoint, and one that was killed has lost four minutes
at most; the next run goes on there, also with other `--minutes`. Everything goes to DIR: losses.csv,
checkpoint.pt, sample sheets, and weights with `--export FILE`.
"""

import argparse
import csv
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .data import SHARD, TELLINGS, read_shard, ready_shards, training_view, whole, write_shard
from .precision import fast_precision
from .text import CONFIG, END, LENGTH, PAD, START, TextEncoder, WordTokenizer, padded, tokens_of
from .text_training import head_start
from .world import KINDS

SHEET = (
    "a galaxy cluster",
    "a blue spiral galaxy",
    "a red spiral galaxy",
    "a purple nebula",
    "a star system with a yellow sun",
    "a blue planet seen from space",
    "an orange gas giant with rings",
    "a green continent in a blue sea, with clouds",
    "a golden beach by a turquoise sea",
    "a small island in a blue ocean",
    "an autumn forest from above",
    "a green fir forest with a river",
    "a forest in winter",
    "a tree with pink blossom",
    "a green tree seen from above",
    "a red maple leaf",
    "a green leaf with drops of water",
    "green leaf cells under the microscope",
    "a purple cell with a nucleus",
    "a glowing blue cell",
)


def import_comfy(folder: str | None) -> str:
    """Make ComfyUI importable and keep it off a GPU that is not there; the device to train on."""
    folder = folder or os.environ.get("COMFYUI_PATH")
    if folder:
        sys.path.insert(0, folder)
    from comfy.cli_args import args as options

    options.cpu = not torch.cuda.is_available()
    options.use_pytorch_cross_attention = True
    return "cpu" if options.cpu else "cuda"


class Pictures:
    """The drawn pictures that are ready, on the device that trains; grows while more are drawn.

    often: how many times as often as others a kind is taken, by its name.
    """

    def __init__(self, folder: Path, often: dict[str, float] | None = None, device: str = "cpu"):
        self.folder, self.seen, self._often = folder, set(), often or {}
        self.pictures = torch.empty(0, 3, 64, 64, dtype=torch.uint8, device=device)
        self._tokens = torch.empty(0, TELLINGS, LENGTH, dtype=torch.int16, device=device)
        self._chances = torch.empty(0, device=device)

    def refresh(self) -> int:
        """Read new shards; the number of pictures."""
        fresh = [path for path in ready_shards(self.folder) if path not in self.seen]
        if fresh:
            self.seen.update(fresh)
            # All at once: what is there is copied.
            pictures, tokens, chances = map(torch.cat, zip(*map(self._read, fresh)))
            self.pictures = torch.cat([self.pictures, pictures.to(self.pictures)])
            self._tokens = torch.cat([self._tokens, tokens.to(self._tokens)])
            self._chances = torch.cat([self._chances, chances.to(self._chances)])
        return len(self.pictures)

    def _read(self, path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures [n, 3, 64, 64], tokens [n, TELLINGS, T] and how often each is taken [n], of one shard."""
        pictures, tokens, first = read_shard(path)
        kinds = [KINDS[training_view(number)["kind"]] for number in range(first, first + len(pictures))]
        chances = torch.tensor([self._often.get(kind, 1.0) for kind in kinds])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2), torch.from_numpy(tokens), chances

    def batch(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures [count, 3, 64, 64] in -1..1 and tokens [count, T] of a sentence about each."""
        chosen = torch.multinomial(self._chances, count, replacement=True, generator=generator)
        told = torch.randint(TELLINGS, (count,), generator=generator, device=chosen.device)
        return self.pictures[chosen].float() / 127.5 - 1.0, self._tokens[chosen, told].long()


def factors(text: str) -> dict[str, float]:
    """Numbers by kind, from KIND=NUMBER,..."""
    found = {name: float(number) for name, _, number in (part.partition("=") for part in text.split(","))}
    if unknown := found.keys() - set(KINDS):
        raise argparse.ArgumentTypeError(f"expected kinds of {', '.join(KINDS)}, got {', '.join(sorted(unknown))}")
    return found


def contrasts(x: torch.Tensor) -> torch.Tensor:
    """Of each picture [B, 3, H, W]: its standard deviation over that of most, within bounds; [B]."""
    return (x.var((-1, -2)).mean(1).sqrt() / 0.33).clamp(0.4, 1.5)


def noise_levels(contrast: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Sigmas [B] in 0..1 for pictures of these contrasts: logit-normal around the middle, or evenly from 0.6 to 1.

    At high noise the text decides what there is and where, and shapes (round planets, arms, coasts) come out: half
    of a training goes there.
    What a pale picture shows drowns in less noise than what a strong one does, and is learned there.
    """
    made = dict(size=(len(contrast),), generator=generator, device=contrast.device)
    middle = torch.sigmoid(0.3 + contrast.log() + 1.3 * torch.randn(**made))
    high = 0.6 + 0.4 * torch.rand(**made)
    return torch.where(torch.rand(**made) < 0.5, middle, high).clamp(1e-3, 1.0)


def share_of_rate(step: int, done: float) -> float:
    """The part of the learning rate that a step takes when the part `done` of the time is over.

    It rises over 400 steps, is full for the first 55 % of the time, then falls like a cosine to 2 %.
    """
    fall = max(0.0, (done - 0.55) / 0.45)
    return min(1.0, (step + 1) / 400) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * fall)))


def error_weights(size: int, period: int, extra: float) -> torch.Tensor:
    """Weights [size, size] of the frequencies (as `fft2` orders them) of an error, in the mean 1.

    Those of a lattice of `period` pixels and the ones beside them count `extra` times more: they are few, so
    that a plain mean square hardly sees them, but the eye does, and guidance makes them larger.
    """
    line = size // period
    near = (torch.arange(size) + 1) % line <= 2
    both = (near[:, None] & near[None]).float()
    low = torch.minimum(torch.arange(size), size - torch.arange(size)) <= 1
    both[low[:, None] & low[None]] = 0
    weights = 1 + extra * both
    return weights / weights.mean()


class Net(torch.nn.Module):
    """The two networks that are trained together."""

    def __init__(self):
        super().__init__()
        import comfy.ops

        from .network import UNET, ZoomUNet, initialise

        self.unet = ZoomUNet(**UNET, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init)
        self.text = TextEncoder(CONFIG, torch.float32, "cpu", comfy.ops.disable_weight_init)
        initialise(self)

    def forward(self, noisy, sigma, tokens):
        """Velocity [B, 3, H, W] for noisy pictures, sigmas [B] and tokens [B, T]."""
        context, _ = self.text(tokens, tokens != PAD)
        return self.unet(noisy, sigma * 1000.0, context=context)


def noise_level(left, shift: float = 2.0):
    """The sigma where the part `left` (a number or a tensor) of a sampling is still to come, with the loaded model."""
    return shift * left / (1 + (shift - 1) * left)


def schedule(steps: int, shift: float = 2.0) -> torch.Tensor:
    """Sigmas [steps + 1] from 1 to 0, spaced as core's "simple" scheduler spaces the loaded model's."""
    return noise_level(torch.linspace(1, 0, steps + 1), shift)


@torch.no_grad()
def sample(
    net: Net,
    tokens: torch.Tensor,
    steps: int = 24,
    cfg: float = 3.0,
    seed: int = 0,
    size: int = 64,
    shift: float = 2.0,
) -> torch.Tensor:
    """Pictures [B, 3, size, size] in 0..1 by Euler steps."""
    device = next(net.parameters()).device
    empty = torch.tensor([padded([1, 2])] * len(tokens))
    both = torch.cat([tokens, empty]).to(device)
    x = torch.randn(len(tokens), 3, size, size, generator=torch.Generator().manual_seed(seed)).to(device)
    sigmas = schedule(steps, shift)
    for now, then in zip(sigmas[:-1], sigmas[1:]):
        with_text, without = net(torch.cat([x, x]), now.to(device).expand(len(both)), both).float().chunk(2)
        x = x + (then - now).to(device) * (without + cfg * (with_text - without))
    return (x * 0.5 + 0.5).clamp(0, 1).cpu()


def write_sheet(net: Net, tokenizer: WordTokenizer, path: Path, rows: int = 3) -> None:
    """A picture of samples: one column for each of the SHEET captions."""
    import cv2

    tokens = torch.tensor([padded(tokenizer(text)["input_ids"]) for text in SHEET])
    lines = [torch.cat(list(sample(net, tokens, seed=row)), -1) for row in range(rows)]
    picture = torch.cat(lines, -2).permute(1, 2, 0).numpy()[..., ::-1]
    half = picture.shape[1] // 2
    picture = np.concatenate([picture[:, :half], picture[:, half:]], 0)
    picture = cv2.resize(np.round(picture * 255).astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), picture)


def export(state: dict[str, torch.Tensor], path: Path) -> None:
    """Averaged weights as a float16 safetensors file (the loader casts them back to float32)."""
    half = {name: value.to(torch.float16).contiguous() for name, value in state.items()}
    with whole(path) as part:
        save_file(half, part, metadata={"format": "zoom-stack-demo", "version": "1"})


def told_to_end() -> list:
    """A list that is empty until SIGTERM or SIGINT comes, from now on."""
    told: list[bool] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.append(True))
    return told


def flow_error(out: torch.Tensor, x: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor, weights: torch.Tensor):
    """The mean square error of velocities `out` at noise levels sigma [B].

    weights: how much each frequency counts (`error_weights`) [H, W], or each picture's frequencies [B, 1, H, W].
    """
    from .network import DATA_STD, spread_of

    # Every noise level counts alike: the error in units of what the UNet has to add.
    unit = (spread_of(sigma) / DATA_STD)[:, None, None, None]
    error = (out.float() - (noise - x)) * unit
    return (torch.fft.fft2(error, norm="ortho").abs().square() * weights).mean()


class Run:
    """A training that goes on from the checkpoint `path`, or where there is none from what `prepare` puts into `net`.

    args: its minutes, rate, average and export. prefix: of the names of weights that are exported.
    """

    def __init__(self, net: torch.nn.Module, args, path: Path, prepare: Callable[[], object], prefix: str = ""):
        self.net, self.path, self._args, self._prefix = net, path, args, prefix
        device = next(net.parameters()).device
        saved = torch.load(path, map_location=device, weights_only=True) if path.exists() else None
        if saved:
            net.load_state_dict(saved["average"])
        else:
            prepare()
        # Every fourth step is enough for an average this long.
        self._averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(args.average**4))
        self._averaged.eval()
        self._optimizer = torch.optim.AdamW(
            net.parameters(), lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.step, used = 0, 0.0
        if saved:
            self._averaged.n_averaged += 1  # goes on from the saved average instead of copying the net once more
            net.load_state_dict(saved["net"])
            self._optimizer.load_state_dict(saved["optimizer"])
            self.step, used = saved["step"], saved["used"]
            print(f"going on at step {self.step}, {used / 60:.1f} minutes used", flush=True)
        self._last_save = time.monotonic()
        self._start = self._last_save - used
        for group in self._optimizer.param_groups:
            # A checkpoint holds the rate that it had come to.
            group["initial_lr"] = args.rate
        self._rates = LambdaLR(self._optimizer, lambda at: share_of_rate(at, self.done), last_epoch=self.step - 1)

    @property
    def average(self) -> torch.nn.Module:
        """The net with averaged weights."""
        return self._averaged.module

    @property
    def used(self) -> float:
        """Seconds of wall time, with those of earlier runs."""
        return time.monotonic() - self._start

    @property
    def done(self) -> float:
        """The part of the time that is over."""
        return self.used / (60 * self._args.minutes)

    def learn(self, loss: torch.Tensor) -> float:
        """Take a step; the rate that it took. A checkpoint is written every four minutes."""
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self._optimizer.step()
        (rate,) = self._rates.get_last_lr()
        self._rates.step()
        if self.step % 4 == 0:
            self._averaged.update_parameters(self.net)
        self.step += 1
        if time.monotonic() - self._last_save > 240:
            self.save()
            self._last_save = time.monotonic()
        return rate

    def save(self) -> None:
        """Write the checkpoint beside its place and move it there; export the averaged weights."""
        average = self.average.state_dict()
        states = {"net": self.net.state_dict(), "average": average, "optimizer": self._optimizer.state_dict()}
        with whole(self.path) as part:
            torch.save(states | {"step": self.step, "used": self.used}, part)
        if self._args.export:
            export({self._prefix + name: value for name, value in average.items()}, self._args.export)


class Losses:
    """The file of a training's losses, a line for every `every` steps; goes on with what is there."""

    def __init__(self, path: Path, every: int):
        self._path, self._every = path, every
        self._found: list[torch.Tensor] = []

    def add(self, run: Run, loss: torch.Tensor, rate: float, pictures: int) -> None:
        """Note the loss of the step that `run` just took at this rate, with so many pictures to take from."""
        self._found.append(loss.detach())
        if run.step % self._every:
            return
        mean, minutes = float(torch.stack(self._found).mean()), run.used / 60
        self._found.clear()
        fresh = not self._path.exists()
        with open(self._path, "a", newline="") as file:
            log = csv.writer(file)
            if fresh:
                log.writerow(("step", "minutes", "loss", "rate", "pictures"))
            log.writerow((run.step, f"{minutes:.2f}", f"{mean:.5f}", f"{rate:.6f}", pictures))
        print(f"step {run.step}  {minutes:.1f} min  loss {mean:.4f}  rate {rate:.2e}", flush=True)


def mostly_told(tokens: torch.Tensor, silence: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Tokens [B, T], a tenth of the captions replaced by `silence` [T], as guidance needs the model to know."""
    untold = torch.rand(len(tokens), 1, generator=generator, device=tokens.device) < 0.1
    return torch.where(untold, silence, tokens)


def training_parser(description: str) -> argparse.ArgumentParser:
    """A parser of the options that both stages' trainings take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--comfyui")
    parser.add_argument("--minutes", type=float, default=80, help="wall time; the learning rate is planned over it")
    parser.add_argument("--batch", type=int, default=16, help="pictures, or parts of them, a step")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--lattice", type=float, default=15, help="how much more the cells' frequencies count")
    parser.add_argument("--average", type=float, default=0.999, help="what a step leaves of the averaged weights")
    parser.add_argument("--export", type=Path, help="write the averaged weights here at every checkpoint")
    return parser


def main() -> None:
    """Parse the options and train."""
    parser = training_parser(__doc__)
    parser.add_argument("--draw", type=int, default=0, help="draw this many pictures first")
    parser.add_argument("--often", type=factors, help="kinds to take more often or more seldom, as galaxy=2,nebula=0.5")
    parser.add_argument("--sheets", type=float, default=60, help="minutes from one sample sheet to the next")
    parser.add_argument("--init", type=Path, help="start from these exported weights instead of from nothing")
    parser.add_argument("--only", nargs="*", help="train only the weights whose names begin so, as unet.fine")
    args = parser.parse_args()
    folder = args.work / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-args.draw // SHARD)):
        write_shard((str(folder), number))
    train(args, folder)


def train(args, folder: Path) -> None:
    """The training loop; returns when the wall time is used up, or after a signal to end, with all written."""
    device = import_comfy(args.comfyui)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    from .network import FOLD, widened

    asked_to_end = told_to_end()
    tokenizer = WordTokenizer.from_pretrained()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    net = Net().to(device)
    if device == "cuda":
        net.to(memory_format=torch.channels_last)
    for name, weights in net.named_parameters():
        weights.requires_grad_(args.only is None or name.startswith(tuple(args.only)))

    def prepare() -> None:
        if args.init:
            net.load_state_dict(widened(load_file(args.init), net.state_dict()))
        else:
            head_start(net.text, lambda text, rng: tokens_of(text, tokenizer, rng))

    run = Run(net, args, args.work / "checkpoint.pt", prepare)
    data = Pictures(folder, args.often, device)
    if not data.refresh():
        raise SystemExit(f"{folder} has no pictures yet: run with --draw N, or python -m demo_model.data.")
    frequencies = error_weights(data.pictures.shape[-1], FOLD, args.lattice).to(device)
    silence = torch.tensor(padded([START, END]), device=device)
    generator = torch.Generator(device).manual_seed(run.step)
    cast = fast_precision(device)
    last_sheet = time.monotonic()
    losses = Losses(args.work / "losses.csv", 20)
    while not asked_to_end and run.done < 1.0:
        x, tokens = data.batch(args.batch, generator)
        tokens = mostly_told(tokens, silence, generator)
        noise = torch.randn(x.shape, generator=generator, device=device)
        contrast = contrasts(x)
        sigma = noise_levels(contrast, generator)
        mixed = x + sigma[:, None, None, None] * (noise - x)
        with cast:
            out = net(mixed, sigma, tokens)
        # Else cell walls and the arms of galaxies would hardly count beside forests.
        loss = flow_error(out, x, noise, sigma, frequencies / contrast[:, None, None, None])
        rate = run.learn(loss)
        losses.add(run, loss, rate, len(data.pictures))
        if run.step % 100 == 0:
            data.refresh()
        if time.monotonic() - last_sheet > 60 * args.sheets:
            with cast:
                write_sheet(run.average, tokenizer, args.work / f"sheet_{run.step:06d}.png")
            last_sheet = time.monotonic()
    run.save()
    if not asked_to_end:
        write_sheet(run.average, tokenizer, args.work / "sheet_final.png", rows=4)


if __name__ == "__main__":
    main()
