"""`run.py batch`: read the jobs, leave out what is finished, run the rest, report."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..cache import cache_folder
from ..progress import Status, bar
from ..server import use_cpu
from .engine import Place, answering, connect, read_servers, run_jobs, wait_for_first, worker_environments
from .film import can_be_cut, parts_for
from .jobs import Job, read_jobs
from .results import clear_up, finished, folders, publish, write_report


def run_batch(options: argparse.Namespace, comfyui: Path) -> int:
    """Run all jobs that are not finished yet; 1 when any failed."""
    jobs = read_jobs(options.jobs, options.workflow, options.seed)
    clear_up(options.output)
    with tempfile.TemporaryDirectory(prefix="batch-", dir=cache_folder(), ignore_cleanup_errors=True) as folder:
        known = folders(options.output)
        rows = {
            job.id: {**finished(options.output, job, known), "id": job.id, "status": "finished before"} for job in jobs
        }
        todo = {job.digest: job for job in jobs if "digest" not in rows[job.id]}
        if len(todo) < len(jobs):
            print(f"{len(jobs) - len(todo)} of {len(jobs)} jobs are finished or asked for twice; left alone.")
        try:
            if todo:
                place = _place(options, comfyui, Path(folder), list(todo.values()))
                _run(place, list(todo.values()), options, rows)
        finally:
            _complete(rows, jobs)
            write_report(options.output, [rows[job.id] for job in jobs])
            print(f"Report: {options.output / 'report.html'}")
    failed = sum(row["status"] == "failed" for row in rows.values())
    if failed:
        print(f"{failed} of {len(jobs)} jobs failed; their errors stand in the report.")
    return 1 if failed else 0


def _place(options: argparse.Namespace, comfyui: Path, folder: Path, jobs: list[Job]) -> Place:
    if options.scheduler:
        return Place(scheduler=options.scheduler)
    if options.servers:
        return Place(servers=answering(read_servers(options.servers)), listen=options.listen)
    cpu = use_cpu(options.device)
    gpus = 0 if cpu else len(list(Path("/dev").glob("nvidia[0-9]*")))
    environments = worker_environments(comfyui, folder, cpu, gpus, options.workers)
    # Where films are rendered in parts, more workers than jobs have something to do.
    parts = options.segments or parts_for(len(jobs), len(environments), _cores())
    whole = parts == 1 or not any(map(can_be_cut, jobs))
    return Place(workers=environments[: len(jobs)] if whole else environments, listen=options.listen)


def _run(place: Place, jobs: list[Job], options: argparse.Namespace, rows: dict[str, dict[str, Any]]) -> None:
    done = failed = 0
    with ExitStack() as stack:
        with Status("Starting workers"):
            client = stack.enter_context(connect(place))
            if not place.scheduler:
                wait_for_first(client)
        if not client.scheduler_info()["workers"]:
            print("The scheduler has no workers yet; the jobs wait for them.")
        if place.listen != "127.0.0.1":
            address = client.scheduler_info()["address"]
            print(f"More workers can join at {address}. Anyone who reaches it can run code here:")
            print("use it in a network that you trust only, or TLS (docs/batch.md).")
        with Status("Running jobs") as status:
            workers, asked = len(place.workers or place.servers or client.scheduler_info()["workers"]), 0.0
            cores = _cores() if place.workers else None
            for job, outcome in run_jobs(client, jobs, options.segments, workers, cores):
                done += 1
                if outcome.error:
                    failed += 1
                    rows[job.id] = {"id": job.id, "digest": job.digest, "status": "failed", "error": outcome.error}
                    rows[job.id] |= {"seconds": round(outcome.seconds, 3), "server": outcome.server}
                else:
                    rows[job.id] = {**publish(options.output, job, outcome), "id": job.id, "status": "finished"}
                # A round trip to the scheduler: not for every small job.
                if time.monotonic() - asked > 1:
                    workers, asked = len(client.scheduler_info()["workers"]), time.monotonic()
                text = f"{bar(done / len(jobs))} {done}/{len(jobs)}, {failed} failed, {workers} workers"
                status.show(text, topic=f"{done * 10 // len(jobs)}")


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _complete(rows: dict[str, dict[str, Any]], jobs: list[Job]) -> None:
    """Say what became of jobs that were not run: asked for twice, or not reached."""
    by_digest = {row["digest"]: row for row in rows.values() if "digest" in row}
    for job in jobs:
        if "digest" not in rows[job.id]:
            rows[job.id] = {**by_digest.get(job.digest, {"status": "not run"}), "id": job.id}
