"""ComfyUI's HTTP and WebSocket API: queue a workflow, follow it, collect what it made."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from .console import Problem
from .workflow import Graph

Answer = TypeVar("Answer")
Event = Callable[[str, dict[str, Any]], None]

CHECK_ROUTE = "/zoom-stack/validate"  # the pack's own: validates a prompt without queueing it


class ServerGone(ConnectionError):
    """The server does not answer any more."""


class PromptRefused(Problem):
    """The server's validation refused a workflow before running any of it.

    `node_errors` is what the server says about nodes, `messages` a flat list of all that it says.
    """

    def __init__(self, answer: dict[str, Any]) -> None:
        self.node_errors = answer.get("node_errors") or {}
        error = answer.get("error") or "Some outputs of the workflow are not valid."
        whole = error if isinstance(error, dict) else {"message": error}
        # The details of the whole only repeat those of the nodes.
        self.messages = [_said({"message": whole.get("message")} if self.node_errors else whole)]
        for node_id, node in self.node_errors.items():
            where = f"node {node_id} ({node.get('class_type', '?')})"
            self.messages += [f"{where}: {_said(item)}" for item in node.get("errors", [])]
        super().__init__("\n  ".join(["ComfyUI does not accept the workflow:", *self.messages]))


def _said(item: dict[str, Any]) -> str:
    return ": ".join(str(item[key]) for key in ("message", "details") if item.get(key))


class ExecutionFailed(Problem):
    """A node raised while the workflow ran (or the run was interrupted: `interrupted`)."""

    def __init__(self, data: dict[str, Any], graph: Graph, interrupted: bool) -> None:
        self.node_id = str(data.get("node_id", ""))
        self.node_type = data.get("node_type", "")
        self.exception_type = data.get("exception_type", "")
        self.message = (data.get("exception_message") or "").strip()
        self.traceback = "".join(data.get("traceback") or [])
        self.interrupted = interrupted
        what = "was interrupted" if interrupted else f"failed: {self.exception_type}: {self.message}"
        title = graph.get(self.node_id, {}).get("_meta", {}).get("title", self.node_id)
        super().__init__(f'The node "{title}" ({self.node_type}) {what}')


@dataclass
class Result:
    """What a finished run has reported."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]  # node id -> what that node reported ("images", "text", ...)

    def entries(self, node_id: str | None = None) -> list[dict[str, Any]]:
        """The saved files ({"filename", "subfolder", "type"}) of one node, or of all."""
        nodes = self.outputs.values() if node_id is None else [self.outputs.get(node_id, {})]
        lists = (value for node in nodes for value in node.values() if isinstance(value, list))
        return [item for value in lists for item in value if isinstance(item, dict) and "filename" in item]


class ComfyClient:
    """The ComfyUI server at `url`. Its methods block; they may be called from any thread that runs no event loop."""

    def __init__(self, url: str) -> None:
        self.url = url

    def request(self, method: str, path: str, timeout: float = 60.0, **content: Any) -> tuple[int, bytes]:
        """One HTTP request, with `json` or `data` as aiohttp takes it. Gives status and answer."""
        return _finish(self._request(method, path, timeout, content))

    async def _request(self, method: str, path: str, timeout: float, content: dict[str, Any]) -> tuple[int, bytes]:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
                session.request(method, self.url + path, **content) as answer,
            ):
                return answer.status, await answer.read()
        except (OSError, aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise self._gone(str(error) or f"no answer within {timeout:g} s") from error

    def _gone(self, reason: str) -> ServerGone:
        return ServerGone(f"ComfyUI at {self.url} does not answer: {reason}")

    def download(self, path: str, timeout: float = 60.0) -> bytes:
        """What the server has at a path."""
        status, answer = self.request("GET", path, timeout)
        if status != 200:
            raise RuntimeError(f"GET {path}: {_unexpected(status, answer)}")
        return answer

    def get(self, path: str, timeout: float = 60.0) -> Any:
        """GET a path that answers with JSON."""
        return json.loads(self.download(path, timeout))

    def answers(self, timeout: float = 5.0) -> bool:
        """Whether there is a ComfyUI that is ready."""
        try:
            return bool(self.get("/system_stats", timeout))
        except (ServerGone, RuntimeError, ValueError):
            return False

    def object_info(self) -> dict[str, Any]:
        """What every installed node takes and gives, keyed by node type."""
        return self.get("/object_info")

    def view(self, entry: dict[str, Any]) -> bytes:
        """The bytes of a saved file, as named in a Result's entries."""
        query = urllib.parse.urlencode({key: entry.get(key, "") for key in ("filename", "subfolder", "type")})
        return self.download(f"/view?{query}", timeout=600)

    def check(self, graph: Graph) -> None:
        """PromptRefused when any output of the graph is not valid; needs this pack on the server, else does nothing."""
        answer = _graph_answer(*self.request("POST", CHECK_ROUTE, json={"prompt": graph}))
        if answer.get("node_errors"):
            raise PromptRefused(answer)

    def cancel(self, prompt_id: str, timeout: float = 60.0) -> None:
        """Take a prompt out of the queue, or stop it, and wait until the server is done with it."""
        deadline = time.monotonic() + timeout
        while any(prompt_id in item for items in self.get("/queue").values() for item in items):
            self.request("POST", "/queue", json={"delete": [prompt_id]})
            self.request("POST", "/interrupt", json={"prompt_id": prompt_id})
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)

    def run(
        self, graph: Graph, on_event: Event = lambda kind, data: None, timeout: float = 600.0, **metadata: Any
    ) -> Result:
        """Queue a graph, follow it to its end and give its result.

        `metadata` is written into the files that ComfyUI saves; the browser looks for `workflow` there, the graph's
        other format.
        `on_event(type, data)` hears every message that concerns this run; preview pictures come as
        ("preview", {"bytes": ...}). Raises PromptRefused, ExecutionFailed, TimeoutError or ServerGone.
        """
        self.check(graph)
        return _finish(self._run(graph, metadata, on_event, timeout))

    async def _run(self, graph: Graph, metadata: dict[str, Any], on_event: Event, timeout: float) -> Result:
        name = uuid.uuid4().hex
        content = {"prompt": graph, "client_id": name, "extra_data": {"extra_pnginfo": metadata}}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=60)) as session,
                session.ws_connect(f"{self.url}/ws?clientId={name}", max_msg_size=0) as socket,
            ):
                # Queued only now, so that no message is missed.
                answer = _graph_answer(*await self._request("POST", "/prompt", 60.0, {"json": content}))
                result = Result(answer.get("prompt_id", ""), {})
                if answer.get("node_errors") or not result.prompt_id:
                    # A server without our check runs what it can and drops the rest; nobody asked for half a workflow.
                    await asyncio.to_thread(self.cancel, result.prompt_id)
                    raise PromptRefused(answer)
                try:
                    await asyncio.wait_for(self._follow(socket, graph, result, on_event), timeout)
                except asyncio.TimeoutError:
                    await asyncio.to_thread(self.cancel, result.prompt_id)
                    message = f"the workflow was not finished within {timeout:g} s (prompt {result.prompt_id})"
                    raise TimeoutError(f"{message}; it was interrupted") from None
                return result
        except aiohttp.ClientError as error:
            raise self._gone(str(error)) from error

    async def _follow(
        self, socket: aiohttp.ClientWebSocketResponse, graph: Graph, result: Result, on_event: Event
    ) -> None:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                on_event("preview", {"bytes": message.data})
                continue
            event = json.loads(message.data)
            kind, data = event.get("type", ""), event.get("data") or {}
            if data.get("prompt_id", result.prompt_id) != result.prompt_id:
                continue
            if kind == "executing" and data.get("node") is None:
                return  # it is in the history by now
            on_event(kind, data)
            if kind == "executed" and data.get("output"):
                result.outputs[data["node"]] = data["output"]
            elif kind in ("execution_error", "execution_interrupted"):
                raise ExecutionFailed(data, graph, interrupted=kind == "execution_interrupted")
        raise self._gone("it hung up in the middle of the workflow")


def _finish(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """`asyncio.run`, but a signal that raises in one of its tasks reaches the caller and is not told as well."""

    async def finish() -> Answer:
        asyncio.get_running_loop().set_exception_handler(_tell_errors)
        return await coroutine

    return asyncio.run(finish())


def _tell_errors(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), KeyboardInterrupt):
        loop.default_exception_handler(context)


def _graph_answer(status: int, answer: bytes) -> dict[str, Any]:
    """What the server says to a graph, which is JSON unless something is wrong with the server."""
    try:
        return json.loads(answer)
    except ValueError:
        return {"error": _unexpected(status, answer)}


def _unexpected(status: int, answer: bytes) -> str:
    return f"The server answered {status}: {answer[:300].decode('utf-8', 'replace')}"
