"""ComfyUI's HTTP and WebSocket API: queue a workflow, follow it, collect what it made."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any

import aiohttp

Graph = dict[str, dict[str, Any]]
Event = Callable[[str, dict[str, Any]], None]

CHECK_ROUTE = "/zoom-stack/validate"  # the pack's own: validates a prompt without queueing it
_REFUSED, _HALF = "The server refused the workflow.", "Some outputs of the workflow are not valid."


class ServerGone(ConnectionError):
    """The server does not answer any more."""


class PromptRefused(ValueError):
    """The server's validation refused a workflow before running any of it.

    `error` is the server's error object, `node_errors` its per-node details, `messages` a flat list of both.
    """

    def __init__(self, error: Any, node_errors: dict[str, Any]) -> None:
        self.error = error if isinstance(error, dict) else {"message": str(error)}
        self.node_errors = node_errors
        found = [
            (f"  node {node_id} ({node.get('class_type', '?')}): ", item)
            for node_id, node in node_errors.items()
            for item in node.get("errors", [])
        ]
        # The details of the whole only repeat those of the nodes.
        own = {"message": self.error.get("message")} if found else self.error
        self.messages = [_said(item) for item in [self.error, *(item for _, item in found)]]
        super().__init__("\n".join([_said(own), *(where + _said(item) for where, item in found)]))


def _said(item: dict[str, Any]) -> str:
    return ": ".join(str(item[key]) for key in ("message", "details") if item.get(key)) or _REFUSED


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

    def entries(self, node_id: str | None = None) -> list[dict[str, Any]]:
        """The saved files ({"filename", "subfolder", "type"}) of one node, or of all."""
        nodes = self.outputs.values() if node_id is None else [self.outputs.get(node_id, {})]
        lists = (value for node in nodes for value in node.values() if isinstance(value, list))
        return [item for value in lists for item in value if isinstance(item, dict) and "filename" in item]


class ComfyClient:
    """One client of one ComfyUI server. Its methods block; they may be called from any thread."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.client_id = uuid.uuid4().hex
        self._address = f"http://{host}:{port}"

    def request(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> tuple[int, bytes]:
        """One HTTP request; `body` is sent as JSON unless it is bytes or a form. Gives status and answer."""
        return _wait(self._request(method, path, body, timeout))

    async def _request(self, method: str, path: str, body: Any, timeout: float) -> tuple[int, bytes]:
        plain = body is None or isinstance(body, (bytes, aiohttp.FormData))
        data, document = (body, None) if plain else (None, body)
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session:
                async with session.request(method, self._address + path, data=data, json=document) as answer:
                    return answer.status, await answer.read()
        except (OSError, aiohttp.ClientError, asyncio.TimeoutError) as error:
            reason = str(error) or f"no answer within {timeout:g} s"
            raise ServerGone(f"ComfyUI at {self._address} does not answer: {reason}") from error

    def get(self, path: str, timeout: float = 60.0) -> Any:
        """GET a path that answers with JSON."""
        return json.loads(self._content(path, timeout))

    def _content(self, path: str, timeout: float) -> bytes:
        status, answer = self.request("GET", path, timeout=timeout)
        if status != 200:
            raise RuntimeError(f"GET {path}: the server answered {status}: {_text(answer)}")
        return answer

    def object_info(self) -> dict[str, Any]:
        """What every installed node takes and gives, keyed by node type."""
        return self.get("/object_info")

    def view(self, entry: dict[str, Any]) -> bytes:
        """The bytes of a saved file, as named in a Result's entries."""
        query = urllib.parse.urlencode({key: entry.get(key, "") for key in ("filename", "subfolder", "type")})
        return self._content(f"/view?{query}", timeout=600)

    def check(self, graph: Graph) -> None:
        """PromptRefused when any output of the graph is not valid; needs this pack on the server, else does nothing."""
        status, answer = self.request("POST", CHECK_ROUTE, {"prompt": graph})
        data = _as_json(answer)
        if status == 200 and data.get("node_errors"):
            raise PromptRefused(data.get("error") or _HALF, data["node_errors"])

    def queue(self, graph: Graph, **metadata: Any) -> str:
        """Queue an API-format graph and give its prompt id; PromptRefused when it is not valid.

        `metadata` is what ComfyUI writes into the files it saves.
        """
        self.check(graph)
        body = {"prompt": graph, "client_id": self.client_id, "extra_data": {"extra_pnginfo": metadata}}
        status, answer = self.request("POST", "/prompt", body)
        data = _as_json(answer)
        if status != 200 or "prompt_id" not in data:
            error = data.get("error") or f"The server answered {status}: {_text(answer)}"
            raise PromptRefused(error, data.get("node_errors") or {})
        if data.get("node_errors"):
            # A server without our check runs what it can and drops the other outputs; nobody asked for half a workflow.
            self.cancel(data["prompt_id"])
            raise PromptRefused(_HALF, data["node_errors"])
        return data["prompt_id"]

    def cancel(self, prompt_id: str, timeout: float = 60.0) -> None:
        """Take a prompt out of the queue, or stop it, and wait until the server is done with it."""
        deadline = time.monotonic() + timeout
        while any(prompt_id in item for items in self.get("/queue").values() for item in items):
            self.request("POST", "/queue", {"delete": [prompt_id]})
            self.interrupt(prompt_id)
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Stop the running prompt (only if it is the one named)."""
        self.request("POST", "/interrupt", {} if prompt_id is None else {"prompt_id": prompt_id})

    def run(
        self,
        graph: Graph,
        workflow: dict[str, Any] | None = None,
        on_event: Event | None = None,
        timeout: float = 600.0,
        **metadata: Any,
    ) -> Result:
        """Queue a graph, follow it to its end and give its result.

        `workflow`, the graph's other format, and `metadata` are written into the files that ComfyUI saves.
        `on_event(type, data)` hears every message that concerns this run; preview pictures come as
        ("preview", {"bytes": ...}). Raises PromptRefused, ExecutionFailed, TimeoutError or ServerGone.
        """
        metadata |= {} if workflow is None else {"workflow": workflow}
        prompt_id = _wait(self._run(graph, metadata, on_event or (lambda kind, data: None), timeout))
        # The success message is sent a moment before the run is put into the history.
        deadline = time.monotonic() + 60
        while (record := self.get(f"/history/{prompt_id}").get(prompt_id)) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server has no record of the finished prompt {prompt_id}")
            time.sleep(0.02)
        return Result(prompt_id, record.get("outputs") or {})

    async def _run(self, graph: Graph, metadata: dict[str, Any], on_event: Event, timeout: float) -> str:
        # Connected before it is queued, so that no message is missed.
        url = f"{self._address}/ws?clientId={self.client_id}"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=60)) as session,
                session.ws_connect(url, max_msg_size=0) as socket,
            ):
                prompt_id = await asyncio.to_thread(self.queue, graph, **metadata)
                try:
                    await asyncio.wait_for(self._follow(socket, prompt_id, on_event), timeout)
                except asyncio.TimeoutError:
                    await asyncio.to_thread(self.interrupt, prompt_id)
                    message = f"the workflow was not finished within {timeout:g} s (prompt {prompt_id})"
                    raise TimeoutError(f"{message}; it was interrupted") from None
                return prompt_id
        except aiohttp.ClientError as error:
            raise ServerGone(f"ComfyUI at {self._address} does not answer: {error}") from error

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse, prompt_id: str, on_event: Event) -> None:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                on_event("preview", {"bytes": message.data})
                continue
            event = json.loads(message.data)
            kind, data = event.get("type", ""), event.get("data") or {}
            if data.get("prompt_id", prompt_id) != prompt_id:
                continue
            on_event(kind, data)
            if kind in ("execution_error", "execution_interrupted"):
                raise ExecutionFailed(data, interrupted=kind == "execution_interrupted")
            if kind == "execution_success":
                return
        raise ServerGone(f"ComfyUI at {self._address} hung up in the middle of the workflow")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One event loop in a thread of its own: the callers' threads may run another (Playwright does)."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="comfy-client", daemon=True).start()
    return loop


def _wait(coroutine: Coroutine) -> Any:
    """The result of a coroutine; Ctrl-C is heard while waiting, on Windows too, and cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        while not future.done():
            concurrent.futures.wait([future], timeout=0.5)
        return future.result()
    finally:
        future.cancel()


def _as_json(answer: bytes) -> dict[str, Any]:
    try:
        data = json.loads(answer)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _text(answer: bytes) -> str:
    return answer[:300].decode("utf-8", "replace")
