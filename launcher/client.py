"""ComfyUI's HTTP and WebSocket API: queue a workflow, follow it, collect what it made."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .websocket import WebSocket

Graph = dict[str, dict[str, Any]]
Event = Callable[[str, dict[str, Any]], None]


class ServerGone(ConnectionError):
    """The server does not answer any more."""


class PromptRefused(ValueError):
    """The server's validation refused a workflow before running any of it.

    `error` is the server's error object, `node_errors` its per-node details.
    """

    def __init__(self, error: dict[str, Any], node_errors: dict[str, Any]) -> None:
        self.error = error
        self.node_errors = node_errors
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        lines = [self.error.get("message") or "The server refused the workflow."]
        if not self.node_errors and self.error.get("details"):
            lines.append(f"  {self.error['details']}")
        for node_id, problem in self.node_errors.items():
            for item in problem.get("errors", []):
                details = f": {item['details']}" if item.get("details") else ""
                lines.append(
                    f"  node {node_id} ({problem.get('class_type', '?')}): {item.get('message', '?')}{details}"
                )
        return lines

    @property
    def messages(self) -> list[str]:
        """Every message and detail of every node, in one flat list."""
        items = [self.error] + [e for problem in self.node_errors.values() for e in problem.get("errors", [])]
        return [f"{item.get('message', '')} {item.get('details', '')}".strip() for item in items]


class ExecutionFailed(RuntimeError):
    """A node raised while the workflow ran (or the run was interrupted: `interrupted`)."""

    def __init__(self, data: dict[str, Any], interrupted: bool = False) -> None:
        self.node_id = str(data.get("node_id", ""))
        self.node_type = data.get("node_type", "")
        self.exception_type = data.get("exception_type", "")
        self.message = (data.get("exception_message") or "").strip()
        self.traceback = "".join(data.get("traceback") or [])
        self.interrupted = interrupted
        what = "was interrupted" if interrupted else f"failed: {self.exception_type}: {self.message}"
        super().__init__(f"node {self.node_id} ({self.node_type}) {what}")


@dataclass
class Result:
    """What a finished run left in the server's history."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]  # node id -> what that node reported ("images", "text", ...)
    status: dict[str, Any] = field(default_factory=dict)

    def entries(self, node_id: str | None = None) -> list[dict[str, Any]]:
        """The saved files ({"filename", "subfolder", "type"}) of one node, or of all."""
        nodes = self.outputs.values() if node_id is None else [self.outputs.get(node_id, {})]
        lists = (value for node in nodes for value in node.values() if isinstance(value, list))
        return [item for value in lists for item in value if isinstance(item, dict) and "filename" in item]


class ComfyClient:
    """One client of one ComfyUI server."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.client_id = uuid.uuid4().hex

    def request(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> tuple[int, bytes]:
        """One HTTP request; `body` is sent as JSON unless it is bytes. Gives status and answer."""
        # http.client, not urllib: a proxy from the environment must not come between us and 127.0.0.1.
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        raw = isinstance(body, bytes)
        data = body if raw or body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/octet-stream" if raw else "application/json"}
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServerGone(f"ComfyUI on port {self.port} does not answer: {error}") from error
        finally:
            connection.close()

    def get(self, path: str, timeout: float = 60.0) -> Any:
        """GET a path that answers with JSON."""
        status, answer = self.request("GET", path, timeout=timeout)
        if status != 200:
            raise RuntimeError(f"GET {path}: the server answered {status}: {answer[:300].decode('utf-8', 'replace')}")
        return json.loads(answer)

    def object_info(self) -> dict[str, Any]:
        """What every installed node takes and gives, keyed by node type."""
        return self.get("/object_info")

    def view(self, entry: dict[str, Any]) -> bytes:
        """The bytes of a saved file, as named in a Result's entries."""
        query = urllib.parse.urlencode({key: entry.get(key, "") for key in ("filename", "subfolder", "type")})
        status, answer = self.request("GET", f"/view?{query}")
        if status != 200:
            raise RuntimeError(f"the server has no file {entry.get('filename')!r} ({status})")
        return answer

    def queue(self, graph: Graph, workflow: dict[str, Any] | None = None) -> str:
        """Queue an API-format graph and give its prompt id; PromptRefused when it is not valid.

        `workflow` is the graph-format twin that ComfyUI writes into the files it saves.
        """
        body: dict[str, Any] = {"prompt": graph, "client_id": self.client_id}
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        status, answer = self.request("POST", "/prompt", body)
        try:
            data = json.loads(answer)
        except ValueError:
            data = {"error": {"message": f"the server answered {status}: {answer[:300].decode('utf-8', 'replace')}"}}
        if status != 200 or "prompt_id" not in data:
            raise PromptRefused(_as_error(data.get("error")), data.get("node_errors") or {})
        if data.get("node_errors"):
            # The server runs what it can and drops the other outputs; nobody asked for half a workflow.
            self.request("POST", "/queue", {"delete": [data["prompt_id"]]})
            self.interrupt(data["prompt_id"])
            raise PromptRefused({"message": "Some outputs of the workflow are not valid."}, data["node_errors"])
        return data["prompt_id"]

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Stop the running prompt (only if it is the one named)."""
        self.request("POST", "/interrupt", {} if prompt_id is None else {"prompt_id": prompt_id})

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The server's record of a finished prompt, or None."""
        return self.get(f"/history/{prompt_id}").get(prompt_id)

    def run(
        self,
        graph: Graph,
        workflow: dict[str, Any] | None = None,
        on_event: Event | None = None,
        timeout: float = 600.0,
    ) -> Result:
        """Queue a graph, follow it to its end and give its result.

        `on_event(type, data)` hears every message that concerns this run; preview pictures come as
        ("preview", {"bytes": ...}). Raises PromptRefused, ExecutionFailed, TimeoutError or ServerGone.
        """
        try:
            socket = WebSocket(self.host, self.port, f"/ws?clientId={self.client_id}")
        except OSError as error:
            raise ServerGone(f"ComfyUI on port {self.port} does not answer: {error}") from error
        try:
            prompt_id = self.queue(graph, workflow)
            self._follow(socket, prompt_id, on_event or (lambda kind, data: None), time.monotonic() + timeout)
        except (ServerGone, TimeoutError):
            raise
        except OSError as error:
            raise ServerGone(f"ComfyUI stopped answering: {error}") from error
        finally:
            socket.close()
        return self._result(prompt_id)

    def _follow(self, socket: WebSocket, prompt_id: str, on_event: Event, deadline: float) -> None:
        while True:
            if time.monotonic() > deadline:
                self.interrupt(prompt_id)
                raise TimeoutError(f"the workflow was not finished in time (prompt {prompt_id}); it was interrupted")
            message = socket.receive(timeout=1.0)
            if message is None:
                continue
            if isinstance(message, bytes):
                on_event("preview", {"bytes": message})
                continue
            event = json.loads(message)
            kind, data = event.get("type", ""), event.get("data") or {}
            if data.get("prompt_id", prompt_id) != prompt_id:
                continue
            on_event(kind, data)
            if kind in ("execution_error", "execution_interrupted"):
                raise ExecutionFailed(data, interrupted=kind == "execution_interrupted")
            if kind == "execution_success":
                return

    def _result(self, prompt_id: str) -> Result:
        # The success message is sent a moment before the run is put into the history.
        deadline = time.monotonic() + 10
        while (record := self.history(prompt_id)) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server has no record of the finished prompt {prompt_id}")
            time.sleep(0.02)
        return Result(prompt_id, record.get("outputs") or {}, record.get("status") or {})


def _as_error(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"message": str(value or "The server refused the workflow.")}
