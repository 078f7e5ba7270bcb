"""Requests of clients, responses of origins, as bytes; and taken apart again."""

from __future__ import annotations

import attrs

NOW = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT"
THEIR_DATE = b"Date: Mon, 07 Nov 1994 00:00:00 GMT"


def request(method: str = "GET", target: str = "/", *lines: str, body: bytes | None = None, minor: int = 1) -> bytes:
    """A request of a client; with C{body} of that length."""
    head = [f"{method} {target} HTTP/1.{minor}", "Host: a.test", *lines]
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (body or b"")


def response(body: bytes = b"", *lines: str, status: str = "200 OK", length: bool = True) -> bytes:
    """A response of an origin, as the client gets it if nothing is changed."""
    head = [f"HTTP/1.1 {status}", THEIR_DATE.decode(), *lines]
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def chunks(*bodies: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies) + b"0\r\n" + trailers + b"\r\n"


def unchunked(data: bytes) -> tuple[bytes, bytes | None]:
    """The body in C{data}, as far as it goes; and what follows its last chunk, None if there is none."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        if not int(size, 16):
            return body, data
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body, None


@attrs.frozen
class Got:
    """One response: its first line without version, its fields, and what follows."""

    status: str
    fields: list[bytes]
    body: bytes

    @property
    def length(self) -> int:
        (value,) = [line[15:] for line in self.fields if line.lower().startswith(b"content-length:")]
        return int(value)


def parsed(data: bytes) -> Got:
    head, end, body = data.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    if not end or line[:9] != b"HTTP/1.1 ":
        raise AssertionError(f"no response: {data!r}")
    return Got(line[9:].decode(), fields, body)
