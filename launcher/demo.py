"""`run.py demo`: a real ComfyUI, a workflow queued through its API, and the files that it made."""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import browser
from . import workflow as workflows
from .cache import cache_folder, read_json, try_lock, write_whole
from .client import ServerGone
from .progress import RunProgress, Status
from .server import ComfyServer, use_cpu

# A custom node folder without nodes, which only serves a workflow to the browser; the Templates list no hidden one.
_TEMPLATE_PACK = ".zoom-stack-demo"
# No tour for newcomers, and previews.
_SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Execution.PreviewMethod": "auto"}
_MANY = 4
_VIDEO_ENDINGS = {".mp4", ".webm", ".mkv", ".mov", ".gif"}


def run_demo(options: argparse.Namespace, comfyui: Path) -> None:
    """Run the demo, or serve it."""
    path = workflows.find(options.workflow)
    content = workflows.read(path)
    # The seed and the prompts go into both formats: what runs, and what is shown or saved with the results.
    layout = {} if workflows.is_api(content) else content
    graph = workflows.twin(content) or {} if layout else content
    settings = {"output": options.output, "port": options.port}
    settings["arguments"] = ["--cpu"] if use_cpu(options.device) else []
    with _started(comfyui, path.parent / "input", **settings) as server:
        if not graph and (not options.serve or options.seed is not None or options.prompts):
            with Status(f"Reading {path.name} with ComfyUI's frontend"), browser.frontend(server.url) as page:
                graph = browser.convert(page, content)
        if options.seed is not None:
            workflows.set_seed(graph, layout, options.seed)
        if options.prompts:
            workflows.set_prompts(graph, layout, options.prompts)
        if options.serve:
            _serve(server, path.stem, layout)
        else:
            _run(server, path.stem, graph, layout)


def write_twins(comfyui: Path) -> None:
    """Write workflows/api/ again, as the frontend of this ComfyUI queues the bundled workflows."""
    inputs = workflows.FOLDER / "input"
    with _started(comfyui, inputs, arguments=["--cpu"]) as server, browser.frontend(server.url) as page:
        graphs = {path: browser.convert(page, workflows.read(path)) for path in workflows.bundled()}
        # All of them could be converted: only now do the earlier ones go.
        shutil.rmtree(workflows.TWINS, ignore_errors=True)
        for path, graph in graphs.items():
            workflows.write_twin(path, graph)
            print(f"Written: {workflows.TWINS / path.name}")


@contextmanager
def _started(comfyui: Path, inputs: Path, **options: Any) -> Iterator[ComfyServer]:
    """A server with this pack for as long as the block lasts, in a folder that no other run is using.

    inputs: the folder of what a workflow brings along for the server's input folder, if it does.
    """
    bases = (cache_folder() / f"server-{number}" for number in itertools.count(1))
    base, lock = next((base, lock) for base in bases if (lock := try_lock(base / "in-use.lock")))
    with lock:
        if inputs.is_dir():
            shutil.copytree(inputs, base / "input", dirs_exist_ok=True)
        settings = base / "user" / "default" / "comfy.settings.json"
        settings.parent.mkdir(parents=True, exist_ok=True)
        # A person may have set it otherwise there.
        write_whole(settings, _SETTINGS | read_json(settings))
        pack = base / "custom_nodes" / _TEMPLATE_PACK
        shutil.rmtree(pack, ignore_errors=True)
        (pack / "workflows").mkdir(parents=True)
        (pack / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n", "utf-8")
        server = ComfyServer(comfyui, base, **options)
        with Status("Starting ComfyUI") as status:
            server.start(on_wait=status.show)
        try:
            yield server
        finally:
            server.stop()


def _run(server: ComfyServer, name: str, graph: workflows.Graph, layout: workflows.Workflow) -> None:
    object_info = server.client.object_info()
    with Status(f"Running {name}") as status:
        try:
            progress = RunProgress(graph, object_info, status)
            metadata = {"workflow": layout} if layout else {}
            result = server.client.run(graph, progress, timeout=24 * 3600, **metadata)
        except ServerGone as error:
            raise server.problem(f"{error}.") from error
    entries = [entry for entry in result.entries() if entry.get("type") == "output"]
    files = [server.output / entry.get("subfolder", "") / entry["filename"] for entry in entries]
    if not files:
        print("The workflow ran, but saved nothing.")
    # Films first: of pictures there may be many.
    files.sort(key=lambda file: file.suffix.lower() not in _VIDEO_ENDINGS)
    for file in files[:_MANY]:
        print(f"Saved: {file}")
    if len(files) > _MANY:
        print(f"       and {len(files) - _MANY} more, up to {files[-1].name}")


def _serve(server: ComfyServer, name: str, layout: workflows.Workflow) -> None:
    """Print an address that opens the workflow, and wait."""
    # The address may only name a template with plain characters.
    template = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    file = server.base / "custom_nodes" / _TEMPLATE_PACK / "workflows" / f"{template}.json"
    file.write_text(json.dumps(layout), "utf-8")
    print("ComfyUI is running. Open this address, and press Run there:")
    print(f"    {server.url}/?template={template}&source={_TEMPLATE_PACK}")
    print(f"What it saves goes to {server.output}. Ctrl-C stops it.")
    while server.pid is not None:
        time.sleep(0.5)
    raise server.problem("ComfyUI stopped by itself.")
