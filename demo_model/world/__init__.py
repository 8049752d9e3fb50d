"""One procedural world that can be drawn at any scale, from a galaxy cluster down to a cell."""

from .looks import KINDS, TONES, Look, looks
from .scene import STEP, draw, draw_stack, paint

__all__ = ["KINDS", "STEP", "TONES", "Look", "draw", "draw_stack", "looks", "paint"]
