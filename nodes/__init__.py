"""The pack's nodes, one file per concern."""

from comfy_api.v0_0_2 import io

from . import (
    advanced,
    alignment,
    camera,
    contact_sheet,
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
    contact_sheet,
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
