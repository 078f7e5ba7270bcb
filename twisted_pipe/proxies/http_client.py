"""
A client's HTTP/1 connection: reads heads, has one exchange at a time, writes what that answers.

What HTTP/1 is on the wire stands here and in L{twisted_pipe.proxies.upstream_connection}; an exchange knows heads, a source and a
sink of a body, and an end. Requests that come while one is answered wait in the kernel; what a read has brought of them waits
here, at most that one read.
"""

from __future__ import annotations

import enum
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ISSLTransport
from twisted.python.failure import Failure

from twisted_pipe.errors import Side, TimedOut
from twisted_pipe.http.forwarding import Forwarder
from twisted_pipe.http.head import BadMessage, RequestHead, parse_request
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.closing import abort, abort_when_sent, can_half_close, close_when_sent, half_close
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.edge import MOST_CALLS, WOULD_BLOCK
from twisted_pipe.net.outcome import PipeOutcome
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.preface.proxy_header import Version
from twisted_pipe.proxies.connection_facts import facts_of
from twisted_pipe.proxies.exchange import Exchange
from twisted_pipe.proxies.http_settings import HttpSettings
from twisted_pipe.proxies.proxy_header_out import header_for
from twisted_pipe.proxies.watch import NEVER

if TYPE_CHECKING:
    from twisted_pipe.proxies.http import HttpProxy

__all__ = ["ClientState", "HttpClient"]

RECEIVE = 16 * 1024  # bytes of one read: a request's head, and often its body
_RECEIVE_BODY = 64 * 1024  # likewise, of a body that is kept in memory
_JOINED = 16 * 1024  # of a response up to which its body is copied behind its head
_LONGEST_LINGERING = 30.0  # seconds
_SHOWN = 200  # bytes of a line that could not be understood, for the log

#: What is read off the hot path; it is copied at once.
_buffer = memoryview(bytearray(_RECEIVE_BODY))


class ClientState(enum.Enum):
    """What comes next on the connection."""

    IDLE = "idle"  #: a request, some time
    HEAD = "head"  #: the rest of a head
    BODY = "body"  #: the rest of a body that is kept in memory
    BUSY = "busy"  #: nothing that we read: an exchange goes on
    LINGERING = "lingering"  #: whatever the client still sends; it is dropped
    CLOSED = "closed"


_IDLE, _HEAD, _BODY, _BUSY = ClientState.IDLE, ClientState.HEAD, ClientState.BODY, ClientState.BUSY
_LINGERING, _CLOSED = ClientState.LINGERING, ClientState.CLOSED


class HttpClient:
    """
    One connection. A C{SocketOwner}, C{Watched}, and what the loop calls for plain events (as a C{Relay}).

    @ivar proxy: whose client it is.
    @ivar wire: a L{BareSocket} or a L{TransportWire}.
    @ivar source: the bare socket, None for a transport. (The loop asks a relay for it.)
    @ivar state: see L{ClientState}.
    @ivar host: the client's address, without port; C{port} its port.
    @ivar scheme: C{http}, or C{https} if it comes by TLS.
    @ivar facts: what is known of the connection beside its addresses.
    @ivar serial: number of the connection.
    @ivar requests: how many have come.
    @ivar keep: whether the connection can go on after the current response.
    @ivar pending: what has come of the next request.
    @ivar broken_line: the first line of what could not be understood.
    """

    __slots__ = (
        "_before",
        "_exchange",
        "_flushing",
        "_forwarder",
        "_forwards_for",
        "_going",
        "_good_until",
        "_head_limits",
        "_lingers_from",
        "_most_requests",
        "_outgoing",
        "_proxy_headers",
        "_recv",
        "_send",
        "_since",
        "broken_line",
        "facts",
        "host",
        "keep",
        "pending",
        "port",
        "proxy",
        "requests",
        "scheme",
        "serial",
        "source",
        "state",
        "wire",
    )

    def __init__(self, proxy: HttpProxy, wire: BareSocket | TransportWire) -> None:
        self.proxy = proxy
        self.wire: Any = wire
        self.source: Any = None
        self._recv: Any = None
        self._send: Any = None
        self._outgoing = b""  # a response, until the end of the turn
        self._proxy_headers: dict[Version, bytes] | None = None
        if isinstance(wire, BareSocket):
            self.source = wire
            self._recv = wire.socket.recv
            self._send = wire.socket.send
            peer = wire.getPeer()
            encrypted = not wire.plain
        else:
            peer = wire.transport.getPeer()  # type: ignore[union-attr]
            encrypted = ISSLTransport.providedBy(wire.transport)
        self.scheme = "https" if encrypted else "http"
        self.facts = facts_of(wire.transport)
        self.host: str = getattr(peer, "host", None) or "unix:"
        self.port: int = getattr(peer, "port", None) or 0
        self.state = _IDLE
        self.pending = self.broken_line = b""
        self.requests = 0
        settings = proxy.client_settings
        self._head_limits = proxy.head_limits
        self._before: RequestHead | None = None
        self._most_requests = settings.keepalive_requests if settings.keepalive_timeout else 0
        self.keep = True
        proxy.totals.accepted += 1
        self.serial = proxy.totals.accepted
        now = self._since = proxy.clock.seconds()
        self._good_until = now + (settings.keepalive_time or NEVER)
        self._exchange: Exchange | None = None
        self._flushing: EventPipe | None = None
        self._lingers_from = 0.0
        self._going = False  # requests that came together are being begun one after the other
        self._forwarder: Any = None
        self._forwards_for: HttpSettings | None = None
        proxy.clients.add(self)
        proxy.watch.start()
        self.listen()

    def __repr__(self) -> str:
        return f"<HttpClient {self.name} {self.state.value} requests={self.requests}>"

    @property
    def name(self) -> str:
        """Its address, for logs."""
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def gone(self) -> bool:
        """Whether the connection has broken off."""
        source = self.source
        if source is None:
            return self.wire.gone  # type: ignore[no-any-return]
        if source.failed is not None or not source.open:
            return True
        try:
            source.socket.getpeername()
        except OSError:  # a pipe that read it has met a reset
            return True
        return False

    @property
    def transport(self) -> Any:
        """What pipes read and write."""
        return self.wire.transport

    def proxy_header(self, version: Version) -> bytes:
        """What a server is told first that is asked on behalf of this client. Made once: it is the same for all requests."""
        headers = self._proxy_headers
        if headers is None:
            headers = self._proxy_headers = {}
        if version not in headers:
            headers[version] = header_for(version, self.transport)
        return headers[version]

    @property
    def last_progress(self) -> float:
        """For C{worker_connections}: who is being answered is not idle."""
        return self._since if self.state is _IDLE else NEVER

    def forwarder(self, settings: HttpSettings) -> Forwarder:
        """What tells upstreams about this client."""
        if self._forwards_for is not settings:
            self._forwards_for = settings
            client = b"unix" if self.host == "unix:" else self.host.encode()
            self._forwarder = Forwarder(settings.forwarded, settings.via, client, self.scheme.encode())
        made: Forwarder = self._forwarder
        return made

    # reading

    def listen(self) -> None:
        """Take what comes on the connection: it is not a pipe's, or not any more."""
        self.wire.reader = self
        if self.source is not None:
            self.source.relay = self
        else:
            self.wire.release()
            self.wire.resume()

    def lend(self) -> None:
        """A pipe reads the connection from here on, until L{listen}."""
        if self.source is not None:
            self.source.relay = None

    def hold(self) -> None:
        """Read nothing more: somebody else does, to the end of the connection."""
        self.lend()
        self.wire.reader = None

    def run(self, now: float) -> None:
        """The loop: plain bytes have come. The hot path."""
        state = self.state
        if state is _BUSY:
            source = self.source
            source.readable = True
            if source.relay is not self and source.open:
                # lent in this very turn: who reads it now knows nothing of these bytes
                source.reactor.loop.post(source)
            return
        most = _RECEIVE_BODY if state is _BODY else RECEIVE
        try:
            data = self._recv(most)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        if len(data) == most:
            self.source.readable = True
        if state is _IDLE and data:
            self._since = now
            self.pending = data
            self.state = _HEAD
            self._go_on(now)
        else:
            self._received(data, now)
        if self.source.readable and self.state is not _BUSY:
            self.socket_ready()

    def socket_ready(self) -> None:
        """Bytes have come, or the end, or both; or an error, which an exchange that goes on must hear of."""
        source = self.source
        if source is None:
            self._read_transport()
            return
        calls = 0
        while source.readable and source.reader is self and self.state is not _BUSY:
            calls += 1
            if calls > MOST_CALLS:  # the others have their turn
                source.transport.reactor.loop.post(source)
                return
            try:
                count = source.recv_into(_buffer if self.state is _BODY else _buffer[:RECEIVE])
            except OSError as error:
                self._lost(error.strerror or str(error))
                return
            if count == WOULD_BLOCK:
                return
            self._received(bytes(_buffer[:count]), self.proxy.clock.seconds())
        if source.pending_eof and self.state is _BUSY:
            # the end alone is no more than a client that has nothing to add
            problem = source.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                self._lost(os.strerror(problem))

    def _read_transport(self) -> None:
        wire = self.wire
        while wire.readable and wire.reader is self and self.state is not _BUSY:
            data = wire.receive()
            self._received(data, self.proxy.clock.seconds())
            if not data:
                return
        if wire.gone and self.state is _BUSY:
            self._lost("the connection was closed")
        elif self.state is not _CLOSED and wire.reader is self and not wire.readable:
            wire.resume()  # also while it is answered: a paused transport does not tell that its client has gone

    def socket_lost(self, reason: Failure) -> None:
        """The connection broke off, or somebody else closed it."""
        self._lost(reason.getErrorMessage())

    def _lost(self, why: str) -> None:
        exchange = self._exchange
        if exchange is not None:
            if self._flushing is not None:
                exchange.bytes_sent += self._flushing.bytes_out
            exchange.client_lost(why)
        if self.state is not _CLOSED:
            self._close(reset=True)

    def _received(self, data: bytes, now: float) -> None:
        """Bytes from the client, or C{b""} for the end of its sending."""
        state = self.state
        if state is _LINGERING:
            self._since = now
            if not data:
                self._close()
            return
        if state is _BODY:
            assert self._exchange is not None
            self._since = now
            self._exchange.body_received(data)
            self._go_on(now)
            return
        if state is _CLOSED:
            return  # by what ran earlier in this very turn; its socket may have to stay for a while
        if not data:
            self._ended()
            return
        if state is _IDLE:
            self._since = now
        if self.pending:
            data = self.pending + data
        self.pending = data
        self.state = _HEAD
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Begin the requests that have come, one after the other. Those answered by ourselves end before this does."""
        self._going = True
        exchange = None
        try:
            while self.pending and (self.state is _HEAD or self.state is _IDLE):
                data = self.pending
                head = parse_request(data, self._head_limits, self._before)
                if head is None:
                    self.state = _HEAD
                    return
                self._before = head
                self.pending = b""
                self.requests = requests = self.requests + 1
                self.keep = head.keep_alive and requests < self._most_requests and now < self._good_until
                exchange = self._exchange = Exchange(self, head, now)
                self.state = _BUSY
                exchange.begin(data[head.size :])
        except BadMessage as error:
            self._refuse(error, now)
        except Exception:
            (exchange or self._unread(now)).mistaken("the request could not be handled")
        finally:
            self._going = False

    def wait_for_body(self) -> None:
        """The exchange wants more of the body by C{body_received}."""
        self.state = _BODY
        if not self._going:
            # message filters had the request: no event tells again of what came meanwhile, and their time was not the client's
            self._since = self.proxy.clock.seconds()
            if self.wire.readable:
                self.proxy.clock.callLater(0, self._read_body)

    def _read_body(self) -> None:
        if self.state is _BODY:
            self.socket_ready()

    def stop_waiting(self) -> None:
        """It has the body."""
        if self.state is _BODY:
            self.state = _BUSY

    def _refuse(self, error: BadMessage, now: float) -> None:
        """What came is no request that could be answered otherwise."""
        self.broken_line = self.pending.lstrip(b"\r\n").split(b"\n", 1)[0].rstrip(b"\r")[:_SHOWN]
        self._unread(now).refuse(error.status, f"client: {error.why}", Side.DOWNSTREAM)

    def _unread(self, now: float) -> Exchange:
        """The exchange of a request that cannot be read."""
        self.requests += 1
        self.keep = False
        exchange = self._exchange = Exchange(self, None, now)
        self.state = _BUSY
        return exchange

    def _ended(self) -> None:
        """The client sends nothing more, and nothing of it is being answered."""
        if self.state is _HEAD:
            self._refuse(BadMessage(400, "it broke off in the middle of its head"), self.proxy.clock.seconds())
        else:
            self._close()

    # writing

    def encode(self, line: bytes, lines: list[bytes], length: bytes | None, chunked: bool) -> bytes:
        """The head as it goes out; with the fields that concern this connection only."""
        if not self.keep:
            lines = [*lines, b"Connection: close"]
        elif self._exchange is not None and self._exchange.minor == 0:
            lines = [*lines, b"Connection: keep-alive"]
        if length is not None:
            if lines:
                return b"%b\r\n%b\r\nContent-Length: %b\r\n\r\n" % (line, b"\r\n".join(lines), length)
            lines = [b"Content-Length: " + length]
        if chunked:
            lines = [*lines, b"Transfer-Encoding: chunked"]
        return b"\r\n".join([line, *lines, b"", b""])

    def respond(
        self, line: bytes, lines: list[bytes], length: bytes | None, body: bytes | memoryview, now: float
    ) -> None:
        """
        Send a whole response, a small one at the end of this turn. The exchange is told by C{delivered} when the kernel has it,
        which may be before this returns.

        @param line: its first line.
        @param lines: its fields, without C{Content-Length}.
        @param length: the value of that; None for none.
        """
        exchange, source = self._exchange, self.source
        assert exchange is not None
        if self.keep and lines and length is not None and exchange.minor:
            head = b"%b\r\n%b\r\nContent-Length: %b\r\n\r\n" % (line, b"\r\n".join(lines), length)
        else:
            head = self.encode(line, lines, length, False)
        exchange.header_bytes = len(head)
        size = len(head) + len(body)
        if source is None:
            if self.wire.gone:
                self._lost("the connection was closed")
                return
            self._since = now
            self.wire.send(head + body, partial(self._taken, size))
        elif size <= _JOINED:
            self._outgoing = head + body
            source.reactor.loop.late.append(self)
        else:
            self._send_parts((head, body), size, now)

    def _taken(self, size: int) -> None:
        """A transport has a whole response, and room for another one."""
        if self._exchange is not None:
            self._exchange.delivered(size, self.proxy.clock.seconds())

    def send_late(self, now: float) -> None:
        """The loop: the turn is over."""
        data, self._outgoing = self._outgoing, b""
        exchange = self._exchange
        if exchange is None:
            return  # the connection was lost in the same turn
        size = len(data)
        try:
            sent = self._send(data)
        except OSError as error:
            sent = self._send_failed(error)
        if sent == size:
            exchange.delivered(size, now)
        elif sent >= 0:
            self._flush(data[sent:], sent)

    def _send_parts(self, parts: tuple[bytes, bytes | memoryview], size: int, now: float) -> None:
        exchange = self._exchange
        assert exchange is not None
        try:
            sent = self.source.socket.sendmsg(parts)
        except OSError as error:
            sent = self._send_failed(error)
        if sent == size:
            exchange.delivered(size, now)
        elif sent >= 0:
            self._flush(b"".join(parts)[sent:], sent)

    def _send_failed(self, error: OSError) -> int:
        """What a failed send has sent: 0 if the client is only slow, -1 if it is gone."""
        if isinstance(error, BlockingIOError):
            return 0
        self.source.send_failed(error)
        self._lost(error.strerror or str(error))
        return -1

    def _flush(self, rest: bytes, sent: int) -> None:
        """The client is slow: what it did not take of a whole response is a pipe's business."""
        assert self._exchange is not None
        self._exchange.bytes_sent = sent
        self.source.writable = False
        limits = self._exchange.settings.limits
        pipe = EventPipe(None, self.transport, (), limits, clock=self.proxy.clock, head=rest, length=0, keep_open=True)
        self._flushing = pipe
        pipe.done.addCallback(self._flushed, sent)
        pipe.done.addErrback(partial(self._exchange.mistaken, "the response could not be ended"))

    def _flushed(self, outcome: PipeOutcome, sent: int) -> None:
        self._flushing = None
        exchange = self._exchange
        if exchange is None:
            return
        exchange.bytes_sent = sent + outcome.bytes_out
        if outcome.error is None:
            exchange.delivered(exchange.bytes_sent, self.proxy.clock.seconds())
        else:
            self._lost(str(outcome.error))

    def interim(self, data: bytes) -> None:
        """A response before the response (1xx). If it cannot be sent at once it is not sent: it is a courtesy."""
        source = self.source
        if source is None:
            self.wire.write(data)
        elif source.writable:
            try:
                sent = source.send((data,))
            except OSError as error:
                self._lost(error.strerror or str(error))
                return
            if 0 < sent < len(data):
                self._lost("it takes less than a line")

    # the end of an exchange

    def finished(self, unread: bool, broken: bool, now: float) -> None:
        """
        The exchange is over, and its response is in the kernel's hands.

        @param unread: whether some of the request was not read, so that no other can follow.
        @param broken: whether the response is not whole, which the client has to notice.
        """
        exchange, self._exchange = self._exchange, None
        if exchange is None or self.state is _CLOSED:
            return
        self.proxy.log(exchange)
        self._since = now
        if broken:
            self._close_broken()
        elif unread:
            self._linger()
        elif not self.keep:
            self._close()
        else:
            self.state = _IDLE
            self.wire.reader = self
            if not self._going and (self.pending or self.wire.readable):
                # not from within the exchange that is just ending, nor without end in one turn
                self.proxy.clock.callLater(0, self._read_on)

    def _read_on(self) -> None:
        if self.state is not _IDLE:
            return
        if self.pending:
            self._go_on(self.proxy.clock.seconds())
        if self.wire.readable and self.state in (_IDLE, _HEAD, _BODY):
            self.socket_ready()

    def fail(self, exchange: Exchange, failure: Failure) -> None:
        """The end of C{exchange} has failed, and with it the connection, whether it was told of that or not."""
        if self._exchange is exchange:
            self.finished(unread=True, broken=True, now=self.proxy.clock.seconds())
        self.socket_lost(failure)

    def _linger(self) -> None:
        """Close our half and read what the client still sends: closing with bytes unread would take its response away."""
        if not self.proxy.client_settings.lingering_timeout:
            self._close()
            return
        self.state = _LINGERING
        self.proxy.flush_logs()
        self.listen()
        if self.source is not None:
            self.source.loseWriteConnection()  # of TLS, too: what still comes is of no interest
        elif can_half_close(self.transport):
            half_close(self.transport)  # else the client sees by the response that it is the last one
        self._lingers_from = self.proxy.clock.seconds()
        if self.wire.readable:
            self.proxy.clock.callLater(0, self._linger_on)

    def _linger_on(self) -> None:
        if self.state is _LINGERING:
            self.socket_ready()

    def _close_broken(self) -> None:
        """The client has what there was; the end must not look like one."""
        self._leave()
        abort_when_sent(self.transport, self.proxy.clock, self._send_timeout)

    @property
    def _send_timeout(self) -> float:
        timeout: float = self.proxy.default_settings.limits.send_timeout
        return timeout

    def close(self) -> None:
        """The service stops."""
        exchange = self._exchange
        if exchange is not None:
            exchange.client_lost("the service stops")
        if self.state is not _CLOSED:
            self._close(reset=exchange is not None)

    def _close(self, reset: bool = False) -> None:
        self._leave()
        if reset:
            abort(self.transport)
        else:
            close_when_sent(self.transport, self.proxy.clock, self._send_timeout)

    def _leave(self) -> None:
        self.state = _CLOSED
        self.proxy.flush_logs()
        self.proxy.clients.discard(self)
        self.proxy.watch.forget(self)
        self.wire.reader = None
        if self.source is not None:
            self.source.relay = None
        else:
            self.wire.stop_sending()
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            flushing.done.cancel()

    # Watched

    def due(self) -> float:
        state, settings, since = self.state, self.proxy.client_settings, float(self._since)
        if state is _IDLE:
            return since + ((settings.keepalive_timeout if self.requests else settings.header_timeout) or NEVER)
        if state is _BUSY:
            if self.source is None and self.wire.sending is not None:
                return since + (self._send_timeout or NEVER)
            return NEVER if self._exchange is None else self._exchange.due()
        if state is _HEAD:
            return since + (settings.header_timeout or NEVER)
        if state is _BODY:
            return since + (settings.body_timeout or NEVER)
        if state is _LINGERING:
            return min(since + settings.lingering_timeout, self._lingers_from + _LONGEST_LINGERING)
        return NEVER

    def expire(self) -> None:
        now = self.proxy.clock.seconds()
        if self.due() > now:
            return
        state = self.state
        if state is _BUSY and self.source is None and self.wire.sending is not None:
            self._lost(str(TimedOut(Side.DOWNSTREAM, "send timeout", self._send_timeout)))
        elif state is _BUSY:
            assert self._exchange is not None
            self._exchange.expire()
        elif state is _HEAD:
            self._refuse(BadMessage(408, f"its head did not come within {self._head_time}"), now)
        elif state is _BODY:
            assert self._exchange is not None
            self.state = _BUSY
            self._exchange.body_timed_out()
        else:
            self._close()

    @property
    def _head_time(self) -> str:
        return f"{self.proxy.client_settings.header_timeout:g} s"
