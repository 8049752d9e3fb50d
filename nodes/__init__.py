"""The pack's nodes, one file per concern."""

from . import advanced, demo, editing, fit, guides, prompts, sampling, stack, video, writer

PARTS = (prompts, writer, sampling, fit, stack, video, guides, editing, advanced, demo)
NODES = [node for part in PARTS for node in part.NODES]
