"""The pack's nodes, one file per concern."""

from . import prompts, sampling

NODES = [*prompts.NODES, *sampling.NODES]
