"""Noise, scattered points and small shaping functions on coordinate arrays (numpy, float32)."""

import numpy as np

Array = np.ndarray


def smooth(a: float, b: float, x: Array) -> Array:
    """Smooth step from 0 at `a` to 1 at `b`; `a > b` gives the falling step."""
    t = np.clip((x - a) / (b - a), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(a, b, t: Array) -> Array:
    """Blend colours `a` and `b` ([3] or [..., 3]) by `t` [...]."""
    t = t[..., None]
    return np.asarray(a, np.float32) * (1.0 - t) + np.asarray(b, np.float32) * t


def hash01(i: Array, j: Array, seed: int) -> Array:
    """A uniform number in 0..1 for every integer lattice point (i, j)."""
    h = i.astype(np.int32).view(np.uint32) * np.uint32(374761393)
    h += j.astype(np.int32).view(np.uint32) * np.uint32(668265263)
    h += np.uint32((seed * 2246822519 + 3266489917) & 0xFFFFFFFF)
    h ^= h >> np.uint32(15)
    h *= np.uint32(2246822519)
    h ^= h >> np.uint32(13)
    h *= np.uint32(3266489917)
    h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(1.0 / 16777216.0)


def noise(x: Array, y: Array, seed: int) -> Array:
    """Value noise in -1..1 with features of size 1."""
    xi, yi = np.floor(x), np.floor(y)
    fx, fy = x - xi, y - yi
    fx = fx * fx * fx * (fx * (fx * 6 - 15) + 10)
    fy = fy * fy * fy * (fy * (fy * 6 - 15) + 10)
    i, j = xi.astype(np.int32), yi.astype(np.int32)
    a, b = hash01(i, j, seed), hash01(i + 1, j, seed)
    c, d = hash01(i, j + 1, seed), hash01(i + 1, j + 1, seed)
    top, bottom = a + (b - a) * fx, c + (d - c) * fx
    return (top + (bottom - top) * fy) * 2.0 - 1.0


def fbm(x: Array, y: Array, seed: int, px: float, octaves: int = 5, gain: float = 0.5) -> Array:
    """Fractal noise, about -1..1. Octaves finer than a pixel of width `px` fade out."""
    total = np.zeros_like(x)
    norm, amp, freq = 0.0, 1.0, 1.0
    for o in range(octaves):
        weight = float(np.clip(2.0 - 3.0 * freq * px, 0.0, 1.0))
        if weight > 0.0:
            total += (amp * weight) * noise(x, y, seed * 31 + o)
        norm += amp
        # A turn between octaves hides the lattice.
        x, y = 1.66 * x - 1.12 * y + 3.7, 1.12 * x + 1.66 * y - 1.3
        amp *= gain
        freq *= 2.0
    return total * (1.6 / norm)


def cells(x: Array, y: Array, seed: int, jitter: float = 0.8):
    """Voronoi cells of size 1.

    Returns (f1, f2, dx, dy, h, g): distance to the nearest and second nearest point, the
    offset from the nearest point, and two uniform numbers that belong to it.
    """
    xi, yi = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    f1 = np.full_like(x, 9.0)
    f2 = np.full_like(x, 9.0)
    bx, by = np.zeros_like(x), np.zeros_like(x)
    bi, bj = np.zeros_like(xi), np.zeros_like(yi)
    for dj in (-1, 0, 1):
        for di in (-1, 0, 1):
            i, j = xi + di, yi + dj
            cx = x - (i + 0.5 + jitter * (hash01(i, j, seed) - 0.5))
            cy = y - (j + 0.5 + jitter * (hash01(i, j, seed + 7919) - 0.5))
            d = cx * cx + cy * cy
            near = d < f1
            f2 = np.where(near, f1, np.minimum(f2, d))
            f1 = np.where(near, d, f1)
            bx, by = np.where(near, cx, bx), np.where(near, cy, by)
            bi, bj = np.where(near, i, bi), np.where(near, j, bj)
    return (np.sqrt(f1), np.sqrt(f2), bx, by, hash01(bi, bj, seed + 104729), hash01(bi, bj, seed + 15485863))


def spots(x: Array, y: Array, px: float, cell: float, radius: float, seed: int):
    """Scattered soft round spots, at most one a lattice cell of width `cell`.

    Returns (amount 0..1, h, g); a spot smaller than a pixel is drawn a pixel wide, and all
    fade out where pixels are too coarse to tell them apart.
    """
    i, j = np.floor(x / cell).astype(np.int32), np.floor(y / cell).astype(np.int32)
    h, g = hash01(i, j, seed), hash01(i, j, seed + 11)
    size = np.maximum(radius * (0.4 + 0.9 * h), 0.6 * px)
    free = np.maximum(cell - 3.0 * size, 0.0)
    cx = (i + 0.5) * cell + (hash01(i, j, seed + 23) - 0.5) * free
    cy = (j + 0.5) * cell + (hash01(i, j, seed + 37) - 0.5) * free
    d = ((x - cx) ** 2 + (y - cy) ** 2) / (size * size)
    return np.exp(-d) * float(np.clip(cell / (3.0 * px) - 0.7, 0.0, 1.0)), h, g


def stars(x: Array, y: Array, px: float, seed: int, density: float = 0.3, cell: float = 0.05) -> Array:
    """Light of a star field [..., 3]: few bright stars, many faint ones, slight tints."""
    light = np.zeros(x.shape + (3,), np.float32)
    for o, (size, power) in enumerate(((2.3, 1.0), (1.0, 0.6))):
        amount, h, g = spots(x + 0.37 * o, y - 0.21 * o, px, cell * size, 0.003, seed + 101 * o)
        bright = np.where(g < density, power * (0.25 + 0.75 * h * h), 0.0)
        tint = mix((1.0, 0.86, 0.7), (0.75, 0.86, 1.0), np.modf(h * 7.3)[0])
        light += (amount * bright)[..., None] * tint
    return light


def turn(x: Array, y: Array, angle: float):
    """The coordinates (x, y) in axes turned by `angle` radians."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x
