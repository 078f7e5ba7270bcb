"""What is known of one exchange, a request and its response: the facts that templates and the access log read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from twisted_pipe.http.facts import TlsFacts
from twisted_pipe.http.head import ResponseHead
from twisted_pipe.preface.proxy_header import ProxyHeader

__all__ = ["Attempt", "ExchangeRecord"]


@attrs.define(kw_only=True)
class Attempt:
    """
    One server that was asked. Times are seconds from the beginning of the attempt, None for what did not come.

    @ivar server: its name.
    @ivar status: of its response, 0 if none came.
    @ivar connected: when the connection stood; 0 for one that was kept alive.
    @ivar answered: when the head of the response was whole.
    @ivar ended: when its part was over.
    """

    server: str
    status: int = 0
    connected: float | None = None
    answered: float | None = None
    ended: float | None = None


class ExchangeRecord:
    """
    See L{twisted_pipe.http.facts.ExchangeFacts}, which this is.

    @ivar client: the client's connection.
    @ivar head: the request's head, None if it could not be read.
    @ivar attempts: the servers asked before the current one.
    @ivar server: the name of the current one, C{""} for none.
    @ivar response: the head of the upstream's response, if one came.
    @ivar filter_variables: what message filters have to say to templates and logs, by name.
    @ivar sent_lines: the fields that the client got.
    @ivar header_bytes: bytes of the head that the client got.
    @ivar began: when the attempt at the current server began; C{connected}, C{answered}, C{received} when what the names say was
        done; 0 for not yet. In the clock's seconds.
    """

    # What most exchanges have nothing to say of stays with the class: one is made for every request.
    ended = 0.0
    site = ""
    uri = b""
    captures: Mapping[str, bytes] | None = None
    status = 0
    error = ""
    bytes_sent = 0
    bytes_spilled = 0
    header_bytes = 0
    attempts: Sequence[Attempt] = ()
    server = ""
    response: ResponseHead | None = None
    sent_lines: Sequence[bytes] = ()
    upstream_bytes_received = 0
    began = connected = answered = received = 0.0
    filter_variables: Mapping[str, bytes] = {}
    _request_id = ""
    _more_length = 0  # of the request's body

    client: Any
    head: Any
    started: float
    connection_requests: int

    # the client

    @property
    def client_host(self) -> str:
        host: str = self.client.host
        return host

    @property
    def client_port(self) -> int:
        port: int = self.client.port
        return port

    @property
    def server_host(self) -> str:
        return str(getattr(self.client.transport.getHost(), "host", ""))

    @property
    def server_port(self) -> int:
        return int(getattr(self.client.transport.getHost(), "port", 0))

    @property
    def direct_host(self) -> str:
        """Who has connected, if it was a proxy that has said on whose behalf; else the client."""
        peer = self.client.facts.direct_peer
        return self.client_host if peer is None else getattr(peer, "host", None) or "unix:"

    @property
    def direct_port(self) -> int:
        peer = self.client.facts.direct_peer
        return self.client_port if peer is None else getattr(peer, "port", None) or 0

    @property
    def proxied(self) -> ProxyHeader | None:
        header: ProxyHeader | None = self.client.facts.proxied
        return header

    @property
    def tls(self) -> TlsFacts | None:
        tls: TlsFacts | None = self.client.facts.tls
        return tls

    @property
    def connection(self) -> int:
        serial: int = self.client.serial
        return serial

    @property
    def hostname(self) -> str:
        name: str = self.client.proxy.hostname
        return name

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def scheme(self) -> str:
        scheme: str = self.client.scheme
        return scheme

    # the request

    @property
    def request_line(self) -> bytes:
        line: bytes = self.client.broken_line if self.head is None else self.head.line
        return line

    @property
    def method(self) -> bytes:
        return b"" if self.head is None else self.head.method

    @property
    def target(self) -> bytes:
        return b"" if self.head is None else self.head.raw_target

    @property
    def host(self) -> bytes:
        return b"" if self.head is None else self.head.host

    @property
    def minor(self) -> int:
        """Of the version that the client speaks."""
        return 1 if self.head is None else self.head.minor

    @property
    def request_length(self) -> int:
        return (0 if self.head is None else self.head.size) + self._more_length

    def body_came(self, count: int) -> None:
        """C{count} bytes of the request's body are in."""
        self._more_length += count

    @property
    def args(self) -> bytes:
        return b"" if self.head is None else self.head.query or b""

    @property
    def request_id(self) -> str:
        if not self._request_id:
            self._request_id = os.urandom(16).hex()
        return self._request_id

    def name_request(self, text: str) -> None:
        """Have C{text} as its L{request_id}."""
        self._request_id = text

    def filter_variable(self, name: str) -> bytes | None:
        return self.filter_variables.get(name)

    def request_header(self, name: bytes) -> bytes | None:
        head = self.head
        if head is None:
            return None
        if name == b"user-agent":
            found: bytes | None = head.user_agent
        elif name == b"referer":
            found = head.referer
        elif name == b"authorization":
            found = head.authorization
        elif name == b"cookie":
            cookies = [value for each, value in head.headers if each.lower() == b"cookie"]
            found = b"; ".join(cookies) if cookies else None
        else:
            found = head.get_list(name)
        return found

    @property
    def log_headers(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        head = self.head
        return (None, None, None) if head is None else (head.authorization, head.referer, head.user_agent)

    # the response

    @property
    def body_bytes_sent(self) -> int:
        count = self.bytes_sent - self.header_bytes
        return count if count > 0 else 0

    def response_header(self, name: bytes) -> bytes | None:
        for line in self.sent_lines:
            found, _, value = line.partition(b":")
            if found.lower() == name:
                return value.strip(b" \t")
        return None

    def upstream_header(self, name: bytes) -> bytes | None:
        return None if self.response is None else self.response.get(name)

    # the upstream

    @property
    def retries(self) -> int:
        return len(self.attempts)

    @property
    def current(self) -> Attempt:
        """The attempt at the current server."""
        began = self.began
        return Attempt(
            server=self.server,
            status=0 if self.response is None else self.response.status,
            connected=self.connected - began if self.connected else None,
            answered=self.answered - began if self.answered else None,
            ended=(self.received or self.ended) - began,
        )

    @property
    def all_attempts(self) -> Sequence[Attempt]:
        """The servers that were asked, in order."""
        return (*self.attempts, self.current) if self.server else self.attempts

    @property
    def upstream_addrs(self) -> Sequence[str]:
        return [attempt.server for attempt in self.all_attempts]

    @property
    def upstream_statuses(self) -> Sequence[int]:
        return [attempt.status for attempt in self.all_attempts]

    @property
    def upstream_connect_times(self) -> Sequence[float | None]:
        return [attempt.connected for attempt in self.all_attempts]

    @property
    def upstream_header_times(self) -> Sequence[float | None]:
        return [attempt.answered for attempt in self.all_attempts]

    @property
    def upstream_response_times(self) -> Sequence[float | None]:
        return [attempt.ended for attempt in self.all_attempts]
