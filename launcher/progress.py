"""What the person sees of work under way: one status line, and on it how far the server is with a workflow."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

from .workflow import Graph, upstream


def bar(fraction: float, width: int = 24) -> str:
    """A progress bar, in characters that every console has."""
    filled = round(max(0.0, min(1.0, fraction)) * width)
    return "[" + "#" * filled + "." * (width - filled) + "]"


class Status:
    """One line about work under way, with the time it has taken; as a context manager it says "done" at the end.

    On a terminal the line is rewritten in place. In a log file a line is written once for every new `topic`.
    """

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title, self._stream = title, stream or sys.stdout
        self._started, self._told = time.monotonic(), set()
        # A bar without a total is empty, and has what does not fit on the line cut off.
        options = {"bar_format": "{elapsed} {desc}{bar}", "dynamic_ncols": True, "disable": not self._stream.isatty()}
        self._line = tqdm(desc=title, file=self._stream, **options)
        self.show(topic=title)

    def show(self, detail: str = "", topic: str = "") -> None:
        """Say how far it is. `topic` names the part of the work that `detail` is about."""
        text = f"{self._title} {detail}".rstrip()
        self._line.set_description_str(text)
        if self._line.disable and topic and topic not in self._told:
            self._told.add(topic)
            print(text, file=self._stream, flush=True)

    def __enter__(self) -> Status:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._line.bar_format = "{desc}{bar}"
            self.show(f"done ({tqdm.format_interval(time.monotonic() - self._started)})", topic="done")
        self._line.close()


class RunProgress:
    """Call it with every event of a run; it keeps the status line up to date."""

    def __init__(self, graph: Graph, object_info: dict[str, Any], status: Status) -> None:
        # What the server will run: the nodes that save or show something, and all that they depend on.
        ends = [key for key, node in graph.items() if object_info.get(node["class_type"], {}).get("output_node")]
        needed = upstream(graph, *ends)
        self._titles = {key: node.get("_meta", {}).get("title") or node["class_type"] for key, node in needed.items()}
        self._status = status
        self._done: set[str] = set()
        self._current = ""

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "execution_cached":
            self._done.update(data.get("nodes") or [])
        elif kind in ("executing", "execution_success"):
            self._done.add(self._current)
            self._current = str(data.get("display_node") or data.get("node") or "")
            self._done.discard(self._current)
            self._show()
        elif kind == "progress" and data.get("max"):
            self._show(data["value"] / data["max"], f"{data['value']:g} of {data['max']:g}")

    def _show(self, fraction: float = 0.0, steps: str = "") -> None:
        # What stands in for another node while it runs is not counted.
        done, count = len(self._done & self._titles.keys()), len(self._titles)
        text = f"{bar((done + fraction) / max(1, count))} {done}/{count} nodes"
        self._status.show(f"{text}  {self._titles.get(self._current, '')}  {steps}", topic=f"node {self._current}")
