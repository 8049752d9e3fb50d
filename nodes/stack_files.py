"""Nodes that save and load zoom stacks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import lru_cache

import folder_paths
import torch
from comfy_api.v0_0_2 import io

from ..zoom_core import files, stack_file
from ..zoom_core.stack import ZoomStack
from ..zoom_core.stack_file import SUFFIX
from .devices import free_memory
from .inputs import filename_prefix_input
from .notes import say
from .saving import save_output
from .types import CATEGORY, ZoomStackType

NOTHING_SAVED = "(no stack saved yet)"


class ZoomStackSave(io.ComfyNode):
    """Keeps a stack as a file in the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomStackSave",
            display_name="Save Zoom Stack",
            category=CATEGORY,
            description="Saves a zoom stack with its prompts as a .safetensors file in ComfyUI's output folder.",
            search_aliases=["export zoom stack", "keep zoom"],
            inputs=[
                ZoomStackType.Input("stack", tooltip="The stack to save."),
                filename_prefix_input(),
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, stack, filename_prefix) -> io.NodeOutput:
        saved, path = save_output(stack, filename_prefix, SUFFIX, lambda part: stack_file.write(stack, part))
        text = f"Saved {os.path.join(saved.subfolder, path.name)}"
        say(cls, text)
        return io.NodeOutput(ui={"files": [saved], "text": [text]})


def _folders() -> tuple[tuple[str, str], ...]:
    """The folders that stacks are loaded from, each with the mark that ComfyUI puts behind its names."""
    return (folder_paths.get_input_directory(), ""), (folder_paths.get_output_directory(), " [output]")


@lru_cache(maxsize=20_000)
def _is_stack(path: str, changed: int, size: int) -> bool:
    # The list is made for every page that is opened: a file is looked into once.
    return stack_file.is_stack_file(path)


def _stack_files() -> list[str]:
    """Stacks in the input and output folders, the latter marked as ComfyUI marks them."""
    names = []
    for folder, mark in _folders():
        for path in _below(folder):
            # Links are followed where they lead to a file that may be loaded, and left out otherwise.
            if not files.is_regular(path) or not _is_within(folder, path):
                continue
            state = os.stat(path)
            if _is_stack(path, state.st_mtime_ns, state.st_size):
                names.append(os.path.relpath(path, folder).replace(os.sep, "/") + mark)
    return sorted(names)


def _below(folder: str) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        yield from (os.path.join(root, name) for name in names if name.endswith(SUFFIX) and not name.startswith("."))


def _is_within(folder: str, path: str) -> bool:
    """Whether a path leads to a place inside a folder, links followed."""
    try:
        folder = os.path.realpath(folder)
        return os.path.commonpath((folder, os.path.realpath(path))) == folder
    except ValueError:
        # A null byte, or another drive.
        return False


def _stack_path(name: str) -> str:
    """The file behind a name of the list; raises ValueError for one outside the two folders."""
    if not isinstance(name, str):
        raise ValueError(f"stack_file must be the name of a file, got {type(name).__name__}.")
    if name == NOTHING_SAVED:
        raise ValueError("stack_file: there is no stack to load yet. Save Zoom Stack makes one.")
    plain, folder = folder_paths.annotated_filepath(name)
    folder = folder or folder_paths.get_input_directory()
    path = os.path.abspath(os.path.join(folder, plain.strip()))
    if folder not in (allowed for allowed, _ in _folders()) or not _is_within(folder, path):
        raise ValueError(f"stack_file must lie in ComfyUI's input or output folder, got {name!r}.")
    if not path.endswith(SUFFIX):
        raise ValueError(f"stack_file must be a {SUFFIX} file, got {name!r}.")
    if not files.is_regular(path):
        raise ValueError(f"stack_file {name!r} does not exist.")
    return path


class ZoomStackLoad(io.ComfyNode):
    """Brings back a saved stack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomStackLoad",
            display_name="Load Zoom Stack",
            category=CATEGORY,
            description="Loads a zoom stack that Save Zoom Stack has written.",
            search_aliases=["open zoom stack", "import zoom"],
            inputs=[
                io.Combo.Input(
                    "stack_file",
                    options=_stack_files() or [NOTHING_SAVED],
                    tooltip="A stack in ComfyUI's input or output folder.",
                ),
            ],
            outputs=[ZoomStackType.Output("stack", tooltip="The stack as it was saved.")],
        )

    @classmethod
    def validate_inputs(cls, stack_file) -> bool | str:
        # In place of core's check against the list, which was made before the newest files.
        try:
            _stack_path(stack_file)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, stack_file) -> str:
        state = os.stat(_stack_path(stack_file))
        return f"{state.st_mtime_ns} {state.st_size}"

    @classmethod
    def execute(cls, stack_file) -> io.NodeOutput:
        path = _stack_path(stack_file)
        # float16 in the file, float32 in memory, and the pages of the file while it is read.
        needed, free = 3 * os.path.getsize(path), free_memory(torch.device("cpu"))
        if needed > free:
            raise ValueError(
                f"stack_file {stack_file!r} takes {needed / 2**30:.1f} GiB of memory while it is loaded, "
                f"{free / 2**30:.1f} GiB are free."
            )
        stack = ZoomStack.load(path)
        channels = stack.layers.shape[1]
        if channels != 3:
            # Pictures in ComfyUI have three channels: grey is repeated, alpha left out.
            stack.layers = stack.layers[:, [0, 0, 0] if channels == 1 else [0, 1, 2]]
        return io.NodeOutput(stack)


def _clear_up() -> None:
    """Removes what a killed server left half-written, beside everything else that starts."""
    folder = folder_paths.get_output_directory()
    threading.Thread(target=files.remove_stale_parts, args=(folder,), name="zoom-stack-clear", daemon=True).start()


_clear_up()

NODES = [ZoomStackSave, ZoomStackLoad]
