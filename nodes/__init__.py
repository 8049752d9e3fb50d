"""The pack's nodes, one file per concern."""

from . import advanced, demo, editing, guides, prompts, sampling, stack, video

PARTS = (prompts, sampling, stack, video, guides, editing, advanced, demo)
NODES = [node for part in PARTS for node in part.NODES]
