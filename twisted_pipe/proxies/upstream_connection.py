"""
One connection to a server, as HTTP/1 uses it: a request is sent, its response is received, then it is idle or gone.

It serves one exchange at a time. Between two, whatever happens to it, a byte or its end, makes it useless.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Protocol

from twisted.python.failure import Failure

from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.closing import abort, lose
from twisted_pipe.net.edge import MOST_CALLS, WOULD_BLOCK, edge_of
from twisted_pipe.proxies.connecting import Connecting, Wire
from twisted_pipe.proxies.watch import NEVER
from twisted_pipe.upstream.peer import Peer

if TYPE_CHECKING:
    from twisted_pipe.proxies.http_upstream import HttpUpstream

__all__ = ["RECEIVE", "UpstreamConnection", "UpstreamUser"]

RECEIVE = 68 * 1024  # bytes of one read of a response: a head and 64 KiB
_PATIENCE = 60.0  # seconds for a server to answer the end of TLS, or to take what it has not taken yet
_SPOKE_FIRST = "said something, or ended, while it was idle"
_SMALL = 16 * 1024  # bytes of a read that is copied out of the buffer at once

#: All connections are read into one buffer: what is read is taken before the next read.
_buffer = memoryview(bytearray(RECEIVE))


class UpstreamUser(Protocol):
    """The exchange that a connection serves. All in the reactor thread."""

    def upstream_opened(self, connection: UpstreamConnection) -> None:
        """It stands."""

    def upstream_refused(self, connection: UpstreamConnection, why: str) -> None:
        """It could not be made."""

    def upstream_received(self, data: bytes | memoryview, now: float) -> None:
        """Bytes of the response, lent until this returns; C{b""} for a clean end of the connection."""

    def upstream_took(self, connection: UpstreamConnection, rest: bytes) -> None:
        """C{rest} of what it was to send has yet to be sent."""

    def upstream_lost(self, why: str) -> None:
        """The connection broke off. It is closed, and says by C{unsent} whether the request has left at all."""


class UpstreamConnection:
    """
    One connection. A C{SocketOwner}, and what the loop calls for plain events (as a C{Relay}).

    @ivar peer: the server, as its group knows it.
    @ivar server: where to.
    @ivar wire: a L{BareSocket} or a L{TransportWire}; None while connecting.
    @ivar user: whom it serves; None while it is idle.
    @ivar requests: how many it has carried, with the one that it carries.
    @ivar open: whether it stands.
    @ivar own_fault: whether it could not be made for want of something of this machine's.
    @ivar good_until: when it has been used for long enough.
    @ivar stack: where it is put when it is idle.
    @ivar preface: the PROXY header that it begins with: it is for one client. Empty for none.
    """

    __slots__ = (
        "_connecting",
        "_outgoing",
        "_outgoing_body",
        "_recv_into",
        "_send",
        "_sendmsg",
        "good_until",
        "open",
        "own_fault",
        "peer",
        "preface",
        "requests",
        "server",
        "source",
        "stack",
        "upstream",
        "user",
        "wire",
    )

    def __init__(
        self,
        upstream: HttpUpstream,
        peer: Peer,
        user: UpstreamUser | None,
        stack: list[UpstreamConnection],
        preface: bytes = b"",
    ) -> None:
        self.upstream = upstream
        self.stack = stack
        self.preface = preface
        self.peer = peer
        self.server = peer.server
        self.user = user
        self.requests = 0
        self.good_until = 0.0
        self.open = False
        self.own_fault = False
        self.wire: Any = None
        self.source: Any = None  # the loop asks a relay for it
        self._outgoing = self._outgoing_body = b""
        self._recv_into: Any = None
        self._send: Any = None
        self._sendmsg: Any = None
        self._connecting: Connecting | None = None

    def __repr__(self) -> str:
        state = "idle" if self.user is None else "open" if self.open else "connecting"
        return f"<UpstreamConnection {self.server.name} {state} requests={self.requests}>"

    # connecting

    def connect(self) -> None:
        """Begin; the user is told how it went, from a later turn or at once."""
        upstream = self.upstream
        connecting = self._connecting = Connecting(
            upstream.clock, self.server, upstream.group.connect, self._wire_opened, self._refused, self.preface
        )
        connecting.begin()

    def _wire_opened(self, wire: Wire) -> None:
        self._connecting = None
        self.wire = wire
        if isinstance(wire, BareSocket):
            self.source = wire
            self._recv_into = wire.socket.recv_into
            self._send = wire.socket.send
            self._sendmsg = wire.socket.sendmsg
        self._opened()

    def _opened(self) -> None:
        self.open = True
        keepalive = self.upstream.keepalive
        self.good_until = self.upstream.clock.seconds() + (keepalive.time or NEVER)
        self.upstream.counted.opened += 1
        self.listen()
        assert self.user is not None
        self.user.upstream_opened(self)
        source = self.source
        if source is not None and source.readable and self.open:
            source.reactor.loop.post(source)  # it spoke in the event that told of the connection: none will tell again

    def _refused(self, why: str) -> None:
        connecting, self._connecting = self._connecting, None
        self.own_fault = connecting is not None and connecting.own_fault
        self.upstream.counted.failed += 1
        user, self.user = self.user, None
        if user is not None:
            user.upstream_refused(self, why)

    # one exchange

    def listen(self) -> None:
        """Take what comes on the connection: it is not a pipe's, or not any more."""
        wire = self.wire
        wire.reader = self
        if self.source is not None:
            wire.relay = self
        else:
            edge = edge_of(wire.transport)
            if edge is not None:
                edge.reader = None  # the pipe that has read its socket may yet have much to deliver
            wire.release()
            wire.resume()

    def hold(self) -> None:
        """Read nothing until L{listen}: what comes stays in the kernel, or at most one read of it in the wire."""
        self.wire.reader = None
        if self.source is not None:
            self.wire.relay = None

    def send(self, head: bytes, body: bytes = b"") -> None:
        """Send a request, or its beginning, at the end of this turn. The user is told if not all of it could be sent at once."""
        self.requests += 1
        source = self.source
        if source is None:
            self.wire.write(head + body)
            return
        if len(body) <= _SMALL:
            self._outgoing = head + body if body else head
        else:
            self._outgoing = head
            self._outgoing_body = body  # sent beside it: copying costs more
        source.reactor.loop.late.append(self)

    def send_late(self, now: float) -> None:
        """The loop: the turn is over."""
        head, self._outgoing = self._outgoing, b""
        body, self._outgoing_body = self._outgoing_body, b""
        user = self.user
        if user is None:
            return  # the exchange ended in the same turn
        try:
            sent = self._sendmsg((head, body)) if body else self._send(head)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.source.send_failed(error)
            self._broke(error.strerror or str(error))
            return
        if sent < len(head) + len(body):
            self.source.writable = False
            user.upstream_took(self, (head + body)[sent:])

    def run(self, now: float) -> None:
        """The loop: plain bytes have come."""
        try:
            count = self._recv_into(_buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._broke(error.strerror or str(error))
            return
        user = self.user
        if count == RECEIVE:
            self.source.readable = True
            self.source.reactor.loop.post(self.source)  # there may be more, for whoever reads then
        if self._outgoing:
            self._broke(_SPOKE_FIRST)  # it has not been asked yet: it was idle when this came, and lent in this turn
        elif user is None:
            self._lost_while_idle()
        else:
            user.upstream_received(_buffer[:count] if count > _SMALL else bytes(_buffer[:count]), now)

    def socket_ready(self) -> None:
        """Bytes have come, or the end, or both. (Owners read on as long as C{readable} stays.)"""
        source = self.source
        if source is None:
            self._read_transport()
            return
        calls = 0
        while source.readable and source.reader is self:
            calls += 1
            if calls > MOST_CALLS:  # the others have their turn
                source.reactor.loop.post(source)
                return
            try:
                count = source.recv_into(_buffer)
            except OSError as error:
                self._broke(error.strerror or str(error))
                return
            if count == WOULD_BLOCK:
                return
            self._received(_buffer[:count] if count > _SMALL else bytes(_buffer[:count]))

    def _read_transport(self) -> None:
        wire = self.wire
        while wire.readable and wire.reader is self:
            data = wire.receive()
            self._received(data)
            if not data:
                return
        if wire.reader is self:
            wire.resume()

    def _received(self, data: bytes | memoryview) -> None:
        if self.user is None:
            self._lost_while_idle()
        else:
            self.user.upstream_received(data, self.upstream.clock.seconds())

    def socket_lost(self, reason: Failure) -> None:
        """Somebody else closed it."""
        self._broke(reason.getErrorMessage())

    def _broke(self, why: str) -> None:
        user = self.user
        if user is None:
            self._lost_while_idle()
            return
        self.close()
        user.upstream_lost(why)

    def _lost_while_idle(self) -> None:
        self.upstream.forget(self)
        self.upstream.counted.lost += 1
        self.close()

    @property
    def unsent(self) -> bool:
        """Whether the request waits for the end of the turn: no server has seen anything of it."""
        return bool(self._outgoing)

    @property
    def useless(self) -> bool:
        """Whether it is known to have ended or said something while it was idle, though its event has not been handled yet."""
        source = self.source
        if source is None:
            return not self.open or self.wire.readable
        return bool(source.events or source.pending_eof) or (source.readable and self._has_more())

    @property
    def spoke_first(self) -> bool:
        """
        The same, asked of the kernel, for who sends a request at once: its event may be of this very turn, and is handled later.
        """
        return self.requests > 0 and self.source is not None and self._has_more()

    def _has_more(self) -> bool:
        """Whether something came behind the response: a read that took all that it asked for does not tell."""
        try:
            self.source.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.source.readable = False
            return False
        except OSError:
            pass
        return True

    # its end

    def close(self) -> None:
        """Close it, or stop connecting. A second call does nothing."""
        self._end(False)

    def abort(self) -> None:
        """The same by a reset: what it still carries is of no use to anybody."""
        self._end(True)

    def _end(self, reset: bool) -> None:
        self.user = None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        wire = self.wire
        if wire is None or not self.open:
            return
        self.open = False
        wire.reader = None
        if self.source is not None:
            wire.relay = None
            if reset:
                wire.reset()
            else:
                wire.close()
        elif reset:
            abort(wire.transport)
        else:
            lose(wire.transport, self.upstream.clock, _PATIENCE)
