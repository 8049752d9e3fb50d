"""`run.py demo`: a real ComfyUI, a workflow queued through its API, and the files that it made."""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import browser
from . import workflow as workflows
from .cache import Lock, read_json, write_whole
from .client import ExecutionFailed, PromptRefused, Result, ServerGone
from .command import read_prompts
from .console import Problem, Status, say
from .installation import PACK, Installation
from .progress import RunProgress
from .server import PACK_NAME, ComfyServer, ServerFailed

# Custom node folders without nodes, which only serve a workflow to the browser. ComfyUI's Templates list no hidden one.
_TEMPLATE_PACK, _LISTED_PACK = ".zoom-stack-demo", "zoom-stack-demo"
_SETTINGS = {
    "Comfy.TutorialCompleted": True,  # instead of ComfyUI's tour for newcomers
    "Comfy.Execution.PreviewMethod": "auto",
}
_MANY = 4
_VIDEO_ENDINGS = {".mp4", ".webm", ".mkv", ".mov", ".gif"}


def run_demo(options: argparse.Namespace, installation: Installation) -> None:
    """Run the demo, or serve it."""
    path = workflows.find(options.workflow)
    content = workflows.read(path)
    # The seed and the prompts go into both formats: what runs, and what is shown or saved with the results.
    layout = None if workflows.is_api(content) else copy.deepcopy(content)
    graph = content if layout is None else workflows.twin(content)
    with base_folder(installation.cache) as base:
        _lend_inputs(path.parent / "input", base / "input")
        _prepare_browser(base)
        cpu = use_cpu(installation, options.device)
        with started(installation, base, cpu=cpu, output=options.output, port=options.port) as server:
            changed = options.seed is not None or options.prompts
            if graph is None and (changed or not options.serve):
                graph = _convert(server, path.name, content)
            if graph is not None and options.seed is not None:
                workflows.set_seed(graph, layout, server.client.object_info(), options.seed)
            if graph is not None and options.prompts:
                workflows.set_prompts(graph, layout, read_prompts(options.prompts))
            # What is served has a layout (see `command._check`), and what runs a graph.
            if options.serve and layout is not None:
                _serve(server, path.stem, layout, ours=path.parent == workflows.FOLDER and not changed)
            elif graph is not None:
                _run(server, path.stem, graph, layout)


def write_twins(installation: Installation) -> None:
    """Write workflows/api/ again, as the frontend of this ComfyUI queues the bundled workflows."""
    with base_folder(installation.cache) as base:
        _lend_inputs(workflows.FOLDER / "input", base / "input")
        with started(installation, base, cpu=True) as server, browser.frontend(server.url) as page:
            names = {path.name for path in workflows.bundled()}
            for path in workflows.bundled():
                content = workflows.read(path)
                workflows.write_twin(path, content, browser.convert(page, content))
                say(f"Written: {workflows.TWINS / path.name}")
            for path in workflows.TWINS.glob("*.json"):
                if path.name not in names:
                    path.unlink()


@contextmanager
def started(installation: Installation, base: Path, **options: Any) -> Iterator[ComfyServer]:
    """A server in the folder `base`, with this pack, for as long as the block lasts."""
    python, models = str(installation.python), installation.models
    server = ComfyServer(installation.comfyui, python, base, PACK, models=models, **options)
    try:
        with Status("Starting ComfyUI") as status:
            server.start(on_wait=lambda seconds: status.show(""))
            status.finish()
        yield server
    finally:
        server.stop()


def _convert(server: ComfyServer, name: str, content: workflows.Workflow) -> workflows.Graph:
    with Status(f"Reading {name} with ComfyUI's frontend") as status:
        try:
            with browser.frontend(server.url) as page:
                graph = browser.convert(page, content)
        except workflows.WorkflowError as error:
            raise Problem(f"The workflow {name} cannot be queued from here. {error}") from error
        status.finish()
    return graph


@contextmanager
def base_folder(cache: Path) -> Iterator[Path]:
    """The server's own folder for settings, inputs and temporary files, which no other run is using."""
    number = 1
    while True:
        base = cache / f"server-{number}"
        base.mkdir(parents=True, exist_ok=True)
        lock = Lock(base / "in-use.lock")
        if lock.try_acquire():
            break
        number += 1
    try:
        yield base
    finally:
        lock.release()


def _lend_inputs(source: Path, target: Path) -> None:
    """Copy the pictures that a workflow brings along to where the server looks for inputs."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*") if source.is_dir() else []:
        if file.is_file():
            shutil.copy2(file, target / file.name)


def _prepare_browser(base: Path) -> None:
    """Let the browser open on the workflow and show previews, unless a person has set it otherwise there."""
    path = base / "user" / "default" / "comfy.settings.json"
    kept = read_json(path)
    if not _SETTINGS.keys() <= kept.keys():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _SETTINGS | kept)
    shutil.rmtree(base / "custom_nodes" / _LISTED_PACK, ignore_errors=True)
    pack = base / "custom_nodes" / _TEMPLATE_PACK
    (pack / "workflows").mkdir(parents=True, exist_ok=True)
    (pack / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n", "utf-8")


def use_cpu(installation: Installation, device: str) -> bool:
    """Whether ComfyUI has to be told that there is no GPU."""
    if device != "auto":
        return device == "cpu"
    # Looked up before asking torch, which takes seconds to import. /dev/dxg is the GPU under WSL, /dev/kfd an AMD one.
    driver = any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))
    if sys.platform == "darwin" or (os.name == "posix" and not driver):
        return True
    code = "import torch; print(torch.cuda.is_available())"
    done = subprocess.run([installation.python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() != "True"


def _run(server: ComfyServer, name: str, graph: workflows.Graph, layout: workflows.Workflow | None) -> None:
    object_info = server.client.object_info()
    with Status(f"Running {name}") as status:
        try:
            result = server.client.run(graph, layout, RunProgress(graph, object_info, status), timeout=24 * 3600)
        except PromptRefused as refused:
            raise Problem(f"ComfyUI does not accept the workflow {name}:\n{refused}") from refused
        except ExecutionFailed as error:
            title = graph.get(error.node_id, {}).get("_meta", {}).get("title", error.node_type)
            raise Problem(f'The node "{title}" ({error.node_type}) failed:\n{error.message or error}') from error
        except ServerGone as error:
            raise Problem(f"{error}\nThe end of ComfyUI's log:\n{server.log_tail()}") from error
        status.finish()
    _report(server, result)


def _report(server: ComfyServer, result: Result) -> None:
    entries = [entry for entry in result.entries() if entry.get("type") == "output"]
    files = [server.output / entry.get("subfolder", "") / entry["filename"] for entry in entries]
    if not files:
        say("The workflow ran, but saved nothing.")
    videos = [file for file in files if file.suffix.lower() in _VIDEO_ENDINGS]
    others = [file for file in files if file not in videos]
    for file in videos:
        say(f"Video: {file}")
    for file in others[:_MANY]:
        say(f"Saved: {file}")
    if len(others) > _MANY:
        say(f"       and {len(others) - _MANY} more, up to {others[-1].name}")


def _serve(server: ComfyServer, name: str, layout: workflows.Workflow, ours: bool) -> None:
    """Print an address that opens the workflow, and wait; `ours`: it is among this pack's own templates as it is."""
    pack = PACK_NAME if ours else _TEMPLATE_PACK
    # The address may only name a template with plain characters.
    template = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    if not ours:
        folder = server.base / "custom_nodes" / pack / "workflows"
        for old in folder.glob("*.json"):
            old.unlink()
        (folder / f"{template}.json").write_text(json.dumps(layout), "utf-8")
    say("ComfyUI is running. Open this address, and press Run there:")
    say(f"    {server.url}/?template={template}&source={pack}")
    say(f"What it saves goes to {server.output}. Ctrl-C stops it.")
    while server.pid is not None:
        time.sleep(0.5)
    raise ServerFailed(f"ComfyUI stopped by itself. The end of its log:\n{server.log_tail()}")
