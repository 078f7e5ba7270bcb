"""
Listening with more said than Twisted's endpoints take: what has to be set before a socket is bound, and who may use a UNIX socket.

Source: the parameters of nginx's C{listen}.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, execute, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from twisted_pipe.core.keepalive_probes import KeepaliveProbes
from twisted_pipe.net.port import EdgePort, EdgeUnixPort
from twisted_pipe.net.socket_options import apply_options
from twisted_pipe.net.stale_socket import remove_stale_socket

__all__ = ["BACKLOG", "DEFAULT_LISTENING", "ListenSettings", "SocketOwner", "listen", "stop_at_once"]

BACKLOG = 511  #: as nginx's; Twisted's 50 lose connections in a burst


@attrs.frozen
class SocketOwner:
    """
    Whom the file of a UNIX socket belongs to.

    @ivar user: a number; -1 leaves it as it is.
    @ivar group: a number; -1 leaves it as it is.
    """

    user: int = -1
    group: int = -1

    @classmethod
    def parse(cls, text: str) -> SocketOwner:
        """
        C{"USER"}, C{"USER:GROUP"} or C{":GROUP"}; names or numbers.

        @raise ValueError: what would be right.
        """
        user, _, group = text.partition(":")
        return cls(
            _number(user, "user", lambda name: pwd.getpwnam(name).pw_uid) if user else -1,
            _number(group, "group", lambda name: grp.getgrnam(name).gr_gid) if group else -1,
        )


def _number(name: str, kind: str, find: Callable[[str], int]) -> int:
    if name.isascii() and name.isdigit() and len(name) < 10:
        return int(name)
    try:
        return find(name)
    except KeyError:
        raise ValueError(f"must be a user or group of this system: there is no {kind} {name!r}") from None


@attrs.frozen(kw_only=True)
class ListenSettings:
    """
    @ivar backlog: connections that wait to be accepted; the kernel takes at most C{net.core.somaxconn}.
    @ivar reuse_port: several processes may listen there, and the kernel chooses among them (SO_REUSEPORT).
    @ivar ipv6_only: an IPv6 address takes no IPv4 connections; None for the system's rule (C{net.ipv6.bindv6only}).
    @ivar keepalive: when a client that is silent is asked for a sign of life; None for never.
    @ivar user_timeout: seconds that bytes sent to a client may stay without an acknowledgement; 0 for the system's.
    @ivar receive_buffer: bytes of SO_RCVBUF; 0 for the system's, which grows.
    @ivar send_buffer: bytes of SO_SNDBUF; 0 for the system's, which grows.
    @ivar mode: of a UNIX socket's file; None for the endpoint's own, which is C{0o666}.
    @ivar owner: of a UNIX socket's file.
    """

    backlog: int = BACKLOG
    reuse_port: bool = False
    ipv6_only: bool | None = None
    keepalive: KeepaliveProbes | None = None
    user_timeout: float = 0.0
    receive_buffer: int = 0
    send_buffer: int = 0
    mode: int | None = None
    owner: SocketOwner = SocketOwner()

    @property
    def nodelay(self) -> bool:
        """Always: the proxies write whole messages."""
        return True

    @property
    def wants_preparation(self) -> bool:
        """Whether the socket has to be told anything before it is bound."""
        return attrs.evolve(self, backlog=BACKLOG, mode=None, owner=SocketOwner()) != DEFAULT_LISTENING


DEFAULT_LISTENING = ListenSettings()


def listen(endpoint: Any, factory: Any, settings: ListenSettings) -> Deferred[IListeningPort]:
    """
    Listen at a Twisted endpoint, as C{settings} say. Those of any other kind than TCP and UNIX listen as they will.

    A UNIX socket that a dead process has left behind is removed first.

    @return: fires with the port; fails with C{CannotListenError}, C{OSError}, or what the endpoint fails with.
    """
    if isinstance(endpoint, (TCP4ServerEndpoint, TCP6ServerEndpoint)):
        return execute(_listen_tcp, endpoint, factory, settings)
    if isinstance(endpoint, UNIXServerEndpoint):
        return execute(_listen_unix, endpoint, factory, settings)
    return maybeDeferred(endpoint.listen, factory)


def _listen_tcp(endpoint: Any, factory: Any, settings: ListenSettings) -> Any:
    reactor, place = endpoint._reactor, (endpoint._port, factory, settings.backlog, endpoint._interface)
    if not settings.wants_preparation:
        return reactor.listenTCP(*place)
    kind: Any = EdgePort if hasattr(reactor, "add_edge") else tcp.Port
    return _prepared(kind(*place, reactor), settings)


def _listen_unix(endpoint: Any, factory: Any, settings: ListenSettings) -> Any:
    reactor, path = endpoint._reactor, endpoint._address
    mode = endpoint._mode if settings.mode is None else settings.mode
    remove_stale_socket(os.fsdecode(path))
    if settings.wants_preparation:
        kind: Any = EdgeUnixPort if hasattr(reactor, "add_edge") else unix.Port
        port = _prepared(kind(path, factory, settings.backlog, mode, reactor, endpoint._wantPID), settings)
    else:
        port = reactor.listenUNIX(path, factory, backlog=settings.backlog, mode=mode, wantPID=endpoint._wantPID)
    if settings.owner != SocketOwner():
        try:
            os.chown(path, settings.owner.user, settings.owner.group, follow_symlinks=False)
        except OSError as error:
            stop_at_once(port)
            why = OSError(error.errno, f"its owner cannot be set: {error.strerror}")
            raise CannotListenError(None, os.fsdecode(path), why) from error
    return port


def stop_at_once(port: Any) -> Deferred[Any]:
    """
    Stop listening, with nothing left for the reactor's next turn: when a start fails there is none, and the file of a UNIX socket
    would stay. Ports of plugins stop as they will.

    @return: fires when it does not listen any more; fails with what the port fails with.
    """
    if not isinstance(port, tcp.Port):
        return maybeDeferred(port.stopListening)
    port.disconnecting = True
    port.stopReading()
    return execute(port.connectionLost, Failure(CONNECTION_DONE))


def _prepared(port: Any, settings: ListenSettings) -> Any:
    """Start a port whose socket is told everything before it is bound."""
    port.createInternetSocket = partial(_create, port.createInternetSocket, settings)
    port.startListening()
    return port


def _create(create: Any, settings: ListenSettings) -> socket.socket:
    sock: socket.socket = create()
    try:
        _prepare_listening(sock, settings)
    except OSError:
        sock.close()
        raise
    return sock


def _prepare_listening(sock: socket.socket, settings: ListenSettings) -> None:
    if settings.receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.receive_buffer)
    if settings.send_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer)
    if sock.family == socket.AF_UNIX:
        return
    if settings.reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if settings.ipv6_only is not None and sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, settings.ipv6_only)
    apply_options(sock, settings)
