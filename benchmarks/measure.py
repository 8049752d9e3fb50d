"""What is measured on rendered frames."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

_WINDOW = 96


def psnr(picture: np.ndarray, exact: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, peak 1."""
    return float(-10 * np.log10(np.mean((picture - exact) ** 2)))


def displacements(picture: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """[5, 2]: how far (x, y) in pixels the centre and the four corners lie from their place.

    One step of Lucas and Kanade (1981) against the exact picture, in windows at most 96 pixels wide.
    """
    size = exact.shape[0]
    window = min(_WINDOW, size // 3)
    starts = [(size - window) // 2] * 2, (0, 0), (0, size - window), (size - window, 0), (size - window,) * 2
    # Blurred alike, both keep their place, and their slopes can be told from neighbouring pixels.
    picture, exact = (cv2.GaussianBlur(p.astype(np.float64), (0, 0), 1.0) for p in (picture, exact))
    slope = np.array([[1, -8, 0, 8, -1]]) / 12
    across, down = cv2.filter2D(exact, -1, slope), cv2.filter2D(exact, -1, slope.T)
    result = []
    for top, left in starts:
        # The outermost pixels have no neighbours to resample from.
        cut = slice(top + 6, top + window - 6), slice(left + 6, left + window - 6)
        slopes = np.stack([across[cut].ravel(), down[cut].ravel()], axis=1)
        difference = (exact[cut] - picture[cut]).ravel()
        result.append(np.linalg.lstsq(slopes, difference, rcond=None)[0])
    return np.array(result)


def motion(places: np.ndarray, size: int, rate: float) -> dict[str, float]:
    """Figures of a video from displacements [F, 5, 2] and the zoom rate (ln, a frame) it should have.

    speed: p99 / p1 of the zoom rate as the corners show it. jitter: rms of the corners' error.
    step: the centre's largest jump between frames. Both in pixels.
    """
    window = min(_WINDOW, size // 3)
    radius = (size - window) / 2
    signs = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)])
    scale = 1 + (places[:, 1:] * signs).mean(axis=(1, 2)) / radius
    rates = rate + np.diff(np.log(scale))
    low, high = np.percentile(rates, [1, 99])
    return {
        "speed p99/p1": high / low,
        "corner jitter px": float(np.sqrt((places[:, 1:] ** 2).sum(-1).mean())),
        "centre step px": float(np.linalg.norm(np.diff(places[:, 0], axis=0), axis=1).max()),
    }


def crossing_change(make: Callable[[float], np.ndarray], level: int, step: float) -> float:
    """How much the change from frame to frame at a level stands out: the larger relative deviation of
    the change before and after it from the mean of the two before and the two after.

    make: zoom -> picture; step: zoom between frames.
    """
    around = [make(level + k * step).astype(np.float64) for k in range(-4, 5)]
    changes = [np.sqrt(np.mean((b - a) ** 2)) for a, b in zip(around, around[1:])]
    return float(np.abs(np.array(changes[3:5]) / np.mean(changes[1:3] + changes[5:7]) - 1).max())


def colour_step(error: np.ndarray, begin: float, end: float, width: int = 2) -> float:
    """Step across the sides of the square [begin, end) in an error picture [H, W, 3] whose
    channels are off by +, -, +: the mean over each side just inside against just outside, in
    units of one channel. What the three channels share, texture, cancels."""
    contrast = 0.5 * (0.5 * (error[..., 0] + error[..., 2]) - error[..., 1])
    low, high = round(begin), round(end)
    if low < width or high + width > error.shape[0] or high - low < 8 * width:
        return 0.0
    along = slice(low + 2 * width, high - 2 * width)
    steps = []
    for plane in (contrast, contrast.T):
        for inside, outside in (
            (slice(low, low + width), slice(low - width, low)),
            (slice(high - width, high), slice(high, high + width)),
        ):
            steps.append(plane[inside, along].mean() - plane[outside, along].mean())
    return float(np.abs(steps).max())


def border_step(picture: np.ndarray, begin: float, end: float) -> float:
    """How visible the square [begin, end) is by sharpness alone: by how many bits (log2) the energy of
    the finest band of a picture [H, W] is higher just inside its sides than just outside.

    The band: what a Gaussian of sigma 1 takes away. Inside and outside: a sixteenth of the picture
    each, or what there is. 0 where the square touches the picture's border.
    """
    energy = (picture - cv2.GaussianBlur(picture, (0, 0), 1.0)) ** 2
    low, high = round(begin), round(end)
    width = min(picture.shape[0] // 16, low, picture.shape[0] - high)
    if width < 1:
        return 0.0
    sides = (energy, energy.T, energy[::-1], energy.T[::-1])
    inside = np.mean([side[low : low + width, low:high] for side in sides])
    outside = np.mean([side[low - width : low, low:high] for side in sides])
    return float(np.log2(inside / outside))


def edge_excess(picture: np.ndarray, begin: float, end: float) -> float:
    """How much the picture [H, W] changes across the sides of a square, against lines nearby: 1
    where the border cannot be told, 1.5 where it is half as strong again as the texture."""
    low, high = round(begin), round(end)
    if low < 12 or high + 12 > picture.shape[0] or high - low < 48:
        return 1.0
    along = slice(low, high)
    at, near = [], []
    for plane in (picture, picture.T):
        jumps = np.abs(np.diff(plane, axis=0))[:, along].mean(axis=1)
        for edge in (low, high):
            at.append(jumps[edge - 2 : edge + 1].max())
            near.append(np.concatenate([jumps[edge - 12 : edge - 4], jumps[edge + 4 : edge + 12]]).max())
    return float(np.mean(at) / np.mean(near))
