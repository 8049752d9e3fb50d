"""What runs beside a ComfyUI server, in a Dask worker's process: one job after another on that server."""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from ..client import ComfyClient, ExecutionFailed, Graph, PromptRefused, ServerGone
from ..server import ComfyServer

SERVER = "ZOOM_STACK_SERVER"  # a server that is running: http://host:port
INSTALLATION = "ZOOM_STACK_WORKER"  # or what it takes to start one: JSON
# Seconds for a server of someone else's: to come back, and to come up where it has not answered yet.
_PATIENCE, _FIRST_PATIENCE = 60.0, 600.0
LONG = 24 * 3600.0  # seconds for a job


class TooLarge(ValueError):
    """A server does not take a file of this size."""


# A job's own mistakes: it would fail anywhere.
JOB_ERRORS = (PromptRefused, ExecutionFailed, TimeoutError, TooLarge)


@dataclass
class Outcome:
    """What became of a job. `error` is empty where it succeeded, and the person's to mend where it is not."""

    files: dict[str, bytes] = field(default_factory=dict)
    by_node: dict[str, list[str]] = field(default_factory=dict)  # node id -> names of the files that it saved
    error: str = ""
    seconds: float = 0.0
    server: str = ""


def code() -> str:
    """Where the process that runs this has the launcher's code from."""
    return __file__


def run_job(graph: Graph, inputs: dict[str, bytes], digest: str) -> Outcome:
    """Run an API graph on this worker's server; `inputs` are put into the server's input folder before.

    A mistake in the job is an Outcome with an error. A server that is gone raises, so that Dask tries elsewhere.
    """
    started = time.monotonic()
    with this_server() as client:
        try:
            outcome = _run(client, graph, inputs, digest)
        except JOB_ERRORS as error:
            outcome = failed(error)
    outcome.seconds, outcome.server = time.monotonic() - started, urlsplit(client.url).netloc
    return outcome


def _run(client: ComfyClient, graph: Graph, inputs: dict[str, bytes], digest: str) -> Outcome:
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
    return outcome


def failed(error: Exception) -> Outcome:
    """The outcome of a job that raised one of JOB_ERRORS; ServerGone where the job itself is not to blame."""
    if isinstance(error, ExecutionFailed) and error.interrupted:
        raise ServerGone("someone interrupted the job on its server") from error
    return Outcome(error=str(error))


def _plain_name(entry: dict[str, str]) -> str:
    folder = entry.get("subfolder", "").replace("\\", "/").strip("/")
    return "-".join([*filter(None, folder.split("/")), entry["filename"]])


def put_input(client: ComfyClient, name: str, content: bytes) -> None:
    """Put a file into the server's input folder, unless this process has done so already.

    Raises TooLarge where the server does not take so much.
    """
    digest = hashlib.sha256(content).hexdigest()
    if _sent(client.url).get(name) == digest:
        return
    if not os.environ.get(SERVER):
        # Our own server's folder is at hand: a stack of gigabytes need not go through HTTP.
        part = _server().base / "input" / f".part-{name}"
        part.write_bytes(content)
        part.replace(part.with_name(name))
    else:
        _upload(client, name, content)
    _sent(client.url)[name] = digest


def _upload(client: ComfyClient, name: str, content: bytes) -> None:
    form = aiohttp.FormData({"overwrite": "true"})
    form.add_field("image", content, filename=name)
    status, answer = client.request("POST", "/upload/image", timeout=600, data=form)
    if status == 413:
        raise TooLarge(
            f"the server takes no file as large as {name}, {len(content) / 2**20:.0f} MiB: start it with "
            f"--max-upload-size {math.ceil(len(content) / 2**20) + 1} or more"
        )
    if status != 200:
        raise ServerGone(f"the server does not take the file {name} ({status}): {answer[:200]!r}")


@cache
def _sent(url: str) -> dict[str, str]:
    """What is in the input folder of a server of ours: name -> content's hash."""
    return {}


@contextmanager
def this_server() -> Iterator[ComfyClient]:
    """A client of this worker's server, which is running then; one that is lost on the way is not used again."""
    if os.environ.get(SERVER):
        client = ComfyClient(os.environ[SERVER].rstrip("/"))
        _wait_for(client)
    else:
        client = _server().client
    try:
        yield client
    except ServerGone:
        _server.cache_clear()
        _sent(client.url).clear()
        _answered(client.url)[:] = [False]
        raise


def _wait_for(client: ComfyClient) -> None:
    """Wait for a server of someone else's that is starting, or was lost; one that answered last is not asked."""
    if _answered(client.url) == [True]:
        return
    deadline = time.monotonic() + (_PATIENCE if _answered(client.url) else _FIRST_PATIENCE)
    while True:
        try:
            client.get("/system_stats", timeout=10)
            _answered(client.url)[:] = [True]
            return
        except (ServerGone, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


@cache
def _answered(url: str) -> list[bool]:
    """Whether a server of someone else's answered when it was last spoken to; empty where it never has."""
    return []


@cache
def _server() -> ComfyServer:
    """This worker's own server: started for its first job; it ends with the worker, however that ends."""
    if INSTALLATION not in os.environ:
        raise ValueError(
            f"this worker has no server: start it with {SERVER}=http://127.0.0.1:8188, the server beside it"
        )
    settings = json.loads(os.environ[INSTALLATION])
    comfyui, base = Path(settings["comfyui"]), Path(tempfile.mkdtemp(prefix="server-", dir=settings["folder"]))
    server = ComfyServer(comfyui, base, arguments=["--cpu"] if settings["cpu"] else [])
    # The kernel ends it with this process where it can; elsewhere this does, unless we are killed.
    atexit.register(server.stop)
    server.start()
    return server
