"""
A web server that does what it is asked to, in a process of its own. With paths as its arguments it also listens there.

Its first line of output has two ports: of the server, and one where whoever connects is told in JSON what has been seen so far.

The path of a request does not matter, but for C{/upload}: there the answer says in JSON what came of the request's body, and
whether it was what it has to be. The query says how to answer; see L{Wish}. Bytes depend on their position (L{content}), so that
one that is lost, doubled or shifted is noticed.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import itertools
import json
import random
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import attrs
from processes import all_read

MIB = 1024 * 1024
PART = 256 * 1024
#: What all bodies are cut from. Its length is odd, so that no part of a body looks like another.
BLOCK = random.Random(0).randbytes(MIB + 7)
_TWICE = BLOCK * 2
PATIENCE = 60.0


def content(at: int, count: int) -> bytes:
    """At most C{count} bytes of a body from position C{at}; at most L{PART}."""
    start = at % len(BLOCK)
    return _TWICE[start : start + min(count, PART)]


def _yes(text: str | bool) -> bool:
    return text in ("1", True)


@attrs.frozen(kw_only=True)
class Wish:
    """
    How a request is to be answered.

    @ivar size: bytes of the body.
    @ivar framing: C{length}, C{chunked} or C{close}.
    @ivar chunk: bytes of a chunk.
    @ivar status: of the response.
    @ivar wait: seconds before the answer begins.
    @ivar stop: bytes of the body after which it breaks off; -1 for never.
    @ivar end: how: C{close}, C{reset}, or C{silence} until the other side closes.
    @ivar close: announce C{Connection: close}, and then do not close: who sends a second request has not heard it.
    @ivar surplus: bytes behind a body of known length that do not belong to it.
    @ivar events: as many server-sent events, the clock's time in each, instead of the body.
    @ivar pause: seconds between two events, or between two parts of the body.
    @ivar early: answer without having read the request's body, and close.
    @ivar buffering: the value of C{X-Accel-Buffering}; C{rate} that of C{X-Accel-Limit-Rate}.
    @ivar hints: how many responses C{103} come before the response.
    @ivar trailer: a field behind a chunked body.
    @ivar deaf: seconds before it begins to read the request's body.
    @ivar hangup: close the connection after the response, without having announced it.
    """

    size: int = attrs.field(default=0, converter=int)
    framing: str = "length"
    chunk: int = attrs.field(default=8000, converter=int)
    status: int = attrs.field(default=200, converter=int)
    wait: float = attrs.field(default=0.0, converter=float)
    stop: int = attrs.field(default=-1, converter=int)
    end: str = "close"
    close: bool = attrs.field(default=False, converter=_yes)
    surplus: int = attrs.field(default=0, converter=int)
    events: int = attrs.field(default=0, converter=int)
    pause: float = attrs.field(default=0.0, converter=float)
    early: bool = attrs.field(default=False, converter=_yes)
    buffering: str = ""
    rate: str = ""
    hints: int = attrs.field(default=0, converter=int)
    trailer: str = ""
    deaf: float = attrs.field(default=0.0, converter=float)
    hangup: bool = attrs.field(default=False, converter=_yes)


@attrs.define(kw_only=True)
class Seen:
    """
    One request, as the origin sees it.

    @ivar name: of the request, as it says itself by C{name=} in its query.
    @ivar connection: number of the connection it came on.
    @ivar method: its method.
    @ivar headers: its fields, names in lower case.
    @ivar late: it came on a connection of which the end was announced.
    @ivar sent: bytes of the response's body that the kernel took.
    @ivar done: the response was sent whole.
    @ivar problem: why it was not.
    """

    name: str
    connection: int
    method: str
    headers: dict[str, str]
    late: bool = False
    sent: int = 0
    done: bool = False
    problem: str = ""


@attrs.define
class Origin:
    """
    What has been seen.

    @ivar accepted: connections so far.
    @ivar open: connections now.
    @ivar requests: in their order.
    """

    accepted: int = 0
    open: int = 0
    requests: list[Seen] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def opened(self) -> int:
        with self._lock:
            self.accepted += 1
            self.open += 1
            return self.accepted

    def closed(self) -> None:
        with self._lock:
            self.open -= 1

    def report(self) -> bytes:
        requests = [attrs.asdict(each) for each in self.requests]
        return json.dumps({"accepted": self.accepted, "open": self.open, "requests": requests}).encode()


class Gone(Exception):
    """The other side ended in the middle of something."""


class Connection:
    """One connection, and its requests one after the other."""

    def __init__(self, origin: Origin, sock: socket.socket) -> None:
        self._origin = origin
        self._sock = sock
        self._file = sock.makefile("rb", 64 * 1024)
        self._number = origin.opened()
        self._announced = False

    def serve(self) -> None:
        try:
            with self._sock, self._file:
                while self._answer_one():
                    pass
        except (OSError, Gone):
            pass  # the requests say what happened
        finally:
            self._origin.closed()

    def _answer_one(self) -> bool:
        """Whether there may be another one."""
        line = self._file.readline()
        if not line:
            return False
        method, target, _ = line.decode("latin-1").split()
        path, _, query = target.partition("?")
        wishes = dict(parse_qsl(query))
        headers = dict(self._fields())
        name = wishes.pop("name", "")
        seen = Seen(name=name, connection=self._number, method=method, headers=headers, late=self._announced)
        self._origin.requests.append(seen)
        try:
            return self._carry_out(Wish(**wishes), path, seen)
        except (OSError, Gone) as error:
            seen.problem = str(error) or type(error).__name__
            raise

    def _fields(self) -> Iterator[tuple[str, str]]:
        while (line := self._file.readline().decode("latin-1")) not in ("\r\n", ""):
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()

    def _carry_out(self, wish: Wish, path: str, seen: Seen) -> bool:
        if wish.early:
            self._sock.sendall(b"HTTP/1.1 403 Early\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly")
            seen.done = True
            return False
        time.sleep(wish.deaf)
        body = self._take_body(seen, wish)
        time.sleep(wish.wait)
        if path.endswith("/upload"):
            data = json.dumps(body).encode()
            self._sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
            seen.done = True
            return True
        for _ in range(wish.hints):
            self._sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        self._sock.sendall(self._head(wish))
        if seen.method == "HEAD" or wish.status in (204, 304):
            seen.done = True
            return True
        if wish.events:
            self._send_events(wish)
        else:
            self._send_body(wish, seen)
        seen.done = wish.stop < 0
        self._announced = wish.close
        return wish.framing != "close" and wish.stop < 0 and not wish.hangup

    def _head(self, wish: Wish) -> bytes:
        kind = b"text/event-stream" if wish.events else b"application/octet-stream"
        lines = [b"HTTP/1.1 %d Whatever" % wish.status, b"Content-Type: " + kind, b"X-Origin: yes"]
        if wish.framing == "length":
            lines.append(b"Content-Length: %d" % wish.size)
        elif wish.framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        if wish.close or wish.framing == "close":
            lines.append(b"Connection: close")
        if wish.buffering:
            lines.append(b"X-Accel-Buffering: " + wish.buffering.encode())
        if wish.rate:
            lines.append(b"X-Accel-Limit-Rate: " + wish.rate.encode())
        return b"\r\n".join([*lines, b"", b""])

    def _send_body(self, wish: Wish, seen: Seen) -> None:
        until = wish.size if wish.stop < 0 else wish.stop
        while seen.sent < until:
            part = content(seen.sent, until - seen.sent)
            sent = len(part)
            if wish.framing == "chunked":
                part = _chunks(part, wish.chunk)
            if wish.surplus and seen.sent + sent == until:
                part += b"x" * wish.surplus  # at once: what comes later may meet the next request
            self._sock.sendall(part)
            seen.sent += sent
            if wish.pause:
                time.sleep(wish.pause)
        if wish.stop >= 0:
            self._break_off(wish)
        elif wish.framing == "chunked":
            trailer = f"X-Trailer: {wish.trailer}\r\n" if wish.trailer else ""
            self._sock.sendall(f"0\r\n{trailer}\r\n".encode())

    def _break_off(self, wish: Wish) -> None:
        if wish.end == "reset":
            self._wait_for_reader()  # a reset drops what has not been read
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif wish.end == "silence":
            self._sock.recv(1)

    def _wait_for_reader(self) -> None:
        """Until the other side has read all; it may be one that does not, for ten seconds."""
        until = time.monotonic() + 10
        while not self._was_read() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.05)

    def _was_read(self) -> bool:
        if self._sock.family != socket.AF_INET:
            unread = array.array("i", [0])
            fcntl.ioctl(self._sock, termios.TIOCOUTQ, unread)
            return not unread[0]
        try:
            return all_read(self._sock.getpeername()[1])
        except OSError:
            return True  # it has gone

    def _send_events(self, wish: Wish) -> None:
        for number in range(wish.events):
            event = b"id: %d\ndata: %r\n\n" % (number, time.monotonic())
            self._sock.sendall(_chunks(event, wish.chunk) if wish.framing == "chunked" else event)
            time.sleep(wish.pause)
        if wish.framing == "chunked":
            self._sock.sendall(b"0\r\n\r\n")

    # a request's body

    def _take_body(self, seen: Seen, wish: Wish) -> dict[str, Any]:
        """What came of it, and how."""
        framing, at, right = "none", 0, True
        if "transfer-encoding" in seen.headers:
            framing, parts = "chunked", self._chunked_parts()
        elif "content-length" in seen.headers:
            framing, parts = "length", self._parts(int(seen.headers["content-length"]))
        else:
            parts = iter(())
        for part in parts:
            right = right and part == content(at, len(part))
            at += len(part)
            if wish.pause:
                time.sleep(wish.pause)
        return {"framing": framing, "length": at, "right": right}

    def _parts(self, left: int) -> Iterator[bytes]:
        while left:
            part = self._file.read(min(left, 64 * 1024))
            if not part:
                raise Gone("the request's body broke off")
            left -= len(part)
            yield part

    def _chunked_parts(self) -> Iterator[bytes]:
        while size := int(self._line(), 16):
            yield from self._parts(size)
            if self._line() != b"":
                raise Gone("a chunk of the request does not end where it should")
        while self._line():
            pass

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise Gone("the request's body broke off")
        return line[:-2]


def _chunks(data: bytes, size: int) -> bytes:
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def _accept(listener: socket.socket, origin: Origin) -> None:
    while True:
        sock, _ = listener.accept()
        sock.settimeout(PATIENCE)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Connection(origin, sock).serve, daemon=True).start()


def _tell(listener: socket.socket, origin: Origin) -> None:
    while True:
        sock, _ = listener.accept()
        with contextlib.suppress(OSError), sock:
            sock.sendall(origin.report())


def main() -> None:
    """Serve until stdin ends."""
    origin = Origin()
    servers = [socket.create_server(("127.0.0.1", 0), backlog=256)]
    servers += [socket.create_server(path, family=socket.AF_UNIX) for path in sys.argv[1:]]
    told = socket.create_server(("127.0.0.1", 0))
    pairs = itertools.chain(((_accept, each) for each in servers), [(_tell, told)])
    for target, listener in pairs:
        threading.Thread(target=target, args=(listener, origin), daemon=True).start()
    print(servers[0].getsockname()[1], told.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
