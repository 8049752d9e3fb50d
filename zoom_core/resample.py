"""Sub-pixel resampling of a layer: separable, axis-aligned, exact to the pixel model.

A pixel is the scene seen through a Gaussian of sigma 0.5 of its own width. Resampling a layer
therefore has a well-posed aim: from samples blurred by 0.5 layer pixels, estimate the scene
blurred by 0.5 output pixels. Every map between a level and a view of it is a scale and a shift
per axis, so the estimate is two products with banded matrices.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

PIXEL_VARIANCE = 0.25
TAPS = 10
# Where the taps begin to fade out, in pixels from the centre. Without a fade the outermost taps
# would enter and leave with a jump as the centre moves, which shows on magnified edges.
FADE_START = 2.0
# Finer detail than half a layer pixel cannot be estimated: reaching for it only adds halos.
FINEST_STEP = 0.5
# Variance of the samples' own noise against that of one octave of the scene: about 8-bit
# rounding. It keeps the estimate from amplifying what is not there.
NOISE = 1e-3
PHASES = 128
# Natural pictures hold about the same energy in every octave. A sum of Gaussians, one for each
# octave from a quarter of a pixel to 32 pixels, has that spectrum and a closed-form covariance.
OCTAVES = 2.0 ** np.arange(-2, 6)


def _covariance(distance: np.ndarray, variance: float) -> np.ndarray:
    """Covariance of a scale-free scene seen through Gaussians of summed `variance`, in pixels."""
    spread = OCTAVES**2 + variance
    return (OCTAVES / np.sqrt(spread) * np.exp(-0.5 * distance[..., None] ** 2 / spread)).sum(-1)


@lru_cache(maxsize=1)
def _inverse_system() -> np.ndarray:
    """Inverse of the kriging system of TAPS neighbouring samples with weights that sum to 1."""
    tap = np.arange(TAPS)
    system = np.ones((TAPS + 1, TAPS + 1))
    system[TAPS, TAPS] = 0.0
    system[:TAPS, :TAPS] = _covariance(np.subtract.outer(tap, tap), 2 * PIXEL_VARIANCE)
    system[:TAPS, :TAPS] += NOISE * np.eye(TAPS)
    return np.linalg.inv(system)


@lru_cache(maxsize=16)
def kernel(step: float) -> np.ndarray:
    """[PHASES + 1, taps] float32: weights for output pixels `step` layer pixels apart.

    Row p serves positions p / PHASES beyond a sample; tap k stands k - taps / 2 + 1 samples from
    it. Below a step of 2 these are the best linear estimate of the scene under the output pixel
    (ordinary kriging, Matheron 1963) for a scale-free scene; it interpolates, and undoes the
    layer's own blur as far as the samples allow. From 2 on, the Gaussian that the layer's pixels
    lack is wide enough to be sampled as it is.
    """
    phase = np.arange(PHASES + 1)[:, None] / PHASES
    if step >= 2.0:
        sigma = math.sqrt(PIXEL_VARIANCE * (step * step - 1))
        reach = math.ceil(4 * sigma) + 1
        distance = phase - np.arange(-reach + 1, reach + 1)
        weights = np.exp(-0.5 * (distance / sigma) ** 2)
    else:
        distance = phase - np.arange(-TAPS // 2 + 1, TAPS // 2 + 1)
        wanted = PIXEL_VARIANCE * (1 + max(step, FINEST_STEP) ** 2)
        right = np.concatenate([_covariance(distance, wanted), np.ones((PHASES + 1, 1))], axis=1)
        weights = (right @ _inverse_system())[:, :TAPS]
        fade = np.clip((np.abs(distance) - FADE_START) / (TAPS / 2 - FADE_START), 0, 1)
        weights *= np.cos(0.5 * math.pi * fade) ** 2
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


class Tile(NamedTuple):
    """Output pixels [begin, end) of one axis come from layer pixels [low, high).

    matrix: [end - begin, high - low] for rows, the transpose for columns.
    """

    begin: int
    end: int
    low: int
    high: int
    matrix: torch.Tensor


def axis_tiles(
    offset: float,
    step: float,
    size: int,
    span: tuple[int, int],
    tile: int,
    device: torch.device,
    columns: bool,
    pixel: float | None = None,
) -> list[Tile]:
    """The banded matrix of one axis, cut into tiles that are small and dense.

    offset, step: the centre of output pixel j lies at layer sample offset + step * j (sample 0
    is the centre of the first pixel). Samples beyond the layer repeat its edge.
    size: layer pixels. span: the output pixels wanted. tile: output pixels a tile; tiles lie on
    the grid of its multiples, so that levels drawn together share them. pixel: the width of the
    output's pixels in layer pixels, `step` by default; wider where samples lie closer.
    """
    begin, end = span
    if end <= begin:
        return []
    table = kernel(step if pixel is None else pixel)
    taps = table.shape[1]
    output = np.arange(begin, end)
    position = offset + step * output
    base = np.floor(position)
    phase = (position - base) * PHASES
    # A place a rounding error below a sample lies at the very end of the table.
    row = np.minimum(phase.astype(np.intp), PHASES - 1)
    fraction = phase - row
    weights = table[row]
    weights += (table[row + 1] - weights) * fraction[:, None].astype(np.float32)
    first = base.astype(np.intp) - (taps // 2 - 1)

    number = output // tile
    edges = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [end - begin]])
    begins, ends = edges[:-1], edges[1:]
    number -= begin // tile
    lows = np.clip(first[begins], 0, size - 1)
    width = int((np.clip(first[ends - 1] + taps - 1, 0, size - 1) - lows).max() + 1)
    lows = np.minimum(lows, size - width)
    line = output - begin - begins[number]
    matrices = np.zeros((len(begins), int((ends - begins).max()), width), dtype=np.float32)
    inside = (first >= 0) & (first + taps <= size)
    columns_of = first[:, None] - lows[number][:, None] + np.arange(taps)
    matrices[number[inside, None], line[inside, None], columns_of[inside]] = weights[inside]
    for i in np.flatnonzero(~inside):
        index = np.clip(first[i] + np.arange(taps), 0, size - 1) - lows[number[i]]
        np.add.at(matrices[number[i], line[i]], index, weights[i])
    blocks = torch.from_numpy(matrices.transpose(0, 2, 1).copy() if columns else matrices).to(device)
    return [
        Tile(
            begin + int(a),
            begin + int(b),
            int(low),
            int(low) + width,
            block[:, : b - a] if columns else block[: b - a],
        )
        for a, b, low, block in zip(begins, ends, lows, blocks)
    ]


class Workspace:
    """Memory that drawing reuses: an allocation a strip would cost more than the products."""

    def __init__(self, device: torch.device):
        self._device = device
        self._buffers: dict[str, torch.Tensor] = {}

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """A contiguous float32 tensor of `shape` with arbitrary content, valid until taken again."""
        count = math.prod(shape)
        if name not in self._buffers or self._buffers[name].numel() < count:
            self._buffers[name] = torch.empty(count, dtype=torch.float32, device=self._device)
        return self._buffers[name][:count].view(shape)


def draw(layer: torch.Tensor, rows: list[Tile], columns: list[Tile], out: torch.Tensor, workspace: Workspace) -> None:
    """One strip of a resampled layer [C, H, W], into out: contiguous [C, all rows of `rows`, width].

    rows: neighbouring row tiles, the strip. columns: neighbouring column tiles; they are written
    where they belong, the rest is left alone.
    """
    if not columns:
        return
    low, high = columns[0].low, max(tile.high for tile in columns)
    channels, height = out.shape[:2]
    strip = workspace.take("rows", channels, height, high - low)
    top = rows[0].begin
    for tile in rows:
        torch.matmul(
            tile.matrix, layer[:, tile.low : tile.high, low:high], out=strip[:, tile.begin - top : tile.end - top]
        )
    # Rows and channels flattened: one product a tile instead of one a channel.
    strip, target = strip.view(channels * height, -1), out.view(channels * height, -1)
    for tile in columns:
        torch.mm(strip[:, tile.low - low : tile.high - low], tile.matrix, out=target[:, tile.begin : tile.end])
