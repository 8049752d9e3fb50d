"""The progress of a run, as a line on the console, from the messages that the server sends."""

from __future__ import annotations

from typing import Any

from .client import Graph
from .console import Status, bar


class RunProgress:
    """Call it with every event of a run; it keeps the status line up to date."""

    def __init__(self, graph: Graph, object_info: dict[str, Any], status: Status) -> None:
        self._titles = {
            node_id: graph[node_id].get("_meta", {}).get("title") or graph[node_id]["class_type"]
            for node_id in needed_nodes(graph, object_info)
        }
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
        text = (
            f"{bar(finished / max(1, len(self._titles)))} {len(self._done)}/{len(self._titles)} nodes  {title}  {steps}"
        )
        self._status.show(text.rstrip(), topic or f"node {self._current}")


def needed_nodes(graph: Graph, object_info: dict[str, Any]) -> set[str]:
    """The nodes that the server will run: those that save or show something, and all that they depend on."""
    waiting = [node_id for node_id, node in graph.items() if object_info.get(node["class_type"], {}).get("output_node")]
    needed: set[str] = set()
    while waiting:
        node_id = waiting.pop()
        if node_id in needed or node_id not in graph:
            continue
        needed.add(node_id)
        inputs = graph[node_id].get("inputs", {}).values()
        waiting += [value[0] for value in inputs if isinstance(value, list) and len(value) == 2]
    return needed
