"""
One connection being made to a server, whatever it takes: the socket or the endpoint, the PROXY header, TLS.

On the C{epollet} reactor, and to an address that needs no looking up, it is a bare socket; else what the server's Twisted endpoint
makes. Its steps are the same: connect, send what stands before the stream (a PROXY header), shake hands if TLS is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Union

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.python.failure import Failure

from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.bound_endpoint import bound_endpoint
from twisted_pipe.net.connect_protocol import connect_protocol
from twisted_pipe.net.port import EXHAUSTED
from twisted_pipe.net.socket_options import prepare_connecting, prepare_transport
from twisted_pipe.net.tls_socket import TlsSocket
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamServer

__all__ = ["Connecting", "Wire"]

#: What an owner reads and writes, or has pipes read and write.
Wire = Union[BareSocket, TransportWire]


class Connecting:
    """
    One attempt. Exactly one of its callbacks is called, once: from C{begin} or from a later turn of the reactor; none after
    C{cancel}.

    @ivar own_fault: whether it failed for want of a descriptor or of memory: that speaks against no server.
    """

    __slots__ = (
        "_attempt",
        "_cancelled",
        "_clock",
        "_failed",
        "_opened",
        "_preface",
        "_server",
        "_settings",
        "own_fault",
    )

    def __init__(
        self,
        clock: Any,
        server: UpstreamServer,
        settings: ConnectSettings,
        opened: Callable[[Any], object],
        failed: Callable[[str], object],
        preface: bytes = b"",
    ) -> None:
        """
        @param clock: the reactor.
        @param opened: called with a L{BareSocket} (a L{TlsSocket} for TLS) or a L{TransportWire}, when everything stands.
        @param failed: called with why it does not, in words.
        @param preface: sent first, before TLS.
        """
        self._clock = clock
        self._server = server
        self._settings = settings
        self._opened = opened
        self._failed = failed
        self._preface = preface
        self._attempt: BareSocket | Deferred[TransportWire] | None = None
        self._cancelled = False
        self.own_fault = False

    def __repr__(self) -> str:
        return f"<Connecting {self._server.name}>"

    def begin(self) -> None:
        """Connect. There is no timeout but the system's: C{cancel} is the caller's."""
        address = self._server.address
        if address is None or not hasattr(self._clock, "add_edge"):
            attempt = self._attempt = self._by_endpoint()
            attempt.addCallbacks(self._transport_opened, self._transport_failed)  # perhaps at once
            return
        settings = self._settings
        kind = BareSocket if settings.tls is None else TlsSocket
        prepare = partial(prepare_connecting, settings=settings) if settings.wants_preparation else None
        try:
            self._attempt = kind.connecting(self._clock, address, self._socket_opened, prepare)
        except Exception as error:  # no descriptor, no route, or an address that is none
            self.own_fault = getattr(error, "errno", None) in EXHAUSTED
            self._fail(getattr(error, "strerror", None) or str(error))

    def cancel(self) -> None:
        """Nobody wants it any more. A second call, or one when it is over, does nothing."""
        self._cancelled = True
        attempt, self._attempt = self._attempt, None
        if isinstance(attempt, BareSocket):
            attempt.close()
        elif attempt is not None:
            attempt.cancel()

    def _fail(self, why: str) -> None:
        self._attempt = None
        self._failed(why)

    # a bare socket

    def _socket_opened(self, error: OSError | None) -> None:
        bare, tls = self._attempt, self._settings.tls
        if error is not None:
            self._fail(error.strerror or str(error))
        elif self._preface and not self._preface_sent(bare):
            bare.close()  # type: ignore[union-attr]
            self._fail("it does not take the PROXY header")
        elif tls is None:
            self._attempt = None
            self._opened(bare)
        else:
            assert isinstance(bare, TlsSocket)
            bare.handshake(partial(tls.connection, server=self._server), self._shaken, tls.explain)

    def _preface_sent(self, bare: Any) -> bool:
        """A connection that has just been made takes a few hundred bytes at once, or there is something wrong with it."""
        try:
            sent: int = bare.socket.send(self._preface)
        except OSError:
            return False
        return sent == len(self._preface)

    def _shaken(self, why: str | None) -> None:
        """The handshake is over."""
        bare: Any = self._attempt
        if why is None:
            why = self._settings.tls.problem_of(bare.connection, self._server)
        if why is not None:
            bare.close()
            self._fail(why)
            return
        self._attempt = None
        self._opened(bare)

    # a Twisted transport

    def _by_endpoint(self) -> Deferred[TransportWire]:
        tls = self._settings.tls
        creator = None if tls is None else tls.creator(self._server)
        endpoint = bound_endpoint(self._server.endpoint, self._settings.bind)
        return connect_protocol(endpoint, TransportWire, self._clock, creator, self._preface)

    def _transport_opened(self, wire: TransportWire) -> None:
        if self._cancelled:
            wire.abort()
            return
        self._attempt = None
        prepare_transport(wire.transport, self._settings)
        self._opened(wire)

    def _transport_failed(self, failure: Failure) -> None:
        if self._cancelled:
            return
        self.own_fault = getattr(failure.value, "osError", None) in EXHAUSTED
        if failure.check(ConnectError):
            why = failure.getErrorMessage().rstrip(".")
        elif self._settings.tls is not None:
            why = self._settings.tls.explain(failure.value)
        else:
            why = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        self._fail(why)
