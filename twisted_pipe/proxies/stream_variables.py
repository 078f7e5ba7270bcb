"""The variables of what is known of a client before anything is passed on, in nginx's names: for the keys of balancers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted_pipe.http.facts import TlsFacts
from twisted_pipe.http.target import BadTarget, check_host
from twisted_pipe.http.template import Template
from twisted_pipe.http.variable import Variable, Vocabulary
from twisted_pipe.http.variables import VARIABLES
from twisted_pipe.preface.client_hello import ClientHello
from twisted_pipe.preface.proxy_header import ProxyHeader
from twisted_pipe.proxies.connection_facts import header_of, tls_of
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["STREAM_VARIABLES", "SessionFacts", "hello_of", "key_template", "wants_hello"]


class SessionFacts:
    """
    A L{twisted_pipe.http.facts.ClientFacts}, with what the client has said of TLS.

    @ivar hello: that; None if it has said nothing.
    """

    def __init__(self, transport: Any, hello: ClientHello | None = None) -> None:
        self._transport = transport
        self.hello = hello

    @property
    def client_host(self) -> str:
        return _host(self._transport.getPeer())

    @property
    def client_port(self) -> int:
        return _port(self._transport.getPeer())

    @property
    def server_host(self) -> str:
        return _host(self._transport.getHost())

    @property
    def server_port(self) -> int:
        return _port(self._transport.getHost())

    @property
    def direct_host(self) -> str:
        return _host(self._direct_peer)

    @property
    def direct_port(self) -> int:
        return _port(self._direct_peer)

    @property
    def proxied(self) -> ProxyHeader | None:
        return header_of(self._transport)

    @property
    def tls(self) -> TlsFacts | None:
        return tls_of(self._transport)

    @property
    def _direct_peer(self) -> Any:
        transport = self._transport
        return transport.getPeer() if self.proxied is None else transport.getDirectPeer()


def _host(address: Any) -> str:
    return getattr(address, "host", None) or "unix:"


def _port(address: Any) -> int:
    return getattr(address, "port", None) or 0


def _of_hello(
    name: str, summary: str, getter: Callable[[ClientHello], str], plain: bool = False
) -> tuple[str, Variable]:
    def get(facts: SessionFacts) -> bytes | None:
        return None if facts.hello is None else getter(facts.hello).encode() or None

    return name, Variable(name, summary, cast(Any, get), plain)


_OF_HELLO = dict(
    [
        _of_hello(
            "ssl_preread_server_name", "The server that the client's TLS asks for.", lambda hello: hello.server_name
        ),
        _of_hello(
            "ssl_preread_alpn_protocols",
            "The protocols that the client's TLS offers, separated by commas.",
            lambda hello: ",".join(name.decode("latin-1") for name in hello.alpn),
        ),
        _of_hello(
            "ssl_preread_protocol",
            "The newest version of TLS that the client can speak, TLSv1.3.",
            lambda hello: hello.version,
            plain=True,
        ),
    ]
)
_COMMON = ("remote_", "server_addr", "server_port", "realip_", "proxy_protocol_", "ssl_")

STREAM_VARIABLES = Vocabulary(
    [*(each for each in VARIABLES if each.name.startswith(_COMMON) and each.name != "remote_user"), *_OF_HELLO.values()]
)


def key_template(group: UpstreamGroup, option: str = "balancer") -> Template:
    """
    What a group's balancer wants to know of a connection that is passed on as it is. It is rendered with L{SessionFacts}.

    @param option: where the balancer is chosen, for the error.
    @raise twisted_pipe.errors.BadConfiguration: it has a variable that there is not.
    """
    return Template.compile(f"{option} {group.balancer}: key", group.key, vocabulary=STREAM_VARIABLES)


def wants_hello(text: str) -> bool:
    """Whether a key has to wait for what the client says of TLS."""
    return any(f"${name}" in text or f"${{{name}}}" in text for name in _OF_HELLO)


def hello_of(transport: Any) -> ClientHello | None:
    """What a client has said whose TLS ends here, without a name that no host can have; None if its TLS does not end here."""
    tls = tls_of(transport)
    if tls is None:
        return None
    return ClientHello(_host_name(tls.server_name), (tls.alpn.encode(),) if tls.alpn else ())


def _host_name(said: str) -> str:
    """OpenSSL takes any bytes for one."""
    try:
        return check_host(said.encode()).decode("ascii")
    except BadTarget:
        return ""
