"""`run.py demo`: a real ComfyUI, a workflow queued through its API, and the files that it made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import workflow as workflows
from .cache import Lock
from .client import ExecutionFailed, PromptRefused, Result, ServerGone
from .console import Problem, Status, say
from .installation import PACK, Installation, prepare
from .progress import RunProgress
from .server import ComfyServer, ServerFailed

DEFAULT_WORKFLOW = "text-to-zoom"
_TEMPLATE_PACK = "zoom-stack-demo"  # a custom node folder without nodes, which only serves the workflow to the browser
_MANY = 4
_VIDEO_ENDINGS = {".mp4", ".webm", ".mkv", ".mov", ".gif"}


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asks for."""

    workflow: str = DEFAULT_WORKFLOW
    seed: int | None = None
    prompts: Path | None = None
    serve: bool = False
    comfyui: str | None = None
    output: Path = PACK / "output"
    device: str = "auto"
    port: int = 0


def run_demo(options: DemoOptions) -> None:
    """Run the demo, or serve it."""
    # Mistakes in what was asked for should show before the set-up, which may take minutes.
    path = find_workflow(options.workflow)
    workflow = workflows.read(path)
    prompts = _read_prompts(options.prompts) if options.prompts else None
    if options.serve and workflows.is_api(workflow):
        raise Problem(f"{path.name} is in API format; --serve needs a workflow as the browser saves it, with a layout.")
    installation = prepare(options.comfyui)
    with _base_folder(installation.cache) as base:
        _lend_inputs(path.parent / "input", base / "input")
        _prepare_browser(base)
        server = ComfyServer(
            installation.comfyui,
            installation.python,
            base,
            PACK,
            cpu=_use_cpu(installation, options.device),
            output=options.output,
            models=installation.models,
            port=options.port,
        )
        try:
            with Status("Starting ComfyUI") as status:
                server.start(on_wait=lambda seconds: status.show(""))
                status.finish()
            object_info = server.client.object_info()
            if options.seed is not None:
                workflow = workflows.with_seed(workflow, object_info, options.seed)
            if prompts is not None:
                workflow = workflows.with_prompts(workflow, object_info, prompts)
            if options.serve:
                _serve(server, path.stem, workflow)
            else:
                _run(server, path.stem, workflow, object_info)
        finally:
            server.stop()


def find_workflow(name: str) -> Path:
    """The file of a workflow given as a path or as the name of a bundled one."""
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    bundled = PACK / "workflows" / f"{name.removesuffix('.json')}.json"
    if bundled.is_file():
        return bundled
    names = ", ".join(sorted(file.stem for file in (PACK / "workflows").glob("*.json"))) or "none"
    raise Problem(f"--workflow: there is no file {name} and no bundled workflow of that name. Bundled: {names}.")


def _read_prompts(path: Path) -> str:
    try:
        text = path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"--prompts: cannot read {path} as UTF-8 text: {error}") from error
    if not text:
        raise Problem(f"--prompts: {path} is empty; expected one prompt a line, from the widest view to the closest.")
    return text


@contextmanager
def _base_folder(cache: Path) -> Iterator[Path]:
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
    """Let the browser open on the workflow instead of on ComfyUI's tour for newcomers."""
    settings = base / "user" / "default" / "comfy.settings.json"
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps({"Comfy.TutorialCompleted": True}), "utf-8")
    pack = base / "custom_nodes" / _TEMPLATE_PACK
    (pack / "workflows").mkdir(parents=True, exist_ok=True)
    (pack / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n", "utf-8")


def _use_cpu(installation: Installation, device: str) -> bool:
    """Whether ComfyUI has to be told that there is no GPU."""
    if device != "auto":
        return device == "cpu"
    if sys.platform == "darwin" or (os.name == "posix" and not _nvidia_driver()):
        return True
    code = "import torch; print(torch.cuda.is_available())"
    done = subprocess.run([installation.python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() != "True"


def _nvidia_driver() -> bool:
    # Looked up before asking torch, which takes seconds to import. /dev/dxg is the GPU under WSL, /dev/kfd an AMD one.
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))


def _run(server: ComfyServer, name: str, workflow: workflows.Workflow, object_info: dict[str, Any]) -> None:
    graph = workflows.to_api(workflow, object_info)
    metadata = None if workflows.is_api(workflow) else workflow
    with Status(f"Running {name}") as status:
        try:
            result = server.client.run(graph, metadata, RunProgress(graph, object_info, status), timeout=24 * 3600)
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


def _serve(server: ComfyServer, name: str, workflow: workflows.Workflow) -> None:
    # The address may only name a template with plain characters.
    template = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    folder = server.base / "custom_nodes" / _TEMPLATE_PACK / "workflows"
    for old in folder.glob("*.json"):
        old.unlink()
    (folder / f"{template}.json").write_text(json.dumps(workflow), "utf-8")
    say("ComfyUI is running. Open this address, and press Run there:")
    say(f"    {server.url}/?template={template}&source={_TEMPLATE_PACK}")
    say(f"What it saves goes to {server.output}. Ctrl-C stops it.")
    while server.pid is not None:
        time.sleep(0.5)
    raise ServerFailed(f"ComfyUI stopped by itself. The end of its log:\n{server.log_tail()}")
