"""The pack's nodes, one file per concern."""

from . import advanced, editing, guides, prompts, sampling

NODES = [node for part in (prompts, sampling, guides, editing, advanced) for node in part.NODES]
