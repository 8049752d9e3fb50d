"""The progress of a run, as a line on the console, from the messages that the server sends."""

from __future__ import annotations

from typing import Any

from .client import Graph
from .console import Status, bar


class RunProgress:
    """Call it with every event of a run; it keeps the status line up to date."""

    def __init__(self, graph: Graph, status: Status) -> None:
        self._titles = {node_id: node.get("_meta", {}).get("title") or node["class_type"] for node_id, node in graph.items()}
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
            self._show()

    def _enter(self, node_id: str) -> None:
        if self._current in self._titles and node_id != self._current:
            self._done.add(self._current)
        self._current, self._fraction = node_id, 0.0
        self._show()

    def _show(self, steps: str = "") -> None:
        finished = len(self._done) + (self._fraction if self._current not in self._done else 0)
        title = self._titles.get(self._current, "")
        text = f"{bar(finished / max(1, len(self._titles)))} {len(self._done)}/{len(self._titles)} nodes  {title}  {steps}"
        self._status.show(text.rstrip(), topic=title)
