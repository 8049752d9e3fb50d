"""`run.py batch` measured: overhead a job, workers killed on the way, segments against one pass.

python benchmarks/batch.py                        all three
python benchmarks/batch.py --only overhead|killed|segments
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from launcher import workflow as workflows  # noqa: E402
from launcher.batch import engine, film, results  # noqa: E402
from launcher.batch.jobs import Job  # noqa: E402
from launcher.client import Graph  # noqa: E402
from launcher.server import ComfyServer  # noqa: E402

ROUNDS, SMALL, KILLED, PARTS = 5, 200, 2, 2


def zoom(seed: int) -> Graph:
    """The demo's zoom, as it is: twelve levels sampled together, and a film of 512 x 512."""
    graph = workflows.twin(workflows.read(workflows.find("text-to-zoom")))
    workflows.set_seed(graph, None, seed)
    return graph


def picture(color: int) -> Graph:
    """A small job: one plain picture."""
    inputs = {"width": 64, "height": 64, "batch_size": 1, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}},
    }


class Watch:
    """Wall and CPU seconds of a stretch of work, the latter of this process and others with all they started."""

    def __init__(self, pids: list[int]):
        self.processes = [psutil.Process(pid) for pid in pids]

    def _cpu(self) -> float:
        whole = [self.processes[0], *(process for one in self.processes for process in one.children(recursive=True))]
        return sum(sum(process.cpu_times()[:2]) for process in {*whole, *self.processes})

    def __call__(self, work: Callable[[], None]) -> tuple[float, float]:
        start, cpu = time.perf_counter(), self._cpu()
        work()
        return time.perf_counter() - start, self._cpu() - cpu


def overhead(server: ComfyServer, folder: Path) -> None:
    """The same jobs by hand (queue, wait, fetch the files) and as a batch of one, in turns, on one server."""
    numbers = iter(range(1, 100_000))

    def by_hand(graph: Graph) -> None:
        result = server.client.run(graph)
        for number, entry in enumerate(result.entries()):
            (folder / f"by-hand-{number}").write_bytes(server.client.view(entry))

    with engine.connect(engine.Place(servers=(server.url,))) as client:
        client.wait_for_workers(1)
        watch = Watch([os.getpid(), server.pid])

        def batch(graph: Graph) -> None:
            for job, outcome in engine.run_jobs(client, [Job("job", graph)]):
                assert not outcome.error, outcome.error
                results.publish(folder, job, outcome)

        for what, make, count in (("one picture", picture, SMALL // 2), ("a zoom of twelve levels", zoom, ROUNDS)):
            for way in (by_hand, batch):
                way(make(next(numbers)))
            pairs = [[watch(lambda: way(make(next(numbers)))) for way in (by_hand, batch)] for _ in range(count)]
            for number, unit in enumerate(("wall", "CPU")):
                a, b = ([pair[way][number] for pair in pairs] for way in (0, 1))
                more = [y - x for x, y in zip(a, b)]
                print(
                    f"{what}, {unit}: by hand {show(a)} s, as a batch {show(b)} s, more by {show(more)} s, "
                    f"{statistics.median(more) / statistics.median(a):.1%}"
                )


def killed(place: engine.Place, folder: Path) -> None:
    """Many small jobs on two workers with servers of their own, each worker killed once on the way."""
    jobs = [Job(f"job {number}", picture(number * 1000)) for number in range(SMALL)]
    times, start = [], time.perf_counter()
    with engine.connect(place) as client:
        client.wait_for_workers(2)
        for number, (job, outcome) in enumerate(engine.run_jobs(client, jobs)):
            assert not outcome.error, outcome.error
            results.publish(folder, job, outcome)
            times.append(job.id)
            if number in (SMALL // 4, SMALL // 2)[:KILLED]:
                os.kill(list(client.run(os.getpid).values())[0], signal.SIGKILL)
    whole = sum(bool(results.finished(folder, job)) for job in jobs)
    rest = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    print(
        f"{SMALL} jobs, {KILLED} workers killed: {whole} results, {len(times) - len(set(times))} twice, "
        f"{len(rest)} half-written, {time.perf_counter() - start:.0f} s"
    )


def segments(server: ComfyServer, place: engine.Place) -> None:
    """A film of pictures in one pass, in parts on the same server, and in parts on two servers of this machine."""
    graph = workflows.twin(workflows.read(workflows.find("pictures-to-zoom")))
    (settings,) = (node["inputs"] for node in graph.values() if node["class_type"] == "ZoomVideoFrames")
    settings |= {"width": 512, "height": 512, "fps": 30.0}
    job, plan = Job("film", graph, tuple((workflows.FOLDER / "input").iterdir())), film.plan_film(graph)
    os.environ["ZOOM_STACK_SERVER"] = server.url
    made = film.make_stack(plan, {path.name: path.read_bytes() for path in job.used_inputs()}, job.digest)
    assert not made[0].error, made[0].error
    name = f"batch-{job.digest}.safetensors"
    whole = {**plan.render, "batch load": {"class_type": "ZoomStackLoad", "inputs": {"stack_file": name}}}
    whole["batch slice"] = {"class_type": "Video Slice", "inputs": {**plan.render["batch slice"]["inputs"]}}
    whole["batch slice"]["inputs"] |= {"start_time": 0.0, "duration": 0.0}
    start = time.perf_counter()
    once = server.client.view(server.client.run(whole).entries()[0])
    print(f"one pass: {made[1]} frames, {time.perf_counter() - start:.1f} s, {len(once) / 1e6:.2f} MB")
    start = time.perf_counter()
    parts = [film.render_segment(plan, made, PARTS, number, job.digest) for number in range(PARTS)]
    del os.environ["ZOOM_STACK_SERVER"]
    joined = film.join(parts, None, made[1])
    report(f"{PARTS} parts, one after another", time.perf_counter() - start, joined, once)
    with engine.connect(place) as client:
        client.wait_for_workers(2)
        # Servers start with their first job; that is no part of what is compared. Not one of the parts: ComfyUI
        # would know it already.
        warm = [
            client.submit(film.render_segment, plan, made, 20, 0, job.digest, workers=[w], pure=False)
            for w in client.scheduler_info()["workers"]
        ]
        client.gather(warm)
        start = time.perf_counter()
        futures = [client.submit(film.render_segment, plan, made, PARTS, i, job.digest) for i in range(PARTS)]
        joined = film.join(client.gather(futures), None, made[1])
        report(f"{PARTS} parts on two servers of this machine", time.perf_counter() - start, joined, once)


def report(what: str, seconds: float, content: bytes, once: bytes) -> None:
    """One line about a film, beside the one made in one pass."""
    a, b = (list(frames(data)) for data in (content, once))
    values = [10 * np.log10(255**2 / max(np.mean((x.astype(float) - y) ** 2), 1e-9)) for x, y in zip(a, b)]
    print(
        f"{what}: {len(a)} frames, {seconds:.1f} s, {len(content) / 1e6:.2f} MB, "
        f"PSNR to one pass mean {np.mean(values):.1f}, least {np.min(values):.1f} dB"
    )


def frames(content: bytes):
    """The pictures of a film."""
    with av.open(io.BytesIO(content)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def show(values: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["overhead", "killed", "segments"])
    only = parser.parse_args().only
    comfyui = Path(os.environ["COMFYUI_PATH"])
    with tempfile.TemporaryDirectory(prefix="zoom-stack-bench-") as name:
        folder = Path(name)
        workers = engine.worker_environments(comfyui, folder, cpu=True, gpus=0, workers=2)
        if only in (None, "killed"):
            (folder / "killed").mkdir()
            killed(engine.Place(workers=workers), folder / "killed")
        if only != "killed":
            server = ComfyServer(comfyui, folder / "server", arguments=["--cpu"])
            server.start()
            try:
                if only in (None, "overhead"):
                    (folder / "overhead").mkdir()
                    overhead(server, folder / "overhead")
                if only in (None, "segments"):
                    segments(server, engine.Place(workers=workers))
            finally:
                server.stop()


if __name__ == "__main__":
    main()
