"""The jobs on Dask workers: a cluster of this machine's own or one that is there, and results as they come."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# Before Dask is imported, here and in the workers: lost workers are told job by job, not in its log.
os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")

import dask
import distributed
from distributed import Client, Nanny, Scheduler, SpecCluster

from ..console import Problem
from ..jobs import Job
from .film import plan_film, submit_film
from .worker import INSTALLATION, SERVER, Outcome, run_job

_RETRIES = 5  # of a job whose server is gone
_CONNECT = 20  # seconds
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
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"--servers: cannot read {path} as UTF-8 text: {error}.") from error
    servers = []
    for line in filter(None, lines):
        address = line if "://" in line else f"http://{line}"
        try:
            parts = urlsplit(address)
            good = parts.scheme == "http" and parts.hostname and parts.port and parts.path in ("", "/")
        except ValueError:
            good = False
        if not good:
            raise Problem(f"--servers: expected lines like http://127.0.0.1:8188 in {path.name}, got {line[:80]!r}.")
        servers.append(f"http://{parts.hostname}:{parts.port}")
    if not servers:
        raise Problem(f"--servers: there is no address in {path}.")
    if len(set(servers)) < len(servers):
        raise Problem(f"--servers: an address is in {path.name} twice; a server takes one job at a time.")
    return tuple(servers)


def worker_environments(installation: dict[str, str], folder: Path, cpu: bool, gpus: int, workers: int | None):
    """The environments of this machine's workers: one a GPU, or one; `workers` says otherwise."""
    text = json.dumps({"installation": installation, "folder": str(folder), "cpu": cpu})
    count = workers or max(1, gpus)
    return tuple(
        {INSTALLATION: text, **({"CUDA_VISIBLE_DEVICES": str(i % gpus)} if gpus else {})} for i in range(count)
    )


@contextmanager
def connect(place: Place) -> Iterator[Client]:
    """A client of the place's scheduler; Problem when there is none, or one of another version."""
    dask.config.set({"distributed.scheduler.allowed-failures": _RETRIES, "distributed.comm.timeouts.connect": _CONNECT})
    if place.scheduler:
        if not _ADDRESS.fullmatch(place.scheduler):
            raise Problem(f"--scheduler: expected an address like tcp://127.0.0.1:8786, got {place.scheduler!r:.80}.")
        try:
            client = Client(place.scheduler, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise Problem(f"--scheduler: no Dask scheduler answers at {place.scheduler}: {error}") from error
        with client:
            check_versions(client.get_versions())
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
    with SpecCluster(specs, scheduler, silence_logs=logging.CRITICAL) as cluster:
        with Client(cluster, set_as_default=False) as client:
            yield client


def check_versions(found: dict) -> None:
    """Problem when the scheduler or a worker runs other versions than we do; `found` is Client.get_versions()."""
    ours = (distributed.__version__, sys.version_info[:2])
    others = {"the scheduler": found["scheduler"], **found["workers"]}
    for name, other in others.items():
        python = tuple(int(part) for part in other["host"]["python"].split(".")[:2])
        theirs = (other["packages"]["distributed"], python)
        if theirs != ours:
            raise Problem(
                f"--scheduler: {name} runs distributed {theirs[0]} on Python {python[0]}.{python[1]}, this is "
                f"{ours[0]} on {ours[1][0]}.{ours[1][1]}: use the same versions everywhere."
            )


def run_jobs(client: Client, jobs: list[Job], segments: int = 1) -> Iterator[tuple[Job, Outcome]]:
    """Every job with its outcome, in the order in which they end; films are rendered in so many segments."""
    by_key = {}
    for job in jobs:
        options = {"retries": _RETRIES, "priority": job.priority}
        if segments > 1:
            future = submit_film(client, job, plan_film(job.graph), segments, **options)
        else:
            inputs = {path.name: path.read_bytes() for path in job.used_inputs()}
            future = client.submit(run_job, job.graph, inputs, job.digest, key=f"zoom-{job.digest}", **options)
        by_key[future.key] = job, future
    futures = [future for _, future in by_key.values()]
    for future in distributed.as_completed(futures, loop=client.loop):
        job, _ = by_key.pop(future.key)
        yield job, _outcome(future)
        future.release()


def _outcome(future: distributed.Future) -> Outcome:
    if future.status == "finished":
        return future.result()
    error = future.exception()
    name = type(error).__name__
    if name == "KilledWorker":
        return Outcome(error=f"every worker that ran it died ({_RETRIES + 1} of them)")
    return Outcome(error=f"{name}: {error}")
