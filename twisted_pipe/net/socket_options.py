"""
What a socket is told, by us and not by Twisted: before it connects, once it is connected, before it listens.

What a listening socket is told of one connection (keep-alive, no delay, user timeout, buffers), those it accepts inherit on Linux:
they cost no system call each.
"""

from __future__ import annotations

import math
import socket
from functools import lru_cache
from typing import Any, Protocol

from twisted_pipe.core.keepalive_probes import KeepaliveProbes
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.ip import is_ip

__all__ = [
    "ConnectionOptions",
    "PreparedConnection",
    "apply_options",
    "bind_local",
    "local_address",
    "prepare_connecting",
    "prepare_transport",
    "socket_below",
]

_BIND_RULE = "must be an address of this machine: HOST, HOST:PORT, IPV6 or [IPV6]:PORT, with numbers and no names"


class ConnectionOptions(Protocol):
    """
    What holds for a connection: a L{twisted_pipe.upstream.connect_settings.ConnectSettings} or a
    L{twisted_pipe.net.listening.ListenSettings}.
    """

    @property
    def nodelay(self) -> bool: ...
    @property
    def keepalive(self) -> KeepaliveProbes | None: ...
    @property
    def user_timeout(self) -> float: ...


class PreparedConnection(ConnectionOptions, Protocol):
    """And where it comes from."""

    @property
    def bind(self) -> str: ...


def prepare_connecting(sock: socket.SocketType, settings: PreparedConnection) -> None:
    """
    All that C{settings} say about a socket that will connect; about a UNIX socket they say nothing.

    @raise OSError: the kernel refuses it, or the local address is none of this machine.
    """
    if sock.family == socket.AF_UNIX:
        return
    if settings.bind:
        bind_local(sock, settings.bind)
    apply_options(sock, settings)


def apply_options(sock: socket.SocketType, settings: ConnectionOptions) -> None:
    """
    What C{settings} say about a connection that stands, or will; about a UNIX socket they say nothing.

    @raise OSError: the kernel refuses it.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, settings.nodelay)
    probes = settings.keepalive
    if probes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, probes.idle),
            (socket.TCP_KEEPINTVL, probes.interval),
            (socket.TCP_KEEPCNT, probes.count),
        ):
            if value:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
    if settings.user_timeout:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(settings.user_timeout * 1000))


def prepare_transport(transport: Any, settings: ConnectionOptions) -> None:
    """
    The same for a Twisted transport, which TLS may stand on.

    @raise OSError: the kernel refuses it.
    """
    if hasattr(transport, "setTcpNoDelay"):
        transport.setTcpNoDelay(settings.nodelay)
    sock = socket_below(transport)
    if sock is not None:
        apply_options(sock, settings)


def socket_below(transport: Any) -> socket.socket | None:
    """The socket that a Twisted transport stands on, below TLS if it is that; None if it has none."""
    while transport is not None:
        handle = transport.getHandle() if hasattr(transport, "getHandle") else None
        if isinstance(handle, socket.socket):
            return handle
        transport = getattr(transport, "transport", None)
    return None


def bind_local(sock: socket.SocketType, text: str) -> None:
    """
    Bind a socket that will connect to its local address (nginx C{proxy_bind}).

    Without a port, the kernel chooses one when it connects and not now (IP_BIND_ADDRESS_NO_PORT, ip(7)): so the same port serves
    connections to several servers, and there are as many as without C{bind}.

    @raise OSError: it is no address of this machine, or of another family than the socket.
    """
    host, port = local_address(text)
    if port:
        # the last connection from there may still be in TIME_WAIT
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        raise OSError(error.errno, f"cannot be bound to {text}: {error.strerror or error}") from error


_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; in Python's socket from 3.14 on


@lru_cache(maxsize=256)
def local_address(text: str) -> tuple[str, int]:
    """
    Host and port (0: any) of C{"192.0.2.1"}, C{"192.0.2.1:4000"}, C{"2001:db8::1"}, C{"[2001:db8::1]:4000"}.

    @raise BadConfiguration: it is none of these.
    """
    host, port = text, "0"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else "0" if bracket and not rest else ""
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not (is_ip(host) and port.isascii() and port.isdigit() and len(port) < 10 and int(port) < 65536):
        raise BadConfiguration("bind", text, _BIND_RULE)
    return host, int(port)
