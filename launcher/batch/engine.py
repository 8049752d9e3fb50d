"""The jobs on Dask workers: a cluster of this machine's own or one that is there, and results as they come."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

# Before Dask is imported, here and in the workers: lost workers are told job by job, not in its log.
os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")

import dask.config
import distributed
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.diagnostics.plugin import SchedulerUploadFile, UploadFile
from distributed.security import Security

from ..client import ComfyClient
from ..console import Problem
from ..installation import PACK
from ..workflow import read_text
from .film import SHORTEST, FilmPlan, can_be_cut, parts_for, plan_film, submit_film
from .jobs import Job
from .worker import INSTALLATION, SERVER, Outcome, code, run_job

_RETRIES = 5  # of a job whose server is gone
_CONNECT = 20  # seconds
_FIRST_WORKER = 300  # seconds for a first worker to start
_ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?[^\s/:]+:\d{1,5}/?")


@dataclass(frozen=True)
class Place:
    """Where jobs run: exactly one of `scheduler`, `servers` and `workers` is given."""

    scheduler: str = ""  # a Dask scheduler that is running
    servers: tuple[str, ...] = ()  # ComfyUI servers that are running
    workers: tuple[dict[str, str], ...] = ()  # environments of workers that start servers of their own
    listen: str = "127.0.0.1"


def read_servers(path: Path) -> tuple[str, ...]:
    """The addresses in a file, one a line; Problem for a line that is none."""
    lines = [line.partition("#")[0].strip() for line in read_text(path, "--servers: ").splitlines()]
    servers = []
    for line in filter(None, lines):
        address = line if "://" in line else f"http://{line}"
        try:
            parts = urlsplit(address)
            if parts.scheme != "http" or not parts.hostname or not parts.port or parts.path not in ("", "/"):
                raise ValueError(address)
        except ValueError:
            expected = f"expected lines like http://127.0.0.1:8188 in {path.name}, got {line[:80]!r}."
            raise Problem(f"--servers: {expected}") from None
        servers.append(f"http://{parts.hostname}:{parts.port}")
    if not servers:
        raise Problem(f"--servers: there is no address in {path}.")
    if len(set(servers)) < len(servers):
        raise Problem(f"--servers: an address is in {path.name} twice; a server takes one job at a time.")
    return tuple(servers)


def answering(servers: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the servers that answer now; says which are left out. Problem where none answers."""

    with ThreadPoolExecutor(len(servers)) as pool:
        found = dict(zip(servers, pool.map(lambda server: ComfyClient(server).answers(timeout=10), servers)))
    for server in servers:
        if not found[server]:
            print(f"No ComfyUI answers at {server}; left out.")
    if not any(found.values()):
        raise Problem("--servers: no ComfyUI answers at any of the addresses.")
    return tuple(server for server in servers if found[server])


def worker_environments(comfyui: Path, folder: Path, cpu: bool, gpus: int, workers: int | None):
    """The environments of this machine's workers: one a GPU, or one; `workers` says otherwise."""
    text = json.dumps({"comfyui": str(comfyui), "folder": str(folder), "cpu": cpu})
    count = workers or max(1, gpus)
    # A server that is named in our own environment is none of theirs.
    return tuple(
        {INSTALLATION: text, SERVER: "", **({"CUDA_VISIBLE_DEVICES": str(i % gpus)} if gpus else {})}
        for i in range(count)
    )


@contextmanager
def connect(place: Place) -> Iterator[Client]:
    """A client of the place's scheduler; Problem when there is none, or one of another version."""
    dask.config.set({"distributed.scheduler.allowed-failures": _RETRIES, "distributed.comm.timeouts.connect": _CONNECT})
    if place.scheduler:
        if not _ADDRESS.fullmatch(place.scheduler):
            raise Problem(f"--scheduler: expected an address like tcp://127.0.0.1:8786, got {place.scheduler!r:.80}.")
        _check_certificates(place.scheduler)
        try:
            # Asked before a client is made: the one of this version may not even understand another's answers.
            check_versions({"scheduler": asyncio.run(_versions(place.scheduler)), "workers": {}})
            client = Client(place.scheduler, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise Problem(f"--scheduler: no Dask scheduler answers at {place.scheduler}: {error}") from error
        with client:
            check_versions(cast(Mapping[str, Any], client.get_versions()))
            send_code(client)
            yield client
        return
    environments = [{SERVER: server} for server in place.servers] or list(place.workers)
    specs = {}
    for number, environment in enumerate(environments):
        # The pictures are in the server's memory, not in the worker's: nothing for the nanny to watch.
        options = {"nthreads": 1, "memory_limit": 0, "name": number, "env": environment, "host": place.listen}
        specs[number] = {"cls": Nanny, "options": options}
    scheduler = {
        "cls": Scheduler,
        "options": {"host": place.listen, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
    }
    with SpecCluster(specs, scheduler) as cluster:
        with Client(cluster, set_as_default=False) as client:
            yield client


def wait_for_first(client: Client) -> None:
    """Wait until there is a worker; Problem where none starts."""
    try:
        client.wait_for_workers(1, timeout=_FIRST_WORKER)
    except distributed.TimeoutError as error:
        raise Problem(f"batch: no worker came up within {_FIRST_WORKER} s.") from error


def _check_certificates(address: str) -> None:
    """Problem for an encrypted address without certificates that can be read."""
    if not address.startswith(("tls://", "wss://")):
        return
    variables = [f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")]
    try:
        context = Security().get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:
        raise Problem(f"--scheduler: the certificates in {', '.join(variables)} cannot be used: {error}") from error
    if context is None:
        raise Problem(
            f"--scheduler: {address} needs certificates for TLS: set {', '.join(variables)} (docs/batch.md, Who may "
            "run code)."
        )


async def _versions(scheduler: str) -> Any:
    """What a scheduler runs, as in Client.get_versions()."""
    async with distributed.rpc(scheduler, connection_args=Security().get_connection_args("client")) as remote:
        return await remote.versions()


def check_versions(found: Mapping[str, Any]) -> None:
    """Problem when the scheduler or a worker runs other versions than we do; `found` is Client.get_versions()."""
    ours = version("distributed"), sys.version_info[:2]
    others = {"the scheduler": found["scheduler"], **found["workers"]}
    for name, other in others.items():
        python = tuple(int(part) for part in other["host"]["python"].split(".")[:2])
        theirs = (other["packages"]["distributed"], python)
        if theirs != ours:
            raise Problem(
                f"--scheduler: {name} runs distributed {theirs[0]} on Python {python[0]}.{python[1]}, this is "
                f"{ours[0]} on {ours[1][0]}.{ours[1][1]}: use the same versions everywhere."
            )


def send_code(client: Client) -> None:
    """Bring this launcher to a scheduler and its workers, those that join later too; Problem where it does not run.

    Dask unpickles tasks on its scheduler as well, so that one needs the code as much as the workers do.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in [PACK / "comfyui_support.py", *sorted((PACK / "launcher").rglob("*.py"))]:
            # Without the file's date: equal code has one name everywhere.
            archive.writestr(zipfile.ZipInfo(path.relative_to(PACK).as_posix()), path.read_bytes())
    name = f"zoom-stack-{hashlib.sha256(content.getvalue()).hexdigest()[:16]}.zip"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content.getvalue())
        for plugin in (SchedulerUploadFile(path), UploadFile(path)):
            plugin.idempotent = True
            client.register_plugin(plugin, name=name)
    try:
        places = {"the scheduler": client.run_on_scheduler(code), **cast(Mapping[str, str], client.run(code))}
    except Exception as error:  # whatever importing our code raises over there
        raise Problem(
            f"--scheduler: our code does not run on the scheduler and its workers ({type(error).__name__}: {error}). "
            "They need what ComfyUI's own environment has, aiohttp and av among it."
        ) from error
    for place, found in places.items():
        if name not in found:
            raise Problem(
                f"--scheduler: {place} has another version of this pack loaded, from {found}: restart the scheduler "
                "and its workers."
            )


def run_jobs(
    client: Client, jobs: list[Job], segments: int | None = 1, workers: int = 1, cores: int | None = None
) -> Iterator[tuple[Job, Outcome]]:
    """Every job with its outcome, in the order in which they end.

    segments: how many parts the film of each is rendered in; None: so many that all of the `workers` have
    something to do, where the workflow can be cut and parts are long enough to be no larger than the whole.
    cores: of the machine that all workers share, if they do.
    """
    idle_parts = parts_for(len(jobs), workers, cores)
    by_key = {}
    for job in jobs:
        options: dict[str, Any] = {"retries": _RETRIES, "priority": job.priority}
        plan, parts, shortest = _cut(job, segments, idle_parts)
        if plan:
            future = submit_film(client, job, plan, parts, shortest, **options)
        else:
            inputs = {path.name: path.read_bytes() for path in job.used_inputs()}
            future = client.submit(run_job, job.graph, inputs, job.digest, key=f"zoom-{job.digest}", **options)
        by_key[future.key] = job, future
    futures = [future for _, future in by_key.values()]
    for future in distributed.as_completed(futures, loop=client.loop):
        job, _ = by_key.pop(future.key)
        yield job, _outcome(future)
        future.release()


def _cut(job: Job, segments: int | None, idle_parts: int) -> tuple[FilmPlan | None, int, int]:
    """How to cut a job's film, in how many parts, and the fewest frames of one; no plan where it stays whole."""
    if segments is not None:
        return (plan_film(job.graph) if segments > 1 else None), segments, 1
    return (plan_film(job.graph) if idle_parts > 1 and can_be_cut(job) else None), idle_parts, SHORTEST


def _outcome(future: distributed.Future) -> Outcome:
    if future.status == "finished":
        return future.result()
    error = future.exception()
    name = type(error).__name__
    if name == "KilledWorker":
        return Outcome(error=f"every worker that ran it died ({_RETRIES + 1} of them)")
    return Outcome(error=f"{name}: {error}")
