"""Train the second stage, which finishes pictures of the first: `python -m demo_model.finish --work DIR`.

The same network, shown an enlarged picture beside the noisy one, at 256 x 256. It starts from the first stage's
weights and learns from parts of 64 x 64 pixels of drawn pictures. What it is shown is the drawn picture seen
through pixels four times as wide, painted anew by the first stage from some noise level, and enlarged by the
upscaler: so it is too smooth now and then, as the first stage's own pictures are, and what is missing has to be
made up. Pictures are drawn first; a run that was told to end (Ctrl+C, SIGTERM) goes on the next time.
"""

import multiprocessing
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from .captions import training_caption
from .data import AS_LEVELS, TELLINGS, draw_view, look_of, told, view_of, write_array, write_arrays
from .precision import fast_precision
from .text import END, LENGTH, PAD, START, padded
from .train import Losses, Run, error_weights, flow_error, import_comfy, mostly_told, told_to_end, training_parser
from .upscaler import painted_anew, shrink, trained

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
    """The random view number `index`."""
    return view_of(index, FIRST_SEED, AS_LEVELS)


def caption(index: int, rng: np.random.Generator) -> str:
    """A sentence about picture `index`."""
    return training_caption(look_of(finish_view(index)), rng)


def draw_shard(job: tuple[str, int]) -> None:
    """Draw shard `job[1]` into folder `job[0]`, unless it is there."""
    folder, number = job
    path = Path(folder) / f"large_{number:04d}.npz"
    if not path.exists():
        numbers = range(number * SHARD, (number + 1) * SHARD)
        pictures = np.stack([draw_view(finish_view(n), SIZE) for n in numbers]).transpose(0, 3, 1, 2)
        write_arrays(path, pictures=pictures, tokens=told(numbers, caption))


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
    """Drawn pictures of a folder and what the net is shown of them, which is made on first use and kept.

    All are on the device that trains.
    """

    def __init__(self, folder: Path, net, device: str = "cpu"):
        """net: the first stage, on `device`, which paints."""
        self.folder, self.net, self._shards = folder, net, 0
        self.upscaler = trained().to(device)
        self.drawn = torch.empty(0, 3, SIZE, SIZE, dtype=torch.uint8, device=device)
        self.shown = torch.empty(0, len(SPOILT), 3, SIZE, SIZE, dtype=torch.uint8, device=device)
        self._tokens = torch.empty(0, TELLINGS, LENGTH, dtype=torch.int16, device=device)

    def refresh(self) -> int:
        """Read the next shard if there is one, and those after it that are ready; the number of pictures."""
        found, fresh = [], True
        while True:
            number = self._shards + len(found)
            path, kept = self.folder / f"large_{number:04d}.npz", self.folder / f"shown_{number:04d}.npy"
            if not path.exists() or not (fresh or kept.exists()):
                break
            with np.load(path) as file:
                drawn, tokens = (torch.from_numpy(file[name]).to(self.drawn.device) for name in ("pictures", "tokens"))
            if kept.exists():
                shown = torch.from_numpy(np.load(kept)).to(drawn.device)
            else:
                shown = self._show(drawn, tokens, number)
                write_array(kept, shown.cpu().numpy())
                fresh = False
            found.append((drawn, shown, tokens))
        if found:
            # All at once: what is there is copied.
            drawn, shown, tokens = map(torch.cat, zip(*found))
            self.drawn = torch.cat([self.drawn, drawn])
            self.shown = torch.cat([self.shown, shown])
            self._tokens = torch.cat([self._tokens, tokens])
            self._shards += len(found)
        return len(self.drawn)

    @torch.no_grad()
    def _show(self, drawn: torch.Tensor, tokens: torch.Tensor, number: int) -> torch.Tensor:
        """What is shown [n, len(SPOILT), 3, SIZE, SIZE] of the pictures of shard `number`."""
        rng, generator = np.random.default_rng(number), torch.Generator().manual_seed(number)
        found = []
        # Parts of a shard, for machines with little memory.
        for pictures, told_of in zip(drawn.split(40), tokens.split(40)):
            small = shrink(pictures.float() / 255)
            words = told_of[:, int(rng.integers(TELLINGS))].long()
            inputs = []
            for lowest, highest in SPOILT:
                level = torch.from_numpy(rng.uniform(lowest, highest, len(small))).to(small)
                spoilt = painted_anew(small, self.net, words, level, SHARES_OF_LEVEL, generator) if highest else small
                inputs.append(spoilt)
            inputs[3][MIDDLE] = small[MIDDLE]
            enlarged = [self.upscaler(x).clamp(0, 1) for x in inputs]
            found.append((torch.stack(enlarged, 1) * 255).round().to(torch.uint8))
        return torch.cat(found)

    def batch(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Parts of drawn pictures and of what is shown of them, [count, 3, PART, PART] in -1..1, and tokens [count, T].

        generator: on the device.
        """
        made = dict(size=(count,), generator=generator, device=self.drawn.device)
        chosen = torch.randint(len(self.drawn), **made)
        y, x = (torch.randint(SIZE - PART + 1, **made) for _ in range(2))
        how = torch.multinomial(torch.tensor(SHARES, device=y.device), count, replacement=True, generator=generator)
        drawn, shown = (pictures.unfold(-2, PART, 1).unfold(-2, PART, 1) for pictures in (self.drawn, self.shown))
        pair = torch.stack([drawn[chosen, :, y, x], shown[chosen, how, :, y, x]])
        mirrored = torch.rand(**made)[:, None, None, None] < 0.5
        drawn, shown = torch.where(mirrored, pair.flip(-1), pair).float() / 127.5 - 1
        return drawn, shown, self._tokens[chosen, torch.randint(TELLINGS, **made)].long()


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

    device = import_comfy(args.comfyui)
    import comfy.ops

    from .network import FINISH, FOLD, ZoomUNet, initialise

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    asked_to_end = told_to_end()
    first = read_net(Path(__file__).with_name("zoom_demo.safetensors")).to(device)
    net = ZoomUNet(**FINISH, dtype=torch.float32, device=device, operations=comfy.ops.disable_weight_init)

    def prepare() -> None:
        if args.init:
            net.load_state_dict({name.removeprefix("unet."): value for name, value in load_file(args.init).items()})
        else:
            initialise(net)
            net.load_state_dict(from_first_stage(first.unet.state_dict(), net.state_dict()))

    run = Run(net, args, folder / "checkpoint.pt", prepare, prefix="unet.")
    data = LargePictures(folder, first, device)
    if not data.refresh():
        raise SystemExit(f"{folder} has no pictures: run with --pictures N.")
    frequencies = error_weights(PART, FOLD, args.lattice).to(device)
    silence = torch.tensor(padded([START, END]), device=device)
    generator = torch.Generator(device).manual_seed(run.step)
    cast = fast_precision(device)
    losses = Losses(folder / "losses.csv", 10)
    while not asked_to_end and run.done < 1:
        x, shown, tokens = data.batch(args.batch, generator)
        tokens = mostly_told(tokens, silence, generator)
        noise = torch.randn(x.shape, generator=generator, device=device)
        # What is shown decides all that high noise leaves open.
        level = torch.randn(len(x), generator=generator, device=device)
        sigma = torch.sigmoid(-0.5 + 1.2 * level).clamp(min=1e-3)
        mixed = x + sigma[:, None, None, None] * (noise - x)
        with torch.no_grad():
            context, _ = first.text(tokens, tokens != PAD)
        with cast:
            out = net(torch.cat([mixed, shown], 1), sigma * 1000.0, context=context)
        loss = flow_error(out, x, noise, sigma, frequencies)
        rate = run.learn(loss)
        losses.add(run, loss, rate, len(data.drawn))
        if run.step % 25 == 0:
            data.refresh()
    run.save()


if __name__ == "__main__":
    main()
