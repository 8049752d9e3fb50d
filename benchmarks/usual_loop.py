"""The usual zoom-video loop, to compare with: crop, resize, paste the next picture, next frame.

This is what most tools do: whole-pixel crops, resized with OpenCV, the next picture resized to a
whole number of pixels and pasted over the middle. Written for centred stacks.
"""

from __future__ import annotations

import cv2
import numpy as np


def frame(levels: np.ndarray, ratio: float, zoom: float, size: int) -> np.ndarray:
    """[size, size, C] uint8 from levels [N, H, H, C] uint8 at `zoom` (levels), `ratio` between them."""
    level = min(int(zoom), len(levels) - 1)
    magnified = ratio ** (zoom - level)
    side = levels.shape[1]
    crop = max(round(side / magnified), 1)
    start = (side - crop) // 2
    view = levels[level, start : start + crop, start : start + crop]
    interpolation = cv2.INTER_AREA if crop > size else cv2.INTER_LANCZOS4
    out = cv2.resize(view, (size, size), interpolation=interpolation)
    if level + 1 < len(levels):
        inner = round(size * magnified / ratio)
        corner = (size - inner) // 2
        interpolation = cv2.INTER_AREA if inner < side else cv2.INTER_LANCZOS4
        pasted = cv2.resize(levels[level + 1], (inner, inner), interpolation=interpolation)
        out[corner : corner + inner, corner : corner + inner] = pasted
    return out
