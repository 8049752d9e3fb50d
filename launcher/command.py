"""The command line of run.py."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import processes
from .benchmarks import run_benchmark
from .console import Problem
from .demo import DEFAULT_WORKFLOW, DemoOptions, run_demo
from .installation import PACK
from .server import ServerFailed
from .tests import run_tests
from .workflow import WorkflowError


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for, leaving no process behind; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A console that lacks a character should show a question mark, not end the program.
        stream.reconfigure(errors="replace")
    options, rest = parse(arguments)
    processes.install_signal_handlers()
    try:
        if options.command == "test":
            return run_tests(options.comfyui, rest)
        if options.command == "bench":
            return run_benchmark(options.comfyui, rest)
        run_demo(
            DemoOptions(
                workflow=options.workflow,
                seed=options.seed,
                prompts=options.prompts,
                serve=options.serve,
                comfyui=options.comfyui,
                output=options.output.resolve(),
                device=options.device,
                port=options.port,
            )
        )
        return 0
    except (Problem, WorkflowError, ServerFailed) as problem:
        print(f"\n{problem}", file=sys.stderr, flush=True)
        return 1
    except processes.Stopped as stopped:
        print("\nStopped.", file=sys.stderr, flush=True)
        return 128 + stopped.signum
    except BrokenPipeError:
        return 128 + getattr(signal, "SIGPIPE", 13)
    finally:
        processes.stop_all()


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and what `test` hands on to pytest."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--comfyui",
        metavar="PATH",
        default=os.environ.get("COMFYUI_PATH") or None,
        help="use the ComfyUI installed there instead of getting one (also: the variable COMFYUI_PATH)",
    )
    about = "Zoom Stack: from prompts to a seamless zoom video, in a real ComfyUI."
    parser = argparse.ArgumentParser(prog="run.py", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="demo | test | bench")
    demo = commands.add_parser("demo", parents=[shared], help="make a zoom video")
    demo.add_argument(
        "--workflow",
        metavar="NAME|FILE",
        default=DEFAULT_WORKFLOW,
        help=f"a bundled workflow, or a file of either format (default: {DEFAULT_WORKFLOW})",
    )
    demo.add_argument("--seed", type=_seed, help="the seed for every node that has one")
    demo.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="prompts, one a line, from the widest view to the closest (or JSON)",
    )
    demo.add_argument("--serve", action="store_true", help="run nothing; leave the workflow ready in the browser")
    demo.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        default=PACK / "output",
        help="where the results go (default: output, beside run.py)",
    )
    demo.add_argument(
        "--device",
        choices=["auto", "cpu", "gpu"],
        default="auto",
        help="what to compute on (default: a GPU if there is a usable one)",
    )
    demo.add_argument("--port", type=_port, default=0, help="the server's port (default: a free one)")
    commands.add_parser("test", parents=[shared], help="run the tests; other arguments go to pytest")
    commands.add_parser(
        "bench", parents=[shared], help="run a benchmark by name; other arguments go to it", add_help=False
    )
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command == "demo":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options, rest


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**64:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**64 - 1}, got {text}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**16:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text}")
    return value
