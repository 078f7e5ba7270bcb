"""Connections of health checks: made as all others of their group, and read a piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.errors import CheckFailed, NotChecked
from twisted_pipe.interfaces import IHealthCheckStream
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.closing import can_half_close
from twisted_pipe.net.edge import WOULD_BLOCK
from twisted_pipe.proxies.connecting import Connecting, Wire
from twisted_pipe.proxies.proxy_header_out import header_for
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

__all__ = ["CheckConnector", "CheckStream"]

_RECEIVE = 16 * 1024  # bytes of one read
_buffer = memoryview(bytearray(_RECEIVE))


def _as_it_is(server: UpstreamServer) -> UpstreamServer:
    return server


@attrs.frozen
class CheckConnector:
    """
    Connects to servers of a group for its health checks (L{twisted_pipe.interfaces.IHealthCheckFactory.build}). Where the servers
    want a PROXY header they get one that says that the connection is our own.

    @ivar group: says how connections are made.
    @ivar reactor: the reactor.
    @ivar place: says where to connect to instead, for checks on another port.
    """

    group: UpstreamGroup
    reactor: Any
    place: Callable[[UpstreamServer], UpstreamServer] = _as_it_is

    def __call__(self, server: UpstreamServer) -> Deferred[CheckStream]:
        opened: Deferred[CheckStream] = Deferred(lambda _: connecting.cancel())
        settings = self.group.connect
        preface = b""
        if settings.proxy_protocol is not None:
            preface = header_for(settings.proxy_protocol, None)
        connecting = Connecting(
            self.reactor,
            self.place(server),
            settings,
            lambda wire: opened.callback(CheckStream(wire)),
            lambda why: opened.errback(NotChecked(why) if connecting.own_fault else CheckFailed(why)),
            preface,
        )
        connecting.begin()
        return opened


@implementer(IHealthCheckStream)
class CheckStream:
    """A connection that stands."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._waiting: Deferred[bytes] | None = None
        self._lost = ""
        wire.reader = self

    def __repr__(self) -> str:
        return f"<CheckStream {self._wire!r}>"

    def send(self, data: bytes) -> None:
        wire = self._wire
        if not isinstance(wire, BareSocket):
            wire.write(data)
            return
        try:
            sent = wire.send((data,))
        except OSError as error:
            raise CheckFailed(error.strerror or str(error)) from error
        if sent < len(data):
            raise CheckFailed("it does not take what it is sent")

    def receive(self) -> Deferred[bytes]:
        try:
            data = self._read()
        except CheckFailed as error:
            return fail(error)
        if data is not None:
            return succeed(data)
        waiting = self._waiting = Deferred(self._given_up)
        return waiting

    def close(self) -> None:
        wire = self._wire
        wire.reader = None
        if isinstance(wire, BareSocket):
            wire.close()
        elif not wire.gone:
            if can_half_close(wire.transport):
                wire.transport.loseConnection()  # type: ignore[union-attr]
            else:
                wire.abort()  # a peer may never answer the end of TLS

    # its wire tells

    def socket_ready(self) -> None:
        """Something has come, or the end."""
        waiting = self._waiting
        if waiting is None:
            return
        try:
            data = self._read()
        except CheckFailed as error:
            self._waiting = None
            waiting.errback(error)
            return
        if data is not None:
            self._waiting = None
            waiting.callback(data)

    def socket_lost(self, reason: Failure) -> None:
        """It broke off."""
        self._lost = reason.getErrorMessage().rstrip(".")
        self.socket_ready()

    def _given_up(self, _: object) -> None:
        self._waiting = None

    def _read(self) -> bytes | None:
        """
        None if nothing is there yet.

        @raise CheckFailed: it broke off.
        """
        if self._lost:
            raise CheckFailed(self._lost)
        wire = self._wire
        if not isinstance(wire, BareSocket):
            return wire.receive()
        try:
            count = wire.recv_into(_buffer)
        except OSError as error:
            raise CheckFailed(error.strerror or str(error)) from error
        return None if count == WOULD_BLOCK else bytes(_buffer[:count])
