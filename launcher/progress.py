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
        self._fraction = 0.0

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "execution_cached":
            self._done.update(self._titles.keys() & set(data.get("nodes") or []))
        elif kind == "executing" and data.get("node") is not None:
            self._enter(str(data.get("display_node") or data["node"]))
        elif kind == "progress" and data.get("max"):
            self._fraction = data["value"] / data["max"]
            self._show(f"{data['value']:g} of {data['max']:g}")
        elif kind == "execution_success":
            self._done.update(self._titles)
            self._current = ""
            self._show(topic="end")

    def _enter(self, node_id: str) -> None:
        if self._current in self._titles and node_id != self._current:
            self._done.add(self._current)
        self._current, self._fraction = node_id, 0.0
        self._show()

    def _show(self, steps: str = "", topic: str = "") -> None:
        finished = len(self._done) + (self._fraction if self._current not in self._done else 0)
        title = self._titles.get(self._current, "")
        count = len(self._titles)
        text = f"{bar(finished / max(1, count))} {len(self._done)}/{count} nodes  {title}  {steps}"
        self._status.show(text, topic or f"node {self._current}")
