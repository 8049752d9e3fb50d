"""The command line of run.py, and the way from stage 0 to stage 1."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from . import browser, processes, workflow
from .batch.jobs import read_jobs
from .cache import writable_folder
from .console import Problem
from .installation import PACK, SOURCES, prepare

READY = "ZOOM_STACK_READY"  # tells stage 1 which ComfyUI stage 0 found for it
# What the commands and benchmarks need besides: see requirements-*.txt.
_EXTRAS = {"test": ("test", "batch"), "batch": ("batch",)} | dict.fromkeys(("twins", "mutation", "viewer"), ("test",))


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
        comfyui, python = prepare(options.comfyui, needed)
        if python == Path(sys.executable):
            return _run(options, rest, comfyui)
        os.environ[READY] = str(comfyui)
        return hand_over([str(python), str(PACK / "run.py"), *arguments])
    except Problem as problem:
        return _fail(str(problem), 1)
    except processes.Stopped as stopped:
        return _fail("Stopped.", 128 + stopped.args[0])
    except OSError as error:
        # What is left in the buffer must not raise again at the end.
        sys.stdout = open(os.devnull, "w")
        if isinstance(error, BrokenPipeError):  # nobody reads any more
            return 128 + 13
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
    name, extras = options.command, ()
    if options.command == "bench":
        files = sorted((PACK / "benchmarks").glob("*.py"))
        names = [file.stem for file in files if '__name__ == "__main__"' in file.read_text("utf-8")]
        name = rest[0] if rest else "nothing"
        if name not in names:
            raise Problem(f"bench: expected one of {', '.join(names)}, got {name}.")
    if options.command == "demo":
        path = workflow.find(options.workflow)
        content = workflow.read(path)
        if options.serve and workflow.is_api(content):
            raise Problem(f"{path.name} is in API format; --serve needs a workflow as the browser saves it.")
        needs_browser = not (options.serve or workflow.is_api(content) or workflow.twin(content))
        if needs_browser and (not options.comfyui or options.comfyui in SOURCES) and browser.find_browser():
            extras = ("test",)  # has Playwright
    if options.command == "batch":
        # Read here as well, because most mistakes are in it.
        read_jobs(options.jobs, options.workflow, options.seed)
    if options.command in ("demo", "batch"):
        writable_folder(options.output, f"--output: expected a folder to write to, got {options.output}")
    return _EXTRAS.get(name, extras)


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
    where = f"the ComfyUI installed there (default: COMFYUI_PATH), or our own of version {', '.join(SOURCES)}"
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--comfyui", metavar="PATH|VERSION", default=os.environ.get("COMFYUI_PATH") or None, help=where)
    command = partial(commands.add_parser, parents=[common])
    demo = command("demo", help="make a zoom video")
    about = "--workflow and --seed are for jobs that name none. By default workers without a job render parts of films."
    batch = command("batch", help="run many jobs, on one machine or many: docs/batch.md", epilog=about)
    command("test", help="run the tests; other arguments go to pytest")
    command("bench", help="run a benchmark by name, with its arguments", add_help=False)
    command("twins", help="write workflows/api/ again, after changing workflows/*.json")
    for add, output in ((demo.add_argument, PACK / "output"), (batch.add_argument, PACK / "output" / "batch")):
        known = "a bundled workflow, or a file of either format (default: %(default)s)"
        add("--workflow", metavar="NAME|FILE", default=workflow.DEFAULT, help=known)
        add("--seed", type=_number("a whole number", 2**64), help="the seed for every node that has one")
        add("--device", choices=["auto", "cpu", "gpu"], default="auto", help="default: a GPU if one is usable")
        folder = "where the results go (default: %(default)s)"
        add("--output", type=lambda text: Path(text).resolve(), metavar="FOLDER", default=output, help=folder)

    add = demo.add_argument
    prompts = "prompts, one a line, from the widest view (or JSON)"
    add("--prompts", type=lambda text: workflow.read_prompts(Path(text)), metavar="FILE", help=prompts)
    add("--serve", action="store_true", help="run nothing; leave the workflow ready in the browser")
    add("--port", type=_number("a port", 2**16), default=0, help="the server's (default: a free one)")

    add = batch.add_argument
    add("jobs", type=Path, metavar="JOBS", help="a folder of prompt files (.txt), a .csv or a .jsonl file")
    parts = _number("auto, or a number of segments", 1025)
    segments = "render each film in N parts, on many workers, and join them"
    add("--segments", metavar="N", type=lambda text: None if text == "auto" else parts(text), help=segments)
    listen = "where more workers can join, and run code here: docs/batch.md (default: 127.0.0.1, this machine only)"
    add("--listen", metavar="ADDRESS", default="127.0.0.1", help=listen)
    add = batch.add_mutually_exclusive_group().add_argument
    add("--workers", type=_number("a number of workers", 65), help="servers to start here (default: one a GPU, or one)")
    add("--servers", type=Path, metavar="FILE", help="use the ComfyUI servers named there, one a line")
    add("--scheduler", metavar="ADDRESS", help="use the Dask scheduler there, and the workers it has")

    options, rest = parser.parse_known_args(arguments)
    if rest and options.command in ("demo", "batch", "twins"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options, rest


def _number(what: str, end: int) -> Callable[[str], int]:
    """A parser of whole numbers from 0 to below `end`."""

    def parse_number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(end)) and int(text) < end):
            raise argparse.ArgumentTypeError(f"expected {what} from 0 to {end - 1}, got {text!r:.80}")
        return int(text)

    return parse_number
