"""The progress of a run, as a line on the console, from the messages that the server sends."""

from __future__ import annotations

from typing import Any

from .console import Status, bar
from .workflow import Graph, upstream


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
            self._done |= self._titles.keys() & set(data.get("nodes") or [])
        elif kind == "executing":
            self._done |= self._titles.keys() & {self._current}
            self._current = str(data.get("display_node") or data["node"])
            self._done.discard(self._current)
            self._show()
        elif kind == "progress" and data.get("max"):
            self._show(data["value"] / data["max"], f"{data['value']:g} of {data['max']:g}")
        elif kind == "execution_success":
            self._done.update(self._titles)
            self._current = ""
            self._show(topic="end")

    def _show(self, fraction: float = 0.0, steps: str = "", topic: str = "") -> None:
        done, count = len(self._done), len(self._titles)
        text = f"{bar((done + fraction) / max(1, count))} {done}/{count} nodes"
        self._status.show(f"{text}  {self._titles.get(self._current, '')}  {steps}", topic or f"node {self._current}")
