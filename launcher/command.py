"""The command line of run.py, and the way from stage 0 to stage 1."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import browser, processes, workflow
from .batch.jobs import read_jobs
from .cache import writable_folder
from .console import Problem
from .installation import PACK, SOURCES, prepare

READY = "ZOOM_STACK_READY"  # tells stage 1 which ComfyUI stage 0 found for it
_EXTRAS = {"test": ("test", "batch"), "twins": ("test",), "batch": ("batch",)}
_BENCHMARK_EXTRAS = {"batch": ("batch",), "mutation": ("test",), "viewer": ("test",)}


def main(arguments: Sequence[str], hand_over: Callable[[list[str]], int]) -> int:
    """Run what the command line asks for, leaving no process behind; the exit code."""
    _mend_streams()
    processes.install_signal_handlers()
    try:
        options, rest = parse(arguments)
        if found := os.environ.pop(READY, None):
            return _run(options, rest, Path(found))
        # Mistakes in what was asked for should show before the set-up, which may take minutes.
        needed = _check(options, rest)
        installation = prepare(options.comfyui, needed)
        if installation.python == Path(sys.executable):
            return _run(options, rest, installation.comfyui)
        os.environ[READY] = str(installation.comfyui)
        return hand_over([str(installation.python), str(PACK / "run.py"), *arguments])
    except Problem as problem:
        return _fail(str(problem), 1)
    except processes.Stopped as stopped:
        return _fail("Stopped.", 128 + stopped.signum)
    except BrokenPipeError:
        # Nobody reads any more; what is left in the buffer must not raise again at the end.
        sys.stdout = open(os.devnull, "w")
        return 128 + getattr(signal, "SIGPIPE", 13)
    except OSError as error:
        sys.stdout = open(os.devnull, "w")
        return _fail(f"{error.filename or 'The output'}: {error.strerror or error}", 1)
    finally:
        processes.stop_all()


def _fail(message: str, code: int) -> int:
    print(f"\n{message}", file=sys.stderr, flush=True)
    return code


def _mend_streams() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))
        # A console that lacks a character should show a question mark, not end the program.
        getattr(sys, name).reconfigure(errors="replace", line_buffering=True)


def _check(options: argparse.Namespace, rest: list[str]) -> Sequence[str]:
    """Complain about what cannot work; the names of the extras that it needs."""
    if options.command == "bench":
        files = sorted((PACK / "benchmarks").glob("*.py"))
        names = [file.stem for file in files if '__name__ == "__main__"' in file.read_text("utf-8")]
        if not rest or rest[0] not in names:
            raise Problem(f"bench: expected one of {', '.join(names)}, got {rest[0] if rest else 'nothing'}.")
        return _BENCHMARK_EXTRAS.get(rest[0], ())
    if options.command == "demo":
        path = workflow.find(options.workflow)
        content = workflow.read(path)
        if options.serve and workflow.is_api(content):
            raise Problem(f"{path.name} is in API format; --serve needs a workflow as the browser saves it.")
        writable_folder(options.output, f"--output: expected a folder to write to, got {options.output}")
        needs_browser = not workflow.is_api(content) and workflow.twin(content) is None and not options.serve
        if needs_browser and (not options.comfyui or options.comfyui in SOURCES) and browser.find_browser():
            return ("test",)  # has Playwright
    if options.command == "batch":
        if sum(bool(value) for value in (options.scheduler, options.servers, options.workers)) > 1:
            raise Problem("batch: give one of --scheduler, --servers and --workers.")
        # Read here as well, because most mistakes are in it.
        read_jobs(options.jobs, options.workflow, options.seed)
        writable_folder(options.output, f"--output: expected a folder to write to, got {options.output}")
    return _EXTRAS.get(options.command, ())


def _run(options: argparse.Namespace, rest: list[str], comfyui: Path) -> int:
    """Stage 1: we are in the environment now."""
    if options.command == "batch":
        from .batch.run import run_batch

        return run_batch(options, comfyui)
    if options.command in ("demo", "twins"):
        from . import demo

        if options.command == "demo":
            demo.run_demo(options, comfyui)
        else:
            demo.write_twins(comfyui)
        return 0
    if options.command == "test":
        print(f"Testing with {sys.executable} and ComfyUI in {comfyui}")
        # Arguments that name a file or a test replace the default of the whole folder, which is shared among processes.
        named = any(Path(a.partition("::")[0]).exists() for a in rest)
        targets = [] if named else ["-n", "auto", "--maxprocesses", "4", "--dist", "worksteal", PACK / "tests"]
        command = ["-m", "pytest", "-c", PACK / "tests" / "pytest.ini", *targets, *rest]
    else:
        command = [PACK / "benchmarks" / f"{rest[0]}.py", *rest[1:]]
    environment = {**os.environ, "COMFYUI_PATH": str(comfyui), "PYTHONUNBUFFERED": "1"}
    return processes.wait(processes.spawn([sys.executable, *command], env=environment))


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and what `test` and `bench` hand on."""
    about = "Zoom Stack: from prompts to a seamless zoom video, in a real ComfyUI."
    parser = argparse.ArgumentParser(prog="run.py", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="demo | batch | test | bench | twins")
    demo = commands.add_parser("demo", help="make a zoom video")
    batch = commands.add_parser("batch", help="run many jobs, on one machine or many: docs/batch.md")
    test = commands.add_parser("test", help="run the tests; other arguments go to pytest")
    bench = commands.add_parser("bench", help="run a benchmark by name, with its arguments", add_help=False)
    twins = commands.add_parser("twins", help="write workflows/api/ again, after changing workflows/*.json")
    installed = os.environ.get("COMFYUI_PATH") or None
    where = f"the ComfyUI installed there (default: COMFYUI_PATH), or our own of version {', '.join(SOURCES)}"
    for command in (demo, batch, test, bench, twins):
        command.add_argument("--comfyui", metavar="PATH|VERSION", default=installed, help=where)
    _add_run_options(demo, PACK / "output")
    _add_run_options(batch, PACK / "output" / "batch")
    _add_demo_options(demo)
    _add_batch_options(batch)
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command in ("demo", "batch", "twins"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options, rest


def _add_run_options(command: argparse.ArgumentParser, output: Path) -> None:
    add = command.add_argument
    known = "a bundled workflow, or a file of either format (default: %(default)s)"
    add("--workflow", metavar="NAME|FILE", default=workflow.DEFAULT, help=known)
    add("--seed", type=_number("a whole number", 2**64), help="the seed for every node that has one")
    devices = ["auto", "cpu", "gpu"]
    add("--device", choices=devices, default="auto", help="what to compute on (default: a GPU if one is usable)")
    where = "where the results go (default: %(default)s)"
    add("--output", type=lambda text: Path(text).resolve(), metavar="FOLDER", default=output, help=where)


def _add_demo_options(demo: argparse.ArgumentParser) -> None:
    add = demo.add_argument
    prompts = "prompts, one a line, from the widest view (or JSON)"
    add("--prompts", type=lambda text: workflow.read_prompts(Path(text)), metavar="FILE", help=prompts)
    add("--serve", action="store_true", help="run nothing; leave the workflow ready in the browser")
    add("--port", type=_number("a port", 2**16), default=0, help="the server's (default: a free one)")


def _add_batch_options(batch: argparse.ArgumentParser) -> None:
    batch.epilog = (
        "--workflow and --seed are for the jobs that name none. With --segments auto, the default, films are rendered "
        "in as many parts as there are workers without a job of their own. Anyone who can reach the address of "
        "--listen can run code here: see docs/batch.md."
    )
    add = batch.add_argument
    add("jobs", type=Path, metavar="JOBS", help="a folder of prompt files (.txt), a .csv or a .jsonl file")
    servers = _number("a number of workers", 65)
    add("--workers", type=servers, help="servers to start here (default: one a GPU, or one)")
    parts = _number("auto, or a number of segments", 1025)
    segments = "render each film in N parts, on many workers, and join them"
    add("--segments", metavar="N", type=lambda text: None if text == "auto" else parts(text), help=segments)
    add("--servers", type=Path, metavar="FILE", help="use the ComfyUI servers named there, one a line")
    add("--scheduler", metavar="ADDRESS", help="use the Dask scheduler there, and the workers it has")
    listen = "where our own scheduler listens for more workers (default: 127.0.0.1, this machine only)"
    add("--listen", metavar="ADDRESS", default="127.0.0.1", help=listen)


def _number(what: str, end: int) -> Callable[[str], int]:
    """A parser of whole numbers from 0 to below `end`."""

    def parse_number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(end)) and int(text) < end):
            raise argparse.ArgumentTypeError(f"expected {what} from 0 to {end - 1}, got {text!r:.80}")
        return int(text)

    return parse_number
