"""
HTTP clients that read as fast, or as badly, as they are told to; and the L{ScriptedOrigin} that they ask through a proxy.

They check every byte of a body when it comes, so that none has to be kept.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from http_origin import content

PATIENCE = 30.0


class Broken(Exception):
    """A response that ended before its end."""


@attrs.frozen
class Pace:
    """
    How a client reads.

    @ivar most: bytes of one read.
    @ivar pause: seconds after each C{every} reads.
    @ivar window: bytes that its kernel takes for it (SO_RCVBUF), 0 for the system's.
    """

    most: int = 256 * 1024
    pause: float = 0.0
    every: int = 32
    window: int = 0


FAST = Pace()
SLOW = Pace(most=4096, pause=0.03, every=512, window=8 * 1024)
#: It reads as fast as it can, but what it has not read waits elsewhere.
STALLING = Pace(window=32 * 1024)


@attrs.frozen
class Head:
    """
    @ivar status: of the response.
    @ivar line: its first line.
    @ivar fields: name, in lower case, and value.
    """

    status: int
    line: str
    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        values = [value for each, value in self.fields if each == name]
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def framing(self) -> str:
        """C{length}, C{chunked} or C{close}; both of the first at once is nothing that may come."""
        chunked, length = self.get("transfer-encoding"), self.get("content-length")
        assert chunked in (None, "chunked"), chunked
        assert chunked is None or length is None, "it has a length and chunks"
        return "chunked" if chunked else "length" if length is not None else "close"


class Client:
    """A connection to a proxy on loopback, for one request after the other."""

    def __init__(self, port: int, pace: Pace = FAST) -> None:
        self.sock = socket.socket()
        if pace.window:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, pace.window)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pace = pace
        self._held = b""
        self._reads = 0
        #: of the last body that came in chunks
        self.trailers: list[bytes] = []
        #: called after each read
        self.watching: Callable[[], object] = lambda: None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    # asking

    def ask(self, target: str, method: str = "GET", fields: str = "", minor: int = 1) -> None:
        """Send a request without a body, or the head of one."""
        self.sock.sendall(f"{method} {target} HTTP/1.{minor}\r\nHost: example.test\r\n{fields}\r\n".encode())

    def upload(self, target: str, size: int, chunk: int = 0, part: int = 64 * 1024) -> None:
        """Send a request with a body of C{content}, in chunks if C{chunk}."""
        self.ask(target, "POST", "Transfer-Encoding: chunked\r\n" if chunk else f"Content-Length: {size}\r\n")
        at = 0
        while at < size:
            data = content(at, min(size - at, chunk or part))
            self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data) if chunk else data)
            at += len(data)
        if chunk:
            self.sock.sendall(b"0\r\n\r\n")

    def leave(self) -> None:
        """Vanish: the other side learns of it at once."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # reading

    def _read(self) -> bytes:
        """The next bytes, C{b""} for the end."""
        data = self.sock.recv(self._pace.most)
        self._reads += 1
        if self._pace.pause and not self._reads % self._pace.every:
            time.sleep(self._pace.pause)
        self.watching()
        return data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            data = self._read()
            if not data:
                raise Broken(f"the end came, and not {mark!r}, after {self._held[-100:]!r}")
            self._held += data
        found, _, self._held = self._held.partition(mark)
        return found

    def head(self) -> Head:
        first, *rest = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in rest))
        return Head(int(first.split(" ")[1]), first, fields)

    def _length_parts(self, left: int) -> Iterator[bytes]:
        while left:
            data = self._held or self._read()
            if not data:
                raise Broken(f"the end came {left} bytes too early")
            self._held, data = data[left:], data[:left]
            left -= len(data)
            yield data

    def _chunked_parts(self) -> Iterator[bytes]:
        while size := int(self._until(b"\r\n"), 16):
            yield from self._length_parts(size)
            if self._until(b"\r\n"):
                raise Broken("a chunk does not end where it should")
        self.trailers = []
        while line := self._until(b"\r\n"):
            self.trailers.append(line)

    def _rest(self) -> Iterator[bytes]:
        data, self._held = self._held, b""
        while data or (data := self._read()):
            yield data
            data = b""

    def parts(self, head: Head) -> Iterator[bytes]:
        """
        The body as it comes.

        @raise Broken: it ends before its end; so does a C{ConnectionResetError}.
        """
        if head.framing == "length":
            return self._length_parts(int(head.get("content-length") or 0))
        return self._chunked_parts() if head.framing == "chunked" else self._rest()

    def body(self, head: Head) -> bytes:
        """All of a small body."""
        return b"".join(self.parts(head))

    def check_body(self, head: Head) -> int:
        """
        Read the body, and compare it with C{content}.

        @return: its bytes.
        """
        at = 0
        for part in self.parts(head):
            begin = 0
            while begin < len(part):
                expected = content(at, len(part) - begin)
                if part[begin : begin + len(expected)] != expected:
                    raise AssertionError(f"wrong bytes between {at} and {at + len(expected)}")
                begin += len(expected)
                at += len(expected)
        return at

    @property
    def more(self) -> bytes:
        """What came behind the response."""
        return self._held

    def ended(self) -> bool:
        """Whether the proxy has closed the connection, and nothing else came."""
        return not self._held and self.sock.recv(1) == b""


@attrs.frozen
class ScriptedOrigin:
    """
    L{http_origin}, running.

    @ivar port: where it serves.
    @ivar told: where it says what it has seen.
    """

    process: subprocess.Popen[bytes]
    port: int
    told: int

    @classmethod
    def start(cls, *paths: str) -> ScriptedOrigin:
        """
        @param paths: of UNIX sockets where it listens, too.
        """
        command = [sys.executable, str(Path(__file__).with_name("http_origin.py")), *paths]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        port, told = process.stdout.readline().split()
        return cls(process, int(port), int(told))

    def seen(self) -> dict[str, Any]:
        """C{accepted}, C{open} and C{requests}; see L{http_origin.Origin}."""
        with socket.create_connection(("127.0.0.1", self.told), timeout=PATIENCE) as connection:
            report: dict[str, Any] = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
        return report

    def request(self, name: str) -> dict[str, Any]:
        """The last request of that name, C{{}} if there was none; see L{http_origin.Seen}."""
        named = [each for each in self.seen()["requests"] if each["name"] == name]
        return named[-1] if named else {}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(60)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
