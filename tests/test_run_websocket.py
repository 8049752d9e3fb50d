"""The WebSocket client against a server that speaks the protocol byte by byte."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from launcher.websocket import WebSocket, WebSocketError

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


def frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    """A server's frame: never masked."""
    first = (0x80 if final else 0) | opcode
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    if len(payload) < 1 << 16:
        return bytes([first, 126]) + struct.pack(">H", len(payload)) + payload
    return bytes([first, 127]) + struct.pack(">Q", len(payload)) + payload


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        self.key = next(l.split(b": ")[1] for l in request.split(b"\r\n") if l.lower().startswith(b"sec-websocket-key"))

    def accept(self, extra: bytes = b"") -> None:
        digest = hashlib.sha1(self.key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        )
        self.connection.sendall(head + base64.b64encode(digest) + b"\r\n\r\n" + extra)

    def read_frame(self) -> tuple[int, bytes]:
        """One frame of the client, which must be masked."""
        first, second = self._exactly(2)
        assert second & 0x80, "a client has to mask its frames"
        length = second & 0x7F
        if length == 126:
            length = struct.unpack(">H", self._exactly(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self._exactly(8))[0]
        mask = self._exactly(4)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(self._exactly(length)))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += self.connection.recv(count - len(data))
        return data


@pytest.fixture
def connect():
    """connect(script) -> WebSocket whose server runs script(peer); what the script finds wrong fails the test."""
    listener = socket.create_server(("127.0.0.1", 0))
    problems: list[BaseException] = []
    threads: list[threading.Thread] = []

    def start(script: Callable[[Peer], None]) -> WebSocket:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    script(Peer(connection))
                except BaseException as problem:
                    problems.append(problem)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return WebSocket("127.0.0.1", listener.getsockname()[1], "/ws?clientId=x", timeout=10)

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    listener.close()
    if problems:
        raise problems[0]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 300_000])
def test_messages_of_every_length_class(connect, size):
    payload = bytes(i % 251 for i in range(size))

    def script(peer: Peer) -> None:
        peer.accept()
        peer.connection.sendall(frame(BINARY, payload) + frame(TEXT, b"x" * size))

    websocket = connect(script)
    assert websocket.receive(5) == payload
    assert websocket.receive(5) == "x" * size
    websocket.close()


def test_fragments_are_joined_with_a_ping_in_between(connect):
    text = "Große Zoomfahrt \U0001f30d".encode()

    def script(peer: Peer) -> None:
        # The first frame comes together with the handshake, cut in the middle of a character.
        peer.accept(frame(TEXT, text[:4], final=False))
        peer.connection.sendall(frame(PING, b"are you there") + frame(CONTINUATION, text[4:9], final=False))
        assert peer.read_frame() == (PONG, b"are you there")
        peer.connection.sendall(frame(CONTINUATION, text[9:]))

    assert connect(script).receive(5) == text.decode()


def test_a_timeout_in_the_middle_of_a_frame_loses_nothing(connect):
    go_on = threading.Event()
    message = frame(TEXT, b"slow but whole")

    def script(peer: Peer) -> None:
        peer.accept()
        peer.connection.sendall(message[:7])
        go_on.wait(10)
        peer.connection.sendall(message[7:])

    websocket = connect(script)
    assert websocket.receive(0.2) is None
    go_on.set()
    assert websocket.receive(5) == "slow but whole"


@pytest.mark.parametrize("size", [5, 200, 70_000])
def test_what_the_client_sends_is_masked_and_whole(connect, size):
    def script(peer: Peer) -> None:
        peer.accept()
        assert peer.read_frame() == (TEXT, ("é" * size).encode())
        assert peer.read_frame() == (CLOSE, struct.pack(">H", 1000))

    websocket = connect(script)
    websocket.send_text("é" * size)
    websocket.close()


def test_a_close_is_answered_and_reported(connect):
    def script(peer: Peer) -> None:
        peer.accept()
        peer.connection.sendall(frame(CLOSE, struct.pack(">H", 1001) + b"bye"))
        assert peer.read_frame() == (CLOSE, struct.pack(">H", 1001))

    with pytest.raises(WebSocketError, match="closed"):
        connect(script).receive(5)


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (frame(CONTINUATION, b"no beginning"), "out of order"),
        (frame(TEXT, b"one", final=False) + frame(TEXT, b"two"), "out of order"),
        (bytes([0xC1, 1]) + b"x", "extension"),
        (bytes([0x81, 0x81]) + b"mask" + b"x", "masked"),
        (frame(3, b""), "unknown"),
        (b"", "hung up"),
    ],
)
def test_a_broken_stream_is_an_error(connect, sent, complaint):
    def script(peer: Peer) -> None:
        peer.accept()
        peer.connection.sendall(sent)

    with pytest.raises(WebSocketError, match=complaint):
        connect(script).receive(5)


def test_a_refusal_and_a_wrong_key_are_errors(connect):
    with pytest.raises(WebSocketError, match="refused.*403"):
        connect(lambda peer: peer.connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n"))

    def wrong_key(peer: Peer) -> None:
        peer.key = b"another"
        peer.accept()

    with pytest.raises(WebSocketError, match="not for our key"):
        connect(wrong_key)
