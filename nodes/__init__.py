"""The pack's nodes, one file per concern."""

from comfy_api.v0_0_2 import io

from . import (
    advanced,
    alignment,
    camera,
    demo,
    editing,
    guides,
    page,
    prompts,
    sampling,
    stack,
    stack_files,
    video,
    viewer,
    writer,
)

PARTS = (
    prompts,
    writer,
    sampling,
    alignment,
    stack,
    stack_files,
    viewer,
    page,
    camera,
    video,
    guides,
    editing,
    advanced,
    demo,
)
NODES: list[type[io.ComfyNode]] = [node for part in PARTS for node in part.NODES]
