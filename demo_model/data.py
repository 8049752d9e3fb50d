"""The training pictures: drawn once into shards of a work folder, read back as they appear."""

import argparse
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .captions import between_caption, training_caption
from .text import WordTokenizer, tokens_of
from .world import KINDS, Look, draw, looks

SHARD = 250
TELLINGS = 4  # captions of each training picture
FIRST_EVAL_SEED = 900_000_000  # worlds from here on are never trained on
BETWEEN = 6  # every so manieth round of training pictures lies half a zoom of 4 between two kinds


class Views(NamedTuple):
    """What random views are like.

    moved: by kind, the share of pictures that are shifted, turned and enlarged a little.
    alone: the share of those that leave out the kinds inside, with looks that need not go together.
    """

    moved: dict[str, float]
    alone: float


# The judge's, and the model's: most of these are as the levels of a zoom are; but a forest's trees would stand in rows.
LOOSE = Views(dict.fromkeys(KINDS, 0.5), 0.45)
AS_LEVELS = Views(dict.fromkeys(KINDS, 0.1) | {"forest": 0.5}, 0.15)


def view_of(index: int, first_seed: int = 0, views: Views = LOOSE) -> dict:
    """The random view number `index`: arguments for `draw` and the kind it shows."""
    rng = np.random.default_rng((index, first_seed))
    kind = index % len(KINDS)
    moved = rng.random() < views.moved[KINDS[kind]]
    scale = kind + float(np.clip(rng.normal(0, 0.16), -0.35, 0.35)) * moved
    shift = rng.uniform(-0.06, 0.06, 2) * moved
    return dict(
        kind=kind,
        seed=int(first_seed + index * 7 + 1),
        scale=float(scale),
        center=(float(shift[0]), float(shift[1])),
        angle=float(rng.uniform(-0.4, 0.4)) * moved,
        only=bool(rng.random() < views.alone),
    )


def between_view(index: int, first_seed: int = 0) -> dict:
    """The random view number `index` about half-way between two kinds, as a stack with a zoom of 2 has them."""
    rng = np.random.default_rng((index, first_seed, 1))
    outer = index % (len(KINDS) - 1)
    return dict(
        kind=outer,
        seed=int(first_seed + index * 7 + 1),
        scale=float(outer + np.clip(rng.normal(0.5, 0.08), 0.35, 0.65)),
        center=(0.0, 0.0),
        angle=0.0,
        only=False,
    )


def is_between(index: int) -> bool:
    """Whether training picture `index` lies between two kinds."""
    return index // len(KINDS) % BETWEEN == BETWEEN - 1


def training_view(index: int, views: Views = AS_LEVELS) -> dict:
    """What training picture `index` shows: arguments for `draw` and the kind (the outer of two)."""
    return between_view(index) if is_between(index) else view_of(index, views=views)


def look_of(view: dict) -> Look:
    """The look of the kind that a view shows."""
    return looks(view["seed"], view["only"])[view["kind"]]


def caption_of(index: int, rng: np.random.Generator) -> str:
    """A sentence about training picture `index`."""
    view = training_view(index)
    seen = looks(view["seed"], view["only"])
    if is_between(index):
        return between_caption(seen[view["kind"]], seen[view["kind"] + 1], rng)
    return training_caption(seen[view["kind"]], rng)


def draw_view(view: dict, size: int = 64) -> np.ndarray:
    """A view as uint8 [size, size, 3]."""
    picture = draw(view["seed"], view["scale"], size, view["center"], view["angle"], view["only"])
    return np.round(picture * 255).astype(np.uint8)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write to for the block; what is there then moves to `path`, which so is never half-written."""
    part = path.with_suffix(".part")
    yield part
    part.replace(path)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file."""
    with whole(path) as part, open(part, "wb") as file:
        np.save(file, array)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write a .npz file of named arrays."""
    with whole(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)


def write_shard(job: tuple[str, int], views: Views = AS_LEVELS) -> str:
    """Draw shard `job[1]` into folder `job[0]`, unless it is there."""
    folder, number = job
    path = Path(folder) / f"shard_{number:04d}.npz"
    if path.exists():
        return str(path)
    numbers = range(number * SHARD, (number + 1) * SHARD)
    pictures = np.stack([draw_view(training_view(n, views)) for n in numbers])
    write_arrays(path, pictures=pictures, tokens=told(numbers), first=number * SHARD)
    return str(path)


def told(numbers: Iterable[int], caption: Callable[[int, np.random.Generator], str] = caption_of) -> np.ndarray:
    """Tokens of sentences about each of these pictures, int16 [n, TELLINGS, LENGTH]; caption(number, rng) is one."""
    tokenizer = WordTokenizer.from_pretrained()
    found = []
    for number in numbers:
        rng = np.random.default_rng((number, 2))
        found.append([tokens_of(caption(number, rng), tokenizer, rng) for _ in range(TELLINGS)])
    return np.array(found, np.int16)


def ready_shards(folder: Path) -> list[Path]:
    """The finished shards of a folder, oldest first."""
    return sorted(folder.glob("shard_*.npz"))


def read_shard(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Pictures uint8 [n, 64, 64, 3], tokens of sentences about them int16 [n, TELLINGS, LENGTH], the first's index."""
    with np.load(path) as file:
        if "tokens" not in file:
            raise ValueError(
                f"{path}: expected pictures and sentences about them, got pictures only. An earlier version drew it: "
                "delete it and draw again."
            )
        return file["pictures"], file["tokens"], int(file["first"])


def main() -> None:
    """Draw shards with several processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="folder for everything that training writes")
    parser.add_argument("--pictures", type=int, default=40000)
    parser.add_argument("--first", type=int, default=0, help=f"number of the first shard of {SHARD} pictures")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    folder = Path(args.work) / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(str(folder), n) for n in range(args.first, args.first - (-args.pictures // SHARD))]
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for done, path in enumerate(pool.imap(write_shard, jobs), 1):
            print(f"{done}/{len(jobs)} {path}", flush=True)


if __name__ == "__main__":
    main()
