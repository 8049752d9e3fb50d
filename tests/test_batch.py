"""`run.py batch` with real Dask workers on the test session's ComfyUI server."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from launcher.batch.jobs import Job
from launcher.console import Problem

distributed = pytest.importorskip("distributed", reason="needs distributed: run `python run.py test`")
engine = pytest.importorskip("launcher.batch.engine")
from launcher.batch import results, worker  # noqa: E402
from launcher.cache import VARIABLE  # noqa: E402
from launcher.command import parse  # noqa: E402
from launcher.server import free_port  # noqa: E402

PACK = Path(__file__).resolve().parent.parent
SIGNALS = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")


def graph(color: int, width: int = 24) -> dict:
    """One plain picture, saved."""
    inputs = {"width": width, "height": 16, "batch_size": 1, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs, "_meta": {"title": "Plain"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}, "_meta": {}},
    }


def slow(seed: int) -> dict:
    """A film that takes seconds: time enough to be killed in."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 256, "height": 256, "batch_size": 16, "color": seed}},
        "2": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": 31, "sigma": 9.0}},
        "3": {"class_type": "ImageFromBatch", "inputs": {"image": ["2", 0], "batch_index": 0, "length": 1}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "slow"}},
    }


def addresses(comfy) -> tuple[str, str]:
    """The session's server under two names: two workers share it."""
    return comfy.url, comfy.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def client(comfy):
    """A Dask client with two workers on the session's server."""
    with engine.connect(engine.Place(servers=addresses(comfy))) as connected:
        connected.wait_for_workers(2)
        yield connected


def test_the_scheduler_and_its_workers_listen_on_this_machine_only(client):
    ours = [psutil.Process(), *map(psutil.Process, client.run(os.getpid).values())]
    sockets = [socket for process in ours for socket in process.net_connections("inet")]
    listening = {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_a_failing_job_does_not_stop_the_others(client, tmp_path):
    jobs = [
        Job("good", graph(0xFF0000)),
        Job("bad", graph(0, width=0)),
        Job("odd", {"1": {"class_type": "No", "inputs": {}}}),
    ]
    outcomes = {job.id: outcome for job, outcome in engine.run_jobs(client, jobs)}
    assert not outcomes["good"].error and "width" in outcomes["bad"].error and "No" in outcomes["odd"].error
    note = results.publish(tmp_path, jobs[0], outcomes["good"])
    with Image.open(tmp_path / note["folder"] / note["files"][0]) as picture:
        assert picture.size == (24, 16) and picture.getpixel((3, 3)) == (255, 0, 0)
        # The picture itself says which job it comes from.
        assert json.loads(picture.info["zoom_job"]) == jobs[0].digest


@SIGNALS
def test_a_job_whose_worker_is_killed_runs_elsewhere(client, comfy, tmp_path):
    jobs = [Job(f"slow {seed}", slow(seed)) for seed in range(3)]
    pids = client.run(os.getpid)
    running = engine.run_jobs(client, jobs)
    first = next(running)
    os.kill(next(iter(pids.values())), signal.SIGKILL)
    ended = [first, *running]
    assert [outcome.error for _, outcome in ended] == [""] * 3
    for job, outcome in ended:
        results.publish(tmp_path, job, outcome)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(job.name for job in jobs)
    client.wait_for_workers(2)


def test_results_are_whole_or_not_there_and_stay(tmp_path):
    job = Job("a job", graph(1))
    assert results.finished(tmp_path, job) == {}
    note = results.publish(tmp_path, job, worker.Outcome({"a.png": b"1"}))
    assert results.finished(tmp_path, job) == note
    # Another run has made the same at the same time; what is there stays.
    results.publish(tmp_path, job, worker.Outcome({"b.png": b"2"}))
    assert results.finished(tmp_path, job)["files"] == ["a.png"]
    # A damaged one counts as none, and is replaced.
    (tmp_path / job.name / "a.png").unlink()
    assert results.finished(tmp_path, job) == {}
    results.publish(tmp_path, job, worker.Outcome({"b.png": b"2"}))
    assert results.finished(tmp_path, job)["files"] == ["b.png"]
    assert [path.name for path in tmp_path.iterdir()] == [job.name]


def test_what_a_killed_run_left_is_removed(tmp_path):
    for name, age in ((".part-old", 2 * 86400), (".part-new", 60), ("kept-0", 2 * 86400)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    results.clear_up(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".part-new", "kept-0"]


def start(folder: Path, *arguments) -> subprocess.Popen:
    """`run.py batch` on folder/jobs.csv as a process of its own."""
    command = [sys.executable, "-u", PACK / "run.py", "batch", folder / "jobs.csv", "--output", folder / "out"]
    environment = {**os.environ, VARIABLE: str(folder / "cache")}
    return subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_batch_is_run_reported_and_not_run_again(comfy, tmp_path):
    (tmp_path / "plain.json").write_text(json.dumps(graph(0)))
    gone = f"127.0.0.1:{free_port()}"
    (tmp_path / "servers.txt").write_text("\n".join(addresses(comfy)) + f"  # the same\n{gone}\n")
    rows = "".join(f"job <{i}>,plain.json,{i * 7000},24\n" for i in range(4))
    (tmp_path / "jobs.csv").write_text(f"id,workflow,color,width\n{rows}wrong,plain.json,0,0\nagain,plain.json,0,24\n")
    # Two runs at once on one folder.
    runs = [start(tmp_path, "--servers", tmp_path / "servers.txt") for _ in range(2)]
    for process in runs:
        output, _ = process.communicate()
        assert process.returncode == 1 and "1 of 6 jobs failed" in output and "Traceback" not in output, output
        assert f"No ComfyUI answers at http://{gone}; left out" in output
    folders = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert len(folders) == 4
    with open(tmp_path / "out" / "report.csv", newline="") as file:
        report = {row["id"]: row for row in csv.DictReader(file)}
    assert report["wrong"]["status"] == "failed" and "width" in report["wrong"]["error"]
    assert report["again"]["folder"] == report["job <0>"]["folder"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "job &lt;3&gt;" in page and page.count("<img") == 5

    times = {path: path.stat().st_mtime_ns for path in folders}
    output, _ = (process := start(tmp_path, "--servers", tmp_path / "servers.txt")).communicate()
    assert process.returncode == 1 and "5 of 6 jobs are finished" in output
    assert times == {path: path.stat().st_mtime_ns for path in folders}


def test_without_a_place_a_server_is_started_and_given_what_the_job_loads(comfy_path, tmp_path, monkeypatch):
    monkeypatch.setenv(worker.SERVER, "http://127.0.0.1:9")  # someone else's: not used unless asked for
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    (tmp_path / "input").mkdir()
    Image.fromarray(pixels).save(tmp_path / "input" / "dots.png")
    loaded = {"1": {"class_type": "LoadImage", "inputs": {"image": "dots.png"}}, "2": graph(0)["2"]}
    (tmp_path / "loaded.json").write_text(json.dumps(loaded))
    (tmp_path / "jobs.csv").write_text("id,workflow\na,loaded.json\n")
    output, _ = (process := start(tmp_path, "--device", "cpu")).communicate()
    assert process.returncode == 0, output
    (made,) = (tmp_path / "out").glob("a-*/plain_*.png")
    with Image.open(made) as picture:
        assert np.array_equal(np.asarray(picture), pixels)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
        (["--scheduler", "nonsense"], "--scheduler"),
        (["--scheduler", "tls://127.0.0.1:9"], "needs certificates for TLS: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
        (["--servers", "nowhere.txt"], "--servers: cannot read nowhere.txt"),
        (["--servers", "{gone}"], "--servers: no ComfyUI answers at any of the addresses"),
        (["--output", "{jobs}"], "expected a folder to write to"),
    ],
)
def test_places_that_are_not_there_are_told(comfy_path, tmp_path, arguments, complaint):
    (tmp_path / "plain.json").write_text(json.dumps(graph(0)))
    (tmp_path / "jobs.csv").write_text("id,workflow\na,plain.json\n")
    (tmp_path / "gone.txt").write_text("127.0.0.1:9\n")
    places = {"{jobs}": tmp_path / "jobs.csv", "{gone}": tmp_path / "gone.txt"}
    arguments = [str(places.get(part, part)) for part in arguments]
    output, _ = (process := start(tmp_path, *arguments)).communicate()
    assert process.returncode == 1 and complaint in output and "Traceback" not in output, output


def test_only_one_place_can_be_given(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(["batch", "jobs.csv", "--servers", "servers.txt", "--workers", "2"])
    assert "--workers: not allowed with argument --servers" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["ftp://a:1", "127.0.0.1", "http://a:b", "http://a:1/path", "a b", ""])
def test_an_address_that_is_none_is_quoted(tmp_path, line):
    (tmp_path / "servers.txt").write_text(line)
    with pytest.raises(Problem, match="servers"):
        engine.read_servers(tmp_path / "servers.txt")


@SIGNALS
def test_a_running_scheduler_of_another_version_is_named_before_anything_else(tmp_path):
    address = f"tcp://127.0.0.1:{free_port()}"
    code = "import distributed; distributed.__version__ = '2020.1.0'; from dask.__main__ import main; main()"
    command = [sys.executable, "-c", code, "scheduler", "--host", address, "--no-dashboard"]
    # What it is asked for is the version that is installed: found here first.
    installed = tmp_path / "distributed-2020.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: distributed\nVersion: 2020.1.0\n")
    (installed / "entry_points.txt").write_text("[dask_cli]\nscheduler = distributed.cli.dask_scheduler:main\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        with pytest.raises(Problem, match="the scheduler runs distributed 2020.1.0 .*: use the same versions"):
            with engine.connect(engine.Place(scheduler=address)):
                pass
    finally:
        process.terminate()
        process.wait(60)


def test_a_scheduler_of_another_version_is_refused(client):
    found = client.get_versions()
    engine.check_versions(found)
    found["scheduler"]["packages"]["distributed"] = "2020.1.0"
    with pytest.raises(Problem, match="the scheduler runs distributed 2020.1.0 on Python .* this is"):
        engine.check_versions(found)


def certificates(folder: Path) -> tuple[list, dict[str, str]]:
    """A CA and a certificate of its own, as docs/batch.md makes them: Dask's options, and what a client needs."""
    made = folder / "tls"
    made.mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "1", "-subj", "/CN=ours"],
        ["req", *key, "-keyout", "me.key", "-out", "me.csr", "-subj", "/CN=me"],
        ["x509", "-req", "-in", "me.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "me.pem"],
    ):
        subprocess.run(["openssl", *command], cwd=made, check=True, capture_output=True)
    names = {"ca_file": made / "ca.pem", "cert": made / "me.pem", "key": made / "me.key"}
    options = [part for name, path in names.items() for part in (f"--tls-{name.replace('_', '-')}", path)]
    parts = {"ca_file": "CA_FILE", "cert": "CLIENT__CERT", "key": "CLIENT__KEY"}
    return options, {f"DASK_DISTRIBUTED__COMM__TLS__{parts[name]}": str(path) for name, path in names.items()}


@contextmanager
def dask_processes(folder: Path, protocol: str, options: list, server: str):
    """A scheduler and a worker by Dask's own commands, in a folder and an environment without the pack; the address."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    address = f"{protocol}://127.0.0.1:{free_port()}"

    def started(*arguments) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments, *options]
        log = stack.enter_context(open(folder / f"{arguments[0]}.log", "wb"))
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        return process

    with ExitStack() as stack:
        started("scheduler", "--host", address, "--no-dashboard")
        environment = {**environment, worker.SERVER: server}
        started("worker", address, "--nthreads", "1", "--no-dashboard", "--death-timeout", "60")
        yield address


@SIGNALS
@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_a_scheduler_that_runs_already_is_brought_the_code(comfy, tmp_path, monkeypatch, protocol):
    options, for_clients = [], {}
    if protocol == "tls":
        if not shutil.which("openssl"):
            pytest.skip("needs openssl to make certificates")
        options, for_clients = certificates(tmp_path)
    (tmp_path / "plain.json").write_text(json.dumps(graph(0)))
    (tmp_path / "jobs.csv").write_text("id,workflow,color\na,plain.json,5\nb,plain.json,6\n")
    with dask_processes(tmp_path, protocol, options, comfy.url) as address:
        for name, value in for_clients.items():
            monkeypatch.setenv(name, value)
        output, _ = (process := start(tmp_path, "--scheduler", address)).communicate()
        assert process.returncode == 0 and "2/2, 0 failed" in output, output
        assert len(list((tmp_path / "out").glob("*/plain_*.png"))) == 2

        if for_clients:
            # Certificates of someone else's CA: encrypted, and nobody that we know.
            (tmp_path / "stranger").mkdir()
            for name, value in certificates(tmp_path / "stranger")[1].items():
                monkeypatch.setenv(name, value)
            (tmp_path / "jobs.csv").write_text("id,workflow,color\na,plain.json,7\n")
            output, _ = (process := start(tmp_path, "--scheduler", address)).communicate()
            assert process.returncode == 1 and "no Dask scheduler answers at tls://" in output, output
            assert "Traceback" not in output, output
            return
        # Code of another version is not mixed with what is loaded over there.
        other = tmp_path / "other"
        shutil.copytree(PACK / "launcher", other / "launcher")
        shutil.copy(PACK / "comfyui_support.py", other)
        with open(other / "launcher" / "batch" / "jobs.py", "a") as file:
            file.write("# of another version\n")
        monkeypatch.setattr(engine, "PACK", other)
        with pytest.raises(Problem, match="another version of this pack.*restart the scheduler"):
            with engine.connect(engine.Place(scheduler=address)):
                pass
