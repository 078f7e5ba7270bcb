"""What variables read of an exchange that a test plays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from twisted_pipe.http.facts import TlsFacts
from twisted_pipe.http.head import RequestHead, ResponseHead
from twisted_pipe.preface.proxy_header import ProxyHeader

__all__ = ["PlayedFacts"]


@attrs.define
class PlayedFacts:
    """
    A L{twisted_pipe.http.facts.ExchangeFacts}.

    @ivar head: of the request, as the filters have made it.
    @ivar client_host: the client's address.
    @ivar scheme: C{http} or C{https}.
    @ivar uri: the path, decoded and normalised.
    @ivar tls: what is known of its TLS.
    @ivar captures: of the route.
    @ivar filter_variables: what filters have set.
    @ivar response: the upstream's head, None before.
    @ivar sent_lines: fields that the client got.
    """

    head: RequestHead
    client_host: str = "192.0.2.7"
    scheme: str = "http"
    uri: bytes = b"/"
    tls: TlsFacts | None = None
    captures: Mapping[str, bytes] | None = None
    filter_variables: Mapping[str, bytes] = attrs.field(factory=dict)
    response: ResponseHead | None = None
    sent_lines: Sequence[bytes] = ()
    status: int = 0
    started: float = 0.0
    request_id: str = "0123456789abcdef0123456789abcdef"
    client_port: int = 40000
    server_host: str = "192.0.2.1"
    server_port: int = 80
    direct_host: str = "192.0.2.7"
    direct_port: int = 40000
    proxied: ProxyHeader | None = None
    hostname: str = "proxy"
    pid: int = 1
    site: str = ""
    connection: int = 1
    connection_requests: int = 1
    body_bytes_sent: int = 0
    bytes_sent: int = 0
    bytes_spilled: int = 0
    retries: int = 0
    ended: float = 0.0
    upstream_bytes_received: int = 0
    error: str = ""
    upstream_addrs: Sequence[str] = ()
    upstream_statuses: Sequence[int] = ()
    upstream_connect_times: Sequence[float | None] = ()
    upstream_header_times: Sequence[float | None] = ()
    upstream_response_times: Sequence[float | None] = ()

    @property
    def method(self) -> bytes:
        return self.head.method

    @property
    def target(self) -> bytes:
        return self.head.raw_target

    @property
    def request_line(self) -> bytes:
        return self.head.line

    @property
    def host(self) -> bytes:
        return self.head.host

    @property
    def minor(self) -> int:
        return self.head.minor

    @property
    def args(self) -> bytes:
        return self.head.query or b""

    @property
    def request_length(self) -> int:
        return self.head.size + self.head.length

    @property
    def log_headers(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        return self.head.authorization, self.head.referer, self.head.user_agent

    def request_header(self, name: bytes) -> bytes | None:
        return self.head.get_list(name)

    def response_header(self, name: bytes) -> bytes | None:
        for line in self.sent_lines:
            found, _, value = line.partition(b":")
            if found.lower() == name:
                return value.strip(b" \t")
        return None

    def upstream_header(self, name: bytes) -> bytes | None:
        return None if self.response is None else self.response.get(name)

    def filter_variable(self, name: str) -> bytes | None:
        return self.filter_variables.get(name)
