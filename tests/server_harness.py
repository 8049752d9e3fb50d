"""A real ComfyUI for the tests. This is what the fixtures of conftest.py give you.

Fixtures
    comfy            one ComfyUI server for the whole test session (`ComfyHarness`, below), on the CPU, with
                     empty folders of its own and this pack as its only custom node.
    start_comfy      start_comfy(*arguments) -> ComfyHarness: another server, for a test that needs special
                     arguments ("--fp16-intermediates") or wants to kill it; it is stopped after the test.
    comfy_path       Path of the ComfyUI tree. Asking for it skips the test where there is no ComfyUI.
    zoom_stack_pack  this pack, imported as a package the way ComfyUI imports it.
    comfy_page       a Playwright page that shows `comfy` in Chromium (`window.app` is ready; `page.problems` lists
                     uncaught JavaScript errors); skips where there is no Chromium. `chromium` is the browser itself.

Running workflows (graphs are in ComfyUI's API format)
    result = comfy.run({"1": {"class_type": "EmptyImage", "inputs": {...}}, ...})
        result.outputs           node id -> what that node showed: {"images": [...]}, {"text": [...]}
        result.files("2")        the files that node 2 saved, as Paths (without an id: of all nodes)
        result.images("2")       the pictures that node 2 saved: float32 arrays [H, W, C] in 0..1
        result.events            every WebSocket message, as (type, data): ("progress", {"value": 3, "max": 8, ...})
        result.previews          the preview pictures sent on the way, as bytes
    error = comfy.validate_error(graph)
        The server must refuse the graph before running it. `error.messages`: list of texts; `error.node_errors`.
    error = comfy.execution_error(graph)
        A node must raise. `error.message`, `error.exception_type`, `error.node_id`, `error.traceback`.
    comfy.put_input("photo.png", data)   a file in the server's input folder (bytes, or an [H, W, C] array in 0..1)
    comfy.to_api(workflow)               a bundled workflow (as read from workflows/*.json) as an API graph
    comfy.object_info, comfy.client, comfy.url, comfy.output_dir, comfy.log()
A test with a failing call gets the end of the server's log in its error.

Calling ComfyUI and the pack in the test's own process
    `import comfy.samplers`, `import nodes` (ComfyUI's), `import folder_paths` work in any test module when
    COMFYUI_PATH is set, as `python run.py test` does; use `pytest.importorskip("comfy.samplers")` or ask for
    `comfy_path` where the module should also load without it. Its folders are temporary, its device is the CPU.
    `from zoom_stack_pack.nodes.prompts import ZoomPromptList` imports the pack's own; a bare `nodes` is ComfyUI's.
    `zoom_core` and `zoom_stack_pack.zoom_core` are one and the same module, so classes compare equal.
    Two test modules may have the same name in different folders; helpers are imported by their plain name
    when they lie in tests/ (`from server_harness import Outputs`), but must not be called like a module of ComfyUI.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from launcher import workflow as workflows
from launcher.client import ComfyClient, ExecutionFailed, Graph, PromptRefused, Result, ServerGone
from launcher.server import ComfyServer


@dataclass
class Outputs(Result):
    """A finished run, with its files."""

    folders: dict[str, Path] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)

    def files(self, node_id: str | None = None) -> list[Path]:
        """Paths of the files that one node saved, or all nodes."""
        return [self.folders[e["type"]] / e.get("subfolder", "") / e["filename"] for e in self.entries(node_id)]

    def images(self, node_id: str | None = None) -> list[np.ndarray]:
        """The saved pictures as float32 arrays [H, W, C] in 0..1."""
        return [np.asarray(Image.open(path), np.float32) / 255 for path in self.files(node_id)]


class ThreadedClient(ComfyClient):
    """A client for tests whose own thread runs Playwright's event loop."""

    def request(self, *arguments, **options):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().request, *arguments, **options).result()

    def run(self, *arguments, **options):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().run, *arguments, **options).result()


class ComfyHarness:
    """A running server with a client, as the tests use it."""

    def __init__(self, server: ComfyServer) -> None:
        self.server = server
        self.client: ComfyClient = server.client
        self.url = server.url
        self.output_dir = server.output
        self._folders = {"output": server.output, "temp": server.base / "temp", "input": server.base / "input"}

    @cached_property
    def object_info(self) -> dict[str, Any]:
        """The server's description of all its nodes."""
        return self.client.object_info()

    def log(self, lines: int = 60) -> str:
        """The end of the server's log."""
        return self.server.log_tail(lines)

    def run(self, graph: Graph, workflow: dict[str, Any] | None = None, timeout: float = 600.0) -> Outputs:
        """Run a graph that must succeed."""
        events: list[tuple[str, dict[str, Any]]] = []
        metadata = {"workflow": workflow} if workflow else {}
        try:
            result = self.client.run(graph, lambda kind, data: events.append((kind, data)), timeout, **metadata)
        except ExecutionFailed as error:
            raise AssertionError(f"{error}\n{error.traceback}\n--- server log ---\n{self.log()}") from error
        except (PromptRefused, ServerGone) as error:
            raise AssertionError(f"{error}\n--- server log ---\n{self.log()}") from error
        previews = [data["bytes"] for kind, data in events if kind == "preview"]
        return Outputs(result.prompt_id, result.outputs, self._folders, events, previews)

    def validate_error(self, graph: Graph) -> PromptRefused:
        """The refusal of a graph that must not pass the server's validation."""
        try:
            self.client.run(graph)
        except PromptRefused as refused:
            return refused
        except ExecutionFailed as error:
            raise AssertionError(f"validation let the graph pass, then a {error}") from error
        raise AssertionError("validation let the graph pass, and it ran")

    def execution_error(self, graph: Graph) -> ExecutionFailed:
        """The error of a graph that passes validation and in which a node must raise."""
        try:
            self.client.run(graph)
        except ExecutionFailed as error:
            return error
        except PromptRefused as refused:
            raise AssertionError(f"the graph did not even pass validation: {refused}") from refused
        raise AssertionError("the graph ran without an error")

    def put_input(self, name: str, content: bytes | np.ndarray) -> str:
        """Put a file into the server's input folder; gives its name, for LoadImage."""
        path = self._folders["input"] / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray((np.clip(content, 0, 1) * 255).round().astype(np.uint8)).save(path)
        return name

    def to_api(self, workflow: dict[str, Any]) -> Graph:
        """The API graph of a bundled workflow, as `python run.py demo` queues it."""
        graph = workflows.twin(workflow)
        assert graph is not None, workflows.STALE
        return graph
