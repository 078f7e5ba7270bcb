"""
Where to listen and where to connect, as people write it.

Every Twisted endpoint string is understood, and before that the short forms that people write first: C{8080},
C{127.0.0.1:8080}, C{[::1]:8080}, C{example.org:80}. A word before a port is a host, unless it is a type of endpoint.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import Any, cast

import attrs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ClientEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import getPlugins
from zope.interface import implementer

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.ip import is_ipv4, is_ipv6
from twisted_pipe.net.listening import DEFAULT_LISTENING, ListenSettings, listen
from twisted_pipe.service.endpoint_paths import CLIENT, SERVER
from twisted_pipe.service.entrance_settings import OPEN, EntranceSettings
from twisted_pipe.service.refusal import reason_of
from twisted_pipe.service.ssl_endpoint import below, our_tls
from twisted_pipe.upstream.group import UpstreamServer

__all__ = [
    "LOOPBACK",
    "UPSTREAM_RULE",
    "Listener",
    "WithFallback",
    "describe_address",
    "parse_listener",
    "parse_upstream",
]

LISTEN_RULE = (
    "must be PORT, HOST:PORT, [IPV6]:PORT, unix:/PATH or a Twisted endpoint string "
    "such as tcp:8080:interface=127.0.0.1, with a port from 0 (any free one) to 65535"
)
UPSTREAM_RULE = (
    "must be HOST:PORT, [IPV6]:PORT, unix:/PATH or a Twisted endpoint string "
    "such as tcp:127.0.0.1:9000, with a port from 1 to 65535"
)
LOOPBACK = "127.0.0.1"

_FOR_EVER = 86400  # seconds; the system gives up after minutes
_SHORT = re.compile(r"(?:(?P<host>\[[^\[\]]*\]|[^:/\\=\[\]\s]*):)?(?P<port>\d+)", re.ASCII)
_LONGEST_PATH = 107  # of a UNIX socket: unix(7)
_BUILT_IN = frozenset({"tcp", "ssl", "unix"})
#: The client types that take C{timeout=}; without it theirs is 30 s, whatever C{--connect-timeout} says.
_TAKE_TIMEOUT = re.compile(r"(?:tcp|ssl|tls|unix):(?!.*timeout=)", re.ASCII | re.IGNORECASE | re.DOTALL)


@attrs.frozen
class Listener:
    """
    One place to listen.

    @ivar text: how the user wrote it, for messages.
    @ivar endpoint: what it means.
    @ivar option: where the configuration says so, for messages.
    @ivar settings: what the socket is told.
    @ivar entrance: what stands there before the proxy.
    """

    text: str
    endpoint: IStreamServerEndpoint
    option: str = "--listen"
    settings: ListenSettings = DEFAULT_LISTENING
    entrance: EntranceSettings = OPEN

    def listen(self, factory: Any) -> Deferred[IListeningPort]:
        """Fires with the port; fails as L{twisted_pipe.net.listening.listen}."""
        return listen(self.endpoint, factory, self.settings)

    @property
    def place(self) -> tuple[object, ...]:
        """
        What is bound: equal for listeners that are the same however they are written. Of endpoints that are neither TCP nor UNIX
        the text.
        """
        endpoint: Any = self.endpoint
        if isinstance(endpoint, (TCP4ServerEndpoint, TCP6ServerEndpoint)):
            return type(endpoint), endpoint._interface, endpoint._port
        if isinstance(endpoint, UNIXServerEndpoint):
            return type(endpoint), endpoint._address
        return (self.text,)


@implementer(IStreamServerEndpoint)
@attrs.frozen
class WithFallback:
    """
    An endpoint that listens somewhere else when its first place is taken.

    @ivar first: where it would like to listen.
    @ivar otherwise: where it listens then.
    """

    first: IStreamServerEndpoint
    otherwise: IStreamServerEndpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        try:
            return await self.first.listen(factory)
        except CannotListenError:
            return await self.otherwise.listen(factory)


def parse_listener(
    reactor: Any, text: str, option: str = "--listen", alpn: tuple[bytes, ...] = (), folder: str = ""
) -> Listener:
    """
    Where C{option} says to listen.

    @param alpn: what is spoken there by TLS, the best first; none: nothing is said.
    @param folder: what its paths are relative to; by default the directory of the process.
    @raise BadConfiguration: when it says nothing that could be.
    """

    entrances = [OPEN]

    def build() -> IStreamServerEndpoint:
        short = _short_form(text, IStreamServerEndpointStringParser)
        if short is None:
            placed = SERVER.absolute(text, folder)
            entrance = entrances[0] = our_tls(placed, alpn)
            endpoint = serverFromString(reactor, placed)
            return cast(IStreamServerEndpoint, endpoint if entrance is OPEN else below(endpoint))
        host, port = short
        if host in ("", "*"):
            return TCP4ServerEndpoint(reactor, port)
        kind = TCP6ServerEndpoint if is_ipv6(host) else TCP4ServerEndpoint
        return kind(reactor, port, interface=host)

    endpoint: Any = _build(option, text, LISTEN_RULE, 0, build)
    said = "backlog=" in text and hasattr(endpoint, "_backlog")
    settings = ListenSettings(backlog=endpoint._backlog) if said else DEFAULT_LISTENING
    return Listener(text, endpoint, option, settings, entrances[0])


def parse_upstream(reactor: Any, text: str, connect_timeout: float, folder: str = "") -> UpstreamServer:
    """
    The server that C{--upstream} names. Its name is not looked up here: a server may come and go while the pipe lives.

    @param connect_timeout: the proxy's, in seconds, 0 for none. The endpoint's own is set to be longer.
    @param folder: what its paths are relative to; by default the directory of the process.
    @raise BadConfiguration: when it says nothing that could be.
    """
    patience = math.ceil(connect_timeout) + 1 if connect_timeout else _FOR_EVER

    def build() -> IStreamClientEndpoint:
        short = _short_form(text, IStreamClientEndpointStringParserWithReactor)
        if short is None:
            addition = f":timeout={patience}" if _TAKE_TIMEOUT.match(text) else ""
            placed = CLIENT.absolute(text, folder)
            return cast(IStreamClientEndpoint, clientFromString(reactor, placed + addition))
        host, port = short
        if host == "*":
            raise ValueError("'*' is no address to connect to")
        if "$" in host:
            raise ValueError(f"{host!r} is no host: an address has no variables")
        host = host or LOOPBACK
        if is_ipv6(host):
            return TCP6ClientEndpoint(reactor, host, port, timeout=patience)
        if is_ipv4(host):
            return TCP4ClientEndpoint(reactor, host, port, timeout=patience)
        return HostnameEndpoint(reactor, host, port, timeout=patience)

    endpoint = _build("--upstream", text, UPSTREAM_RULE, 1, build)
    return UpstreamServer(text, endpoint, _socket_address(endpoint, patience))


def _socket_address(endpoint: Any, patience: int) -> tuple[Any, ...] | str | None:
    """
    The socket address of an endpoint that connects a socket to it and does nothing else; None for all others, and for one with
    a timeout of its own.

    Twisted's endpoints do not say, so this looks into their private fields.
    """
    if getattr(endpoint, "_timeout", None) != patience:
        return None
    if isinstance(endpoint, UNIXClientEndpoint):
        path = endpoint._path
        return None if endpoint._checkPID else os.fsdecode(path)
    if isinstance(endpoint, (TCP4ClientEndpoint, TCP6ClientEndpoint)) and endpoint._bindAddress is None:
        host, port = endpoint._host, endpoint._port
        if is_ipv4(host):
            return host, port
        if is_ipv6(host) and "%" not in host:
            return host, port, 0, 0
    return None


def describe_address(address: IAddress) -> str:
    """An address for people: C{"tcp 127.0.0.1:8080"}, C{"tcp [::1]:8080"}, C{"unix /run/pipe.sock"}."""
    if isinstance(address, IPv4Address):
        return f"tcp {address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"tcp [{address.host}]:{address.port}"
    if isinstance(address, UNIXAddress):
        return f"unix {(address.name or b'?').decode(errors='replace')}"
    return str(address)


def _short_form(text: str, plugins: Any) -> tuple[str, int] | None:
    """
    Host and port of C{PORT}, C{HOST:PORT} and C{[IPV6]:PORT}; None for everything else.

    @raise ValueError: when the host looks like an address and is none.
    """
    match = _SHORT.fullmatch(text)
    if match is None:
        return None
    host = match["host"] or ""
    if host.startswith("["):
        host = host[1:-1]
        if not is_ipv6(host):
            raise ValueError(f"{host!r} is no IPv6 address")
    elif host.lower() in _BUILT_IN or any(host.lower() == plugin.prefix.lower() for plugin in getPlugins(plugins)):
        return None
    elif re.fullmatch(r"[\d.]+", host) and not is_ipv4(host):
        raise ValueError(f"{host!r} is no IPv4 address")
    return host, int(match["port"])


def _build(option: str, text: str, rule: str, least: int, build: Callable[[], Any]) -> Any:
    """Build an endpoint; whatever its parser raises (plugins raise anything) becomes one line."""
    try:
        endpoint = build()
        _check(endpoint, least)
    except Exception as error:
        raise BadConfiguration(option, text, f"{_explain(error, text)}; {rule}") from error
    return endpoint


def _check(endpoint: Any, least: int) -> None:
    """
    Find what is wrong with an endpoint that Twisted has built without complaint.

    It would complain only when it listens or connects, so this looks into its private fields, as far as it has them.

    @raise ValueError: what is wrong.
    """
    endpoint = getattr(endpoint, "_wrappedEndpoint", endpoint)
    port = getattr(endpoint, "_port", None)
    if isinstance(port, int) and not least <= port <= 65535:
        raise ValueError(f"{port} is no port")
    for field, name in (("_host", "host"), ("_path", "path"), ("_address", "path")):
        value = getattr(endpoint, field, None)
        if value in ("", b""):
            raise ValueError(f"the {name} is empty")
        if name == "path" and isinstance(value, (str, bytes)) and len(os.fsencode(value)) > _LONGEST_PATH:
            raise ValueError(f"the path has more than {_LONGEST_PATH} bytes")


def _explain(error: Exception, text: str) -> str:
    """What Twisted's parsers say of C{text}, without Python's own words."""
    if isinstance(error, LookupError) and text.lower().startswith("systemd:"):
        return "systemd has passed no such socket (LISTEN_FDS, LISTEN_FDNAMES)"
    if isinstance(error, BadConfiguration):
        return f"{error.value}: {error.expected}"
    if isinstance(error, TypeError):
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown:
            return f"it has no setting {unknown[1]!r}"
        missing = re.search(r"missing \d+ required .*?argument.*?: (.+)", str(error))
        return f"it lacks {missing[1]}" if missing else "it has too many parts"
    number = re.fullmatch(r"invalid literal for int\(\) with base \d+: (.*)", str(error), re.DOTALL)
    if number:
        return f"{number[1]} is no number"
    if "StopIteration" in str(error):
        return "the backslash at its end quotes nothing"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {reason_of(error)}"
    return reason_of(error)
