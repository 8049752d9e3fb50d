"""run.py as a person runs it: a process of its own, with a real ComfyUI, a real workflow, real signals."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import av
import pytest
from living_processes import living_processes
from PIL import Image

from launcher import browser, processes
from launcher.cache import VARIABLE
from launcher.command import parse
from launcher.progress import RunProgress, Status

PACK = Path(__file__).resolve().parent.parent
PATIENCE = 300  # s: how long a busy machine may take to stop what takes a moment
SIGNALS = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")


def workflow(frames: int = 24, size: int = 64) -> dict:
    """Core nodes only: noise from a seed, saved as pictures and as a video."""

    def node(number, kind, inputs, outputs, values):
        slots = [{"name": name, "type": kind, "link": link} for name, kind, link in inputs]
        outs = [{"name": kind, "type": kind, "links": links} for kind, links in outputs]
        return {"id": number, "type": kind, "mode": 0, "inputs": slots, "outputs": outs, "widgets_values": values}

    return {
        "nodes": [
            node(1, "EmptyImage", [], [("IMAGE", [1, 2])], [size, size, frames, 0x20A040]),
            node(2, "ImageFromBatch", [("image", "IMAGE", 1)], [("IMAGE", [3])], [0, 2]),
            node(3, "SaveImage", [("images", "IMAGE", 3)], [], ["levels"]),
            node(4, "CreateVideo", [("images", "IMAGE", 2)], [("VIDEO", [4])], [12, 8]),
            node(5, "SaveVideo", [("video", "VIDEO", 4)], [], ["zoom", "mp4", "h264", "auto"]),
            node(6, "RandomNoise", [], [("NOISE", [])], [1, "randomize"]),
        ],
        "links": [
            [1, 1, 0, 2, 0, "IMAGE"],
            [2, 1, 0, 4, 0, "IMAGE"],
            [3, 2, 0, 3, 0, "IMAGE"],
            [4, 4, 0, 5, 0, "VIDEO"],
        ],
        "version": 0.4,
    }


def api(frames: int = 24, size: int = 64) -> dict:
    """The same in API format."""

    def node(kind, **inputs):
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind)}}

    return {
        "1": node("EmptyImage", width=size, height=size, batch_size=frames, color=0x20A040),
        "2": node("ImageFromBatch", image=["1", 0], batch_index=0, length=2),
        "3": node("SaveImage", images=["2", 0], filename_prefix="levels"),
        "4": node("CreateVideo", images=["1", 0], fps=12, bit_depth=8),
        "5": node("SaveVideo", video=["4", 0], filename_prefix="zoom", format="mp4", codec="h264"),
        "6": node("RandomNoise", noise_seed=1),
    }


class Demo:
    """`run.py demo` in a cache and with an output folder of its own."""

    def __init__(self, folder: Path, comfyui: Path) -> None:
        self.folder, self.comfyui = folder, comfyui
        self.cache, self.output = folder / "cache", folder / "output"

    def start(self, content: dict | str, *arguments: str) -> subprocess.Popen:
        """Start it on a workflow file with this content."""
        file = self.folder / "My workflow.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        command = [
            sys.executable,
            "-u",
            PACK / "run.py",
            "demo",
            "--workflow",
            file,
            "--output",
            self.output,
            *arguments,
        ]
        environment = {**os.environ, VARIABLE: str(self.cache), "COMFYUI_PATH": str(self.comfyui)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def processes(self) -> list[str]:
        """The command lines of all living processes that work in our cache."""
        return list(living_processes(self.cache).values())

    def wait_for_server(self, process: subprocess.Popen) -> None:
        """Wait until the server's process is there; it is far from ready then."""
        while not any("main.py" in line for line in self.processes()):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)


@pytest.fixture
def demo(tmp_path, comfy_path):
    created = Demo(tmp_path, comfy_path)
    yield created
    assert not created.processes()


def read_until(process: subprocess.Popen, text: str) -> str:
    """The output of a process up to the line that has `text` in it."""
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"it ended without saying {text!r}:\n{seen}")


@pytest.mark.skipif(browser.find_browser() is None, reason="a graph can only be converted by a browser")
def test_demo_runs_a_workflow_and_says_where_its_files_are(demo):
    output, _ = (process := demo.start(workflow(), "--seed", "77")).communicate()
    assert process.returncode == 0, output
    video = demo.output / "zoom_00001_.mp4"
    pictures = [demo.output / f"levels_0000{number}_.png" for number in (1, 2)]
    for file in (video, *pictures):
        assert str(file) in output
    with av.open(video) as container:
        frames = list(container.decode(video=0))
        assert (len(frames), frames[0].width, frames[0].height) == (24, 64, 64)
    image = Image.open(pictures[0])
    assert image.getpixel((5, 5)) == (0x20, 0xA0, 0x40)
    # The workflow in the file is the one that ran, so that dropping the file into the browser repeats it.
    saved = json.loads(image.info["workflow"])
    assert saved["nodes"][5]["widgets_values"] == [77, "fixed"]
    assert "5/5 nodes" in output


@SIGNALS
def test_stopped_in_the_middle_of_a_node(demo):
    # A wide blur of many pictures: no step of it ends soon.
    image = {"width": 1024, "height": 1024, "batch_size": 64, "color": 0}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": 31, "sigma": 10.0}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "never"}},
    }
    process = demo.start(graph)
    read_until(process, "ImageBlur")
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert rest.strip().endswith("Stopped.")
    assert not list(demo.output.iterdir())


@SIGNALS
def test_served_for_the_browser_until_ctrl_c(demo):
    process = demo.start(workflow(), "--serve", "--seed", "5")
    read_until(process, "Open this address")
    address = urlsplit(process.stdout.readline().strip())
    query = parse_qs(address.query)
    # This is what the browser fetches for such an address.
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)

    def get(path: str) -> dict:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200, path
        return json.loads(answer.read())

    served = get(f"/api/workflow_templates/{query['source'][0]}/{query['template'][0]}.json")
    assert served["nodes"][5]["widgets_values"] == [5, "fixed"]
    assert len(served["nodes"]) == len(workflow()["nodes"])
    # A newcomer finds this pack's workflows in the Templates browser and no other pack's, and sees previews.
    assert list(get("/api/workflow_templates")) == ["zoom-stack"]
    assert get("/api/settings")["Comfy.Execution.PreviewMethod"] == "auto"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGINT


@SIGNALS
def test_stopped_while_the_server_is_starting(demo):
    process = demo.start(api())
    demo.wait_for_server(process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGINT


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a child with its parent")
def test_killed_without_warning_it_takes_the_server_along(demo):
    process = demo.start(api())
    demo.wait_for_server(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + PATIENCE
    while demo.processes():
        assert time.monotonic() < deadline, demo.processes()
        time.sleep(0.05)


def test_a_refused_workflow_is_explained_and_the_server_stopped(demo):
    content = api(size=0)
    output, _ = (process := demo.start(content)).communicate()
    assert process.returncode == 1
    assert "does not accept the workflow" in output and "width" in output and "Traceback" not in output


def test_mistakes_show_before_anything_is_started(demo):
    for content, arguments, complaint in [
        ("{", [], "is not JSON"),
        ("{}", [], "not a ComfyUI workflow"),
        (json.dumps({"1": {"class_type": "X", "inputs": {}}}), ["--serve"], "in API format"),
        (workflow(), ["--prompts", "nowhere.txt"], "--prompts"),
        (workflow(), ["--seed", "-1"], "from 0 to"),
        (workflow(), ["--seed", "x"], "expected a whole number from 0 to 18446744073709551615, got 'x'"),
        (workflow(), ["--port", "70000"], "expected a port from 0 to 65535"),
        (workflow(), ["--output", str(demo.folder / "My workflow.json")], "expected a folder to write to"),
        (workflow(), ["--comfyui", str(demo.folder)], "expected a ComfyUI folder"),
        (workflow(), ["--nonsense"], "--nonsense"),
    ]:
        output, _ = (process := demo.start(content, *arguments)).communicate()
        assert process.returncode in (1, 2), output
        assert complaint in output and "Traceback" not in output
    assert not list(demo.cache.glob("server-*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_cannot_be_written_is_no_traceback(demo):
    file = demo.folder / "api.json"
    file.write_text(json.dumps(api()))
    command = [sys.executable, "-u", PACK / "run.py", "demo", "--workflow", file, "--output", demo.output]
    environment = {**os.environ, VARIABLE: str(demo.cache), "COMFYUI_PATH": str(demo.comfyui)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr

    line = subprocess.list2cmdline([str(part) for part in [*command, "--seed", "x"]])
    done = subprocess.run(["sh", "-c", line + " >&- 2>&-"], env=environment)
    assert done.returncode == 2
    line = subprocess.list2cmdline([str(part) for part in command]).replace("api.json", "none.json")
    done = subprocess.run(["sh", "-c", line + " >&-"], env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.strip().startswith("--workflow: there is no file")


def test_progress_follows_the_servers_events(comfy):
    graph = api(frames=5)
    stream = io.StringIO()
    progress = RunProgress(graph, comfy.object_info, Status("Running", stream))
    for kind, data in comfy.run(graph).events:
        progress(kind, data)
    lines = stream.getvalue().splitlines()[1:]
    # The noise leads nowhere, so the server does not run it, and it does not count.
    assert [re.search(r"(\d)/5 nodes", line)[1] for line in lines] == list("012345")
    titles = {line.split("nodes")[1].strip() for line in lines[:-1]}
    assert titles == {"Empty Image", "Image From Batch", "Save Image", "Create Video", "Save Video"}


def test_progress_within_a_node_moves_the_bar():
    graph = {"1": {"class_type": "Sampler", "inputs": {}}, "2": {"class_type": "Save", "inputs": {"image": ["1", 0]}}}
    stream = Terminal()
    progress = RunProgress(graph, {"Save": {"output_node": True}}, Status("Running", stream))
    progress("executing", {"node": "1", "display_node": "1"})
    for step in (1, 2):
        progress("progress", {"node": "1", "value": step, "max": 4})
        assert f"Sampler  {step} of 4" in stream.line()
        assert stream.line().count("#") == step * 3
    progress("executing", {"node": "2", "display_node": "2"})
    assert stream.line().count("#") == 12 and "1/2 nodes  Save" in stream.line()


class Terminal(io.StringIO):
    """A stream on which the status line is rewritten in place."""

    def isatty(self) -> bool:
        return True

    def line(self) -> str:
        """What stands on the line now."""
        return self.getvalue().split("\r")[-1]


def start_tests(folder: Path, comfyui: Path, *arguments: str) -> subprocess.Popen:
    """Start `run.py test` with a cache and a temporary folder of its own."""
    environment = {**os.environ, VARIABLE: str(folder / "cache"), "COMFYUI_PATH": str(comfyui)}
    command = [sys.executable, "-u", PACK / "run.py", "test", f"--basetemp={folder / 'cache' / 'pytest'}", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_tests_are_run_and_their_verdict_returned(tmp_path, comfy_path):
    file = str(PACK / "tests" / "test_run_workflow.py")
    output, _ = (process := start_tests(tmp_path, comfy_path, file, "-k", "is_missing", "-q")).communicate()
    assert process.returncode == 0 and "1 passed" in output, output
    output, _ = (process := start_tests(tmp_path, comfy_path, file, "-k", "no_such_test")).communicate()
    assert process.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, output


@SIGNALS
def test_stopped_tests_take_their_server_along(demo):
    process = start_tests(demo.folder, demo.comfyui, str(PACK / "tests" / "test_server_smoke.py"))
    demo.wait_for_server(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM


def test_every_process_is_ended(monkeypatch):
    # Not the server that other tests use.
    monkeypatch.setattr(processes, "_children", [])
    started = [processes.spawn([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(3)]
    processes.stop_all()
    assert all(process.poll() is not None for process in started)


def test_arguments_for_pytest_are_handed_on():
    options, rest = parse(["test", "-k", "blend", "--durations=5", "tests/test_run.py"])
    assert options.command == "test"
    assert rest == ["-k", "blend", "--durations=5", "tests/test_run.py"]


@pytest.mark.parametrize("other", ["python3.9", "python3.14"])
def test_another_python_hands_over_or_explains(other, tmp_path):
    """A stand-in that reports another version than it has takes the same way through run.py."""
    code = (
        "import runpy, sys; sys.version_info = (3, %s, 0, 'final', 0);"
        "sys.argv = ['run.py', 'demo', '--workflow', 'no-such-workflow'];"
        "runpy.run_path(%r, run_name='__main__')" % (other.split(".")[1], str(PACK / "run.py"))
    )
    nowhere = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=nowhere, capture_output=True, text=True)
    assert done.returncode == 1 and "Please install one" in done.stdout

    if os.name != "nt":
        name = "python%d.%d" % sys.version_info[:2]
        (tmp_path / name).symlink_to(sys.executable)
        done = subprocess.run([sys.executable, "-c", code], env=nowhere, capture_output=True, text=True)
        assert f"Going on with {name}" in done.stdout
        assert "no bundled workflow of that name" in done.stderr
