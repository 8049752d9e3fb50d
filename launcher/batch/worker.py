"""What runs beside a ComfyUI server, in a Dask worker's process: one job after another on that server."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from ..client import ComfyClient, ExecutionFailed, Graph, PromptRefused, ServerGone
from ..installation import PACK, Installation
from ..server import ComfyServer

SERVER = "ZOOM_STACK_SERVER"  # a server that is running: http://host:port
INSTALLATION = "ZOOM_STACK_WORKER"  # or what it takes to start one: JSON
_PATIENCE = 60.0  # seconds for a server of someone else's to come back
LONG = 24 * 3600.0  # seconds for a job


@dataclass
class Outcome:
    """What became of a job. `error` is empty where it succeeded, and the person's to mend where it is not."""

    files: dict[str, bytes] = field(default_factory=dict)
    by_node: dict[str, list[str]] = field(default_factory=dict)  # node id -> names of the files that it saved
    error: str = ""
    seconds: float = 0.0
    server: str = ""


def run_job(graph: Graph, inputs: dict[str, bytes], digest: str) -> Outcome:
    """Run an API graph on this worker's server; `inputs` are put into the server's input folder before.

    A mistake in the job is an Outcome with an error. A server that is gone raises, so that Dask tries elsewhere.
    """
    client = this_client()
    started = time.monotonic()
    try:
        for name, content in inputs.items():
            put_input(client, name, content)
        # What it saves names the job, like the folder that it will be in.
        result = client.run(graph, timeout=LONG, zoom_job=digest)
        outcome = Outcome()
        for node in result.outputs:
            saved = [entry for entry in result.entries(node) if entry.get("type") == "output"]
            files = {_plain_name(entry): client.view(entry) for entry in saved}
            outcome.files |= files
            outcome.by_node[node] = list(files)
    except (PromptRefused, ExecutionFailed, TimeoutError) as error:
        if isinstance(error, ExecutionFailed) and error.interrupted:
            raise ServerGone("someone interrupted the job on its server") from error
        outcome = Outcome(error=str(error))
    except ServerGone:
        _server.cache_clear()
        raise
    outcome.seconds, outcome.server = time.monotonic() - started, f"{client.host}:{client.port}"
    return outcome


def _plain_name(entry: dict[str, str]) -> str:
    folder = entry.get("subfolder", "").replace("\\", "/").strip("/")
    return "-".join([*filter(None, folder.split("/")), entry["filename"]])


def put_input(client: ComfyClient, name: str, content: bytes) -> None:
    """Put a file into the server's input folder, unless this process has done so already."""
    digest = hashlib.sha256(content).hexdigest()
    if _sent(client.port).get(name) == digest:
        return
    form = aiohttp.FormData({"overwrite": "true"})
    form.add_field("image", content, filename=name)
    status, answer = client.request("POST", "/upload/image", form, timeout=600)
    if status != 200:
        raise ServerGone(f"the server does not take the file {name} ({status}): {answer[:200]!r}")
    _sent(client.port)[name] = digest


@cache
def _sent(port: int) -> dict[str, str]:
    """What is in the input folder of a server of ours: name -> content's hash."""
    return {}


def this_client() -> ComfyClient:
    """A client of this worker's server, which is running then."""
    if os.environ.get(SERVER):
        address = urlsplit(os.environ[SERVER])
        client = ComfyClient(address.hostname or "127.0.0.1", address.port or 8188)
        _wait_for(client)
        return client
    return _server().client


def _wait_for(client: ComfyClient) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            client.get("/system_stats", timeout=10)
            return
        except (ServerGone, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


@cache
def _server() -> ComfyServer:
    """This worker's own server: started for its first job; it ends with the worker, however that ends."""
    if INSTALLATION not in os.environ:
        raise ValueError(
            f"this worker has no server: start it with {SERVER}=http://127.0.0.1:8188, the server beside it"
        )
    settings = json.loads(os.environ[INSTALLATION])
    installation = Installation.from_text(settings["installation"])
    base = Path(tempfile.mkdtemp(prefix="server-", dir=settings["folder"]))
    server = ComfyServer(
        installation.comfyui,
        str(installation.python),
        base,
        PACK,
        cpu=settings["cpu"],
        models=installation.models,
    )
    # The kernel ends it with this process where it can; elsewhere this does, unless we are killed.
    atexit.register(server.stop)
    server.start()
    return server
