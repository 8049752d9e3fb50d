"""A WebSocket client (RFC 6455) that is just large enough for ComfyUI's event stream."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct

_HANDSHAKE_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_MAX_HEADER = 64 * 1024


class WebSocketError(ConnectionError):
    """The peer broke the protocol or went away."""


class WebSocket:
    """A client connection. `receive` gives whole messages: str for text, bytes for binary.

    Pings are answered and fragments joined inside `receive`.
    """

    def __init__(self, host: str, port: int, path: str, timeout: float = 10.0) -> None:
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._kind = _CONTINUATION
        self._socket = socket.create_connection((host, port), timeout=timeout)
        try:
            self._handshake(host, port, path)
        except BaseException:
            self._socket.close()
            raise

    def _handshake(self, host: str, port: int, path: str) -> None:
        key = base64.b64encode(os.urandom(16))
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._socket.sendall(request.encode())
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > _MAX_HEADER:
                raise WebSocketError("the server's answer to the WebSocket handshake has no end")
            self._fill()
        header, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        status, *lines = header.split(b"\r\n")
        if status.split(b" ")[1:2] != [b"101"]:
            raise WebSocketError(f"the server refused the WebSocket: {status.decode('latin-1')}")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        expected = base64.b64encode(hashlib.sha1(key + _HANDSHAKE_GUID).digest())
        if fields.get(b"sec-websocket-accept") != expected:
            raise WebSocketError("the server's answer to the WebSocket handshake is not for our key")

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next message, or None when nothing whole came within `timeout` seconds.

        Raises WebSocketError when the connection is closed.
        """
        self._socket.settimeout(timeout)
        while True:
            try:
                final, opcode, payload = self._frame()
            except TimeoutError:
                return None
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode == _CLOSE:
                self._send(_CLOSE, payload[:2])
                raise WebSocketError("the server closed the connection")
            elif opcode in (_TEXT, _BINARY, _CONTINUATION):
                if (opcode == _CONTINUATION) != bool(self._kind):
                    raise WebSocketError("a WebSocket fragment came out of order")
                self._kind = self._kind or opcode
                self._parts.append(payload)
                if final:
                    message, kind = b"".join(self._parts), self._kind
                    self._parts, self._kind = [], _CONTINUATION
                    return message.decode("utf-8") if kind == _TEXT else message
            elif opcode != _PONG:
                raise WebSocketError(f"unknown WebSocket frame type {opcode}")

    def send_text(self, text: str) -> None:
        """Send one text message."""
        self._send(_TEXT, text.encode("utf-8"))

    def close(self) -> None:
        """Say goodbye, if the other side still listens, and close the socket."""
        try:
            self._send(_CLOSE, struct.pack(">H", 1000))
        except OSError:
            pass
        self._socket.close()

    def _frame(self) -> tuple[bool, int, bytes]:
        # Bytes are only taken from the buffer once the frame is whole, so a timeout loses nothing.
        self._need(2)
        final, opcode = bool(self._buffer[0] & 0x80), self._buffer[0] & 0x0F
        if self._buffer[0] & 0x70:
            raise WebSocketError("the server uses a WebSocket extension that was not asked for")
        if self._buffer[1] & 0x80:
            raise WebSocketError("the server sent a masked WebSocket frame")
        length, start = self._buffer[1] & 0x7F, 2
        if length == 126:
            self._need(4)
            length, start = struct.unpack(">H", self._buffer[2:4])[0], 4
        elif length == 127:
            self._need(10)
            length, start = struct.unpack(">Q", self._buffer[2:10])[0], 10
        self._need(start + length)
        payload = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return final, opcode, payload

    def _need(self, count: int) -> None:
        while len(self._buffer) < count:
            self._fill()

    def _fill(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise WebSocketError("the server hung up")
        self._buffer += data

    def _send(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = struct.pack(">BB", 0x80 | opcode, 0x80 | length)
        elif length < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, length)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._socket.sendall(head + mask + masked)
