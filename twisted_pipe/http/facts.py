"""What templates and logs know of an exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from twisted_pipe.preface.proxy_header import ProxyHeader

__all__ = ["ClientFacts", "ExchangeFacts", "TlsFacts"]


class TlsFacts(Protocol):
    """
    What a client's TLS has agreed on. What is not there is empty.

    @ivar version: C{"TLSv1.3"}.
    @ivar cipher: OpenSSL's name of it.
    @ivar server_name: the host that the client asked for.
    @ivar alpn: the protocol.
    @ivar reused: whether a session was resumed.
    @ivar client_verify: C{"SUCCESS"}, C{"NONE"} or C{"FAILED:…"}.
    @ivar client_subject: of the client's certificate, as in RFC 2253.
    @ivar client_issuer: likewise.
    @ivar client_serial: hexadecimal.
    @ivar client_fingerprint: SHA-1, hexadecimal.
    @ivar client_certificate: in PEM form.
    """

    @property
    def version(self) -> str: ...

    @property
    def cipher(self) -> str: ...

    @property
    def server_name(self) -> str: ...

    @property
    def alpn(self) -> str: ...

    @property
    def reused(self) -> bool: ...

    @property
    def client_verify(self) -> str: ...

    @property
    def client_subject(self) -> str: ...

    @property
    def client_issuer(self) -> str: ...

    @property
    def client_serial(self) -> str: ...

    @property
    def client_fingerprint(self) -> str: ...

    @property
    def client_certificate(self) -> str: ...

    def serves(self, host: bytes) -> bool:
        """Whether requests for that host may come on its connection."""


class ClientFacts(Protocol):
    """
    What is known of a client's connection, whatever it speaks.

    @ivar client_host: the client's address.
    @ivar client_port: its port; 0 if it has none (a UNIX socket).
    @ivar server_host: our own address.
    @ivar server_port: our own port; 0 if there is none.
    @ivar direct_host: the address of who has connected: the client's, or a proxy's that has said on whose behalf.
    @ivar direct_port: its port; 0 if it has none.
    @ivar proxied: the PROXY header that said so; None for none.
    @ivar tls: what its TLS has agreed on; None for a plain connection.
    """

    @property
    def client_host(self) -> str: ...

    @property
    def client_port(self) -> int: ...

    @property
    def server_host(self) -> str: ...

    @property
    def server_port(self) -> int: ...

    @property
    def direct_host(self) -> str: ...

    @property
    def direct_port(self) -> int: ...

    @property
    def proxied(self) -> ProxyHeader | None: ...

    @property
    def tls(self) -> TlsFacts | None: ...


class ExchangeFacts(ClientFacts, Protocol):
    """
    What is known of one exchange. Sizes are in bytes, times in seconds.

    @ivar hostname: of this machine. The same for all exchanges, and here because this room asks no operating system.
    @ivar pid: of this process; likewise.
    @ivar scheme: C{"http"} or C{"https"}.
    @ivar method: empty if the request could not be read.
    @ivar target: as it was sent.
    @ivar request_line: the first line as it was sent, whatever it is; empty if none came.
    @ivar host: that the request asks for, lower case, without a port; may be empty.
    @ivar minor: of the request's version, HTTP/1.C{minor}: 0 or 1.
    @ivar uri: the path, decoded and normalised.
    @ivar args: the query, without its question mark.
    @ivar log_headers: C{Authorization}, C{Referer} and C{User-Agent} of the request: C{request_header} of each, in one.
    @ivar captures: what the route's regular expression captured, by name and by number (C{"1"}); None without one.
    @ivar request_length: the first line, the head and the body.
    @ivar connection: serial number of the client's connection.
    @ivar connection_requests: how many requests came on it, this one included.
    @ivar request_id: 32 hex digits.
    @ivar site: name of the virtual server.
    @ivar status: 0 while there is none.
    @ivar body_bytes_sent: to the client, without the head.
    @ivar bytes_sent: to the client.
    @ivar bytes_spilled: that waited on disk.
    @ivar retries: how many times another upstream server was tried.
    @ivar started: when the first byte came, since the epoch.
    @ivar ended: when the last byte went, since the epoch; while it goes on, now or 0. (With 0 its time is when it started.)
    @ivar upstream_addrs: the servers tried, in order.
    @ivar upstream_statuses: what each answered; 0 if nothing.
    @ivar upstream_connect_times: what connecting to each took; None if it did not happen.
    @ivar upstream_header_times: until the response's head was there; likewise.
    @ivar upstream_response_times: until its last byte was there; likewise.
    @ivar upstream_bytes_received: from all of them.
    @ivar error: why it went wrong; empty if it did not.
    """

    @property
    def hostname(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def scheme(self) -> str: ...

    @property
    def method(self) -> bytes: ...

    @property
    def target(self) -> bytes: ...

    @property
    def request_line(self) -> bytes: ...

    @property
    def host(self) -> bytes: ...

    @property
    def minor(self) -> int: ...

    @property
    def uri(self) -> bytes: ...

    @property
    def args(self) -> bytes: ...

    @property
    def log_headers(self) -> tuple[bytes | None, bytes | None, bytes | None]: ...

    @property
    def captures(self) -> Mapping[str, bytes] | None: ...

    @property
    def request_length(self) -> int: ...

    @property
    def connection(self) -> int: ...

    @property
    def connection_requests(self) -> int: ...

    @property
    def request_id(self) -> str: ...

    @property
    def site(self) -> str: ...

    @property
    def status(self) -> int: ...

    @property
    def body_bytes_sent(self) -> int: ...

    @property
    def bytes_sent(self) -> int: ...

    @property
    def bytes_spilled(self) -> int: ...

    @property
    def retries(self) -> int: ...

    @property
    def started(self) -> float: ...

    @property
    def ended(self) -> float: ...

    @property
    def upstream_addrs(self) -> Sequence[str]: ...

    @property
    def upstream_statuses(self) -> Sequence[int]: ...

    @property
    def upstream_connect_times(self) -> Sequence[float | None]: ...

    @property
    def upstream_header_times(self) -> Sequence[float | None]: ...

    @property
    def upstream_response_times(self) -> Sequence[float | None]: ...

    @property
    def upstream_bytes_received(self) -> int: ...

    @property
    def error(self) -> str: ...

    def filter_variable(self, name: str) -> bytes | None:
        """What a message filter has to say under that name."""

    def request_header(self, name: bytes) -> bytes | None:
        """The request's fields of that name (lower case), joined by a comma and a space, those of C{cookie} by C{"; "}."""

    def response_header(self, name: bytes) -> bytes | None:
        """Likewise of the response, as the client got it."""

    def upstream_header(self, name: bytes) -> bytes | None:
        """Likewise of the response, as the upstream sent it."""
