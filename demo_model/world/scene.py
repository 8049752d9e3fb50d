"""Drawing a world: a view of any scale, and true zoom stacks."""

import functools
import math

import numpy as np

from .cosmos import paint_cluster, paint_galaxy, paint_nebula, paint_planet, paint_system
from .earth import paint_coast, paint_continent, paint_forest, paint_tree
from .life import paint_cell, paint_leaf, paint_tissue
from .looks import KINDS, Look, looks

STEP = 4.0  # one kind after another, by a factor of 4
SAMPLES = 2  # colour samples along a pixel's side
PAINTERS = (
    paint_cluster,
    paint_galaxy,
    paint_nebula,
    paint_system,
    paint_planet,
    paint_continent,
    paint_coast,
    paint_forest,
    paint_tree,
    paint_leaf,
    paint_tissue,
    paint_cell,
)


@functools.lru_cache(maxsize=256)
def cached_looks(seed: int, apart: bool) -> tuple[Look, ...]:
    """`looks(seed, apart)`, remembered."""
    return tuple(looks(seed, apart))


def _paint(kind, x, y, px, scene, nested):
    if PAINTERS[kind] is paint_planet:
        return paint_planet(x, y, px, scene[kind], nested, scene[kind + 1])
    return PAINTERS[kind](x, y, px, scene[kind], nested)


def _gauss_kernel() -> np.ndarray:
    """Weights of the samples of a pixel and its neighbours: a Gaussian of sigma half a pixel."""
    reach = 3 * SAMPLES // 2 + SAMPLES // 2
    offset = (np.arange(-reach, reach) + 0.5) / SAMPLES
    weight = np.exp(-0.5 * (offset / 0.5) ** 2)
    return (weight / weight.sum()).astype(np.float32)


def _filter(image: np.ndarray, size: int, margin: int) -> np.ndarray:
    """Sample grid [S, S, 3] with `margin` samples around -> pixels [size, size, 3]."""
    kernel = _gauss_kernel()
    reach = len(kernel) // 2
    for axis in (0, 1):
        image = np.moveaxis(image, axis, 0)
        rows = np.zeros((size,) + image.shape[1:], np.float32)
        for n, weight in enumerate(kernel):
            start = margin + SAMPLES // 2 - reach + n
            rows += weight * image[start : start + size * SAMPLES : SAMPLES]
        image = np.moveaxis(rows, 0, axis)
    return image


def paint(seed: int, scale: float, size: int, u: np.ndarray, v: np.ndarray, only: bool = False) -> np.ndarray:
    """Colours [..., 3] of the points (u, v) (frame widths from the middle of the view at `scale`; rows
    and columns of a grid), with the detail that a view of `size` pixels can show."""
    scene = cached_looks(seed, only)
    last = len(KINDS) - 1
    if not -0.75 <= scale <= last + 0.75:
        raise ValueError(f"scale: expected -0.75 to {last + 0.75}, got {scale}.")
    near = min(max(int(round(scale)), 0), last)
    stop = near if only else last
    image = np.zeros(u.shape + (3,), np.float32)
    first = near if only else max(0, math.ceil(scale) - 2)
    for kind in range(first, stop + 1):
        width = STEP ** (kind - scale)  # of the view, in this kind's frame
        x, y, px = u * np.float32(width), v * np.float32(width), width / size
        if px > 0.5:
            break
        inside = np.maximum(np.abs(x), np.abs(y)) < 0.95
        if kind == first:
            inside = np.ones_like(inside)
        rows, cols = np.where(inside.any(1))[0], np.where(inside.any(0))[0]
        if not len(rows):
            break
        box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        color, cover = _paint(kind, x[box], y[box], px, scene, kind < stop)
        color = np.clip(color, 0.0, 1.0)
        if kind > first:
            cover = cover[..., None]
            color = image[box] * (1 - cover) + color * cover
        image[box] = color
    return image


def draw(
    seed: int, scale: float, size: int = 64, center=(0.0, 0.0), angle: float = 0.0, only: bool = False
) -> np.ndarray:
    """The world `seed` as a picture [size, size, 3], float32 in 0..1.

    scale: log scale; at `k` kind k fills the frame and kind k+1 its middle quarter.
    center: middle of the view in frame widths of that scale. angle: radians the view is turned by.
    only: leave out the kinds inside the one that scale is nearest to, and let its look differ
    from its neighbours'.
    """
    margin = 2 * SAMPLES
    count = size * SAMPLES + 2 * margin
    grid = ((np.arange(count, dtype=np.float32) - margin + 0.5) / (size * SAMPLES)) - 0.5
    u, v = np.meshgrid(grid, grid)
    c, s = math.cos(angle), math.sin(angle)
    u, v = c * u - s * v + center[0], s * u + c * v + center[1]
    return np.clip(_filter(paint(seed, scale, size, u, v, only), size, margin), 0.0, 1.0)


def draw_stack(seed: int, count: int, zoom: float = 4.0, size: int = 64, start: float = 0.0) -> np.ndarray:
    """A true zoom stack [count, 3, size, size] in 0..1: each picture is the middle 1/zoom of the one before."""
    step = math.log(zoom) / math.log(STEP)
    views = [draw(seed, start + step * n, size) for n in range(count)]
    return np.stack(views).transpose(0, 3, 1, 2)
