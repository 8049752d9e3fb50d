"""Zoom stacks: Generative Powers of Ten (Wang et al., CVPR 2024) on plain tensors.

A library by itself: hand it clean estimates of any diffusion codebase and get consistent
estimates back. Tensors are [N, C, H, W] float32, levels on the first axis, level 0 outermost.
"""

from .blending import blend
from .camera import Camera
from .consolidation import IterativeUpdate, consolidate
from .geometry import Geometry, Inset
from .levels import ZoomLevel, ZoomLevels
from .operators import downscale, render_image, render_noise
from .photograph import LevelConstraint, ZoomGuide
from .prompts import parse_prompts
from .stack import ZoomStack
from .view import render_view

__all__ = [
    "Camera",
    "Geometry",
    "Inset",
    "IterativeUpdate",
    "LevelConstraint",
    "ZoomGuide",
    "ZoomLevel",
    "ZoomLevels",
    "ZoomStack",
    "blend",
    "consolidate",
    "downscale",
    "parse_prompts",
    "render_image",
    "render_noise",
    "render_view",
]
