"""
The event pipe between two Twisted transports.

L{twisted_pipe.core.pipe.Pipe} decides, L{EventPipe} acts: it asks for the next step, does it on the source, the sink or the
spill file, reports the fact, and stops at WAIT. It owns what the policy must not know: descriptors, the clock, Deferreds.

Between two of the C{epollet} reactor's TCP transports it works on the sockets themselves (recv_into its own buffers, sendmsg,
sendfile). Between any other transports, on any reactor, it is an C{IConsumer} to the upstream and an C{IPushProducer} to the
downstream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.core.buffers import SlabPool
from twisted_pipe.core.chain import FilterChain
from twisted_pipe.core.pipe import Flow, Pipe, Step
from twisted_pipe.errors import (
    Cancelled,
    DownstreamFailed,
    PipeError,
    PipeFinished,
    Side,
    TimedOut,
    UpstreamFailed,
)
from twisted_pipe.interfaces import IPipeFilter, NamedFilter
from twisted_pipe.limits import DEFAULT_LIMITS, PipeLimits
from twisted_pipe.net.awaiting import Awaiting
from twisted_pipe.net.closing import abort, abort_when_sent, half_close
from twisted_pipe.net.edge import edge_of
from twisted_pipe.net.live import live_pipes
from twisted_pipe.net.outcome import PipeOutcome
from twisted_pipe.net.rate import NO_LIMIT, RateLimit
from twisted_pipe.net.relay import Relay
from twisted_pipe.net.sink import ConsumerSink, Sink, SocketSink
from twisted_pipe.net.source import ProducerSource, SocketSource, Source
from twisted_pipe.net.spiller import Spiller
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.net.timeouts import Timeouts

__all__ = ["EventPipe", "PipeOutcome", "slab_pool"]

_log = Logger()
_TURN_BUDGET = 1024 * 1024  # bytes a pipe may move before the others have their turn
_AWAIT_COST = 65536  # of that: filters that wait for what has come already have to let others have theirs, too
_PIECE_COST = 64  # of that: a filter that puts out single bytes makes work all the same
_SLOW_FILTERS = 0.2  # seconds of one turn

_pools: dict[int, SlabPool] = {}


def slab_pool(size: int) -> SlabPool:
    """The process's pool of slabs of C{size} bytes."""
    pool = _pools.get(size)
    if pool is None:
        pool = _pools[size] = SlabPool(size)
    return pool


@implementer(IConsumer, IPushProducer)
class EventPipe:
    """
    One direction between two transports: buffered, bounded, spilled, filtered.

    It starts at once. In the reactor thread only.

    With an upstream that is not an C{epollet} TCP transport, its protocol hands over what arrives: C{dataReceived} calls
    L{write}, the clean end L{unregisterProducer} (or L{upstream_ended}), a loss L{upstream_lost}
    (L{twisted_pipe.net.pipe_end.PipeEnd} is a protocol that does this).

    At a clean end the downstream is half-closed. A pipe that breaks aborts the downstream (after it has delivered what was
    received, if the upstream is to blame) and stops the upstream. With C{keep_open} it does neither: the owner closes.

    @ivar done: fires with the L{PipeOutcome}, never fails. Cancelling it abandons the pipe.
    @ivar received: fires with None as soon as nothing more is read from the upstream, however long delivering takes: its
        connection can be let go. Never fails.
    """

    def __init__(
        self,
        upstream: Any,
        downstream: Any,
        filters: Sequence[IPipeFilter | NamedFilter] = (),
        limits: PipeLimits = DEFAULT_LIMITS,
        *,
        clock: Any = None,
        spill: SpillDirectory | None = None,
        preread: bytes = b"",
        length: int | None = None,
        keep_open: bool = False,
        store: str | None = None,
        on_stored: Callable[[str, int], object] | None = None,
        name: str = "pipe",
    ) -> None:
        """
        @param upstream: the transport (or C{IPushProducer}) whose bytes are taken; None if L{registerProducer} tells later.
        @param downstream: the transport (or C{IConsumer}) that gets them.
        @param filters: C{IPipeFilter}s in order, as they are or as L{NamedFilter}s.
        @param limits: its bounds.
        @param clock: an C{IReactorTime}; default the reactor of the downstream or the upstream.
        @param spill: where spill files are made; default L{SpillDirectory}'s.
        @param preread: the first bytes of the stream, if they were read already.
        @param length: bytes of the whole stream, if known: it then ends by itself.
        @param keep_open: leave closing of both transports to the caller.
        @param store: a path. Everything goes to a file, from which the downstream is fed, and which is put there when the stream is
            whole (nginx C{cacheable}, C{proxy_store}), even if the downstream was lost before. What breaks off is not kept.
        @param on_stored: then called with the path and the length.
        @param name: for logs and C{repr}.
        @raise TypeError: there is no clock.
        @raise twisted_pipe.errors.BadConfiguration: C{length} is no number of bytes.
        """
        self.name = name
        self.limits = limits
        self.done: Deferred[PipeOutcome] = Deferred(self._cancel)
        self.received: Deferred[None] = Deferred()
        clock = clock or getattr(downstream, "reactor", None) or getattr(upstream, "reactor", None)
        if clock is None:
            raise TypeError("neither transport has a reactor: pass clock=, an IReactorTime")
        self._clock = clock
        self._upstream = upstream
        self._downstream = downstream
        self._keep_open = keep_open
        self._store = store
        self._on_stored = on_stored
        self._stored = False
        named = [
            entry if isinstance(entry, NamedFilter) else NamedFilter(type(entry).__name__, entry) for entry in filters
        ]
        spill = spill or _default_spill
        self._pipe = Pipe(
            limits, slab_pool(limits.buffer_size), named, length, preread, spill.quota, cacheable=store is not None
        )
        self._spiller = Spiller(self._pipe, spill, store, self, self._go_on_after_a_wait)
        self._awaiting = Awaiting(self._pipe, clock, self, self._go_on_after_a_wait)
        self._running = self._again = self._ended = self._slow = False
        self._later: Any = None
        self._bulk = False  # the last read filled all it was given: the next may have more
        self._started = self._progress = clock.seconds()
        self._rate = RateLimit(clock, limits.limit_rate, limits.limit_rate_after, self._paced)
        self._timeouts = Timeouts(self._pipe, limits, clock, self, self._started)
        source, sink = edge_of(upstream), edge_of(downstream)
        self._pushed = None if source is not None else ProducerSource(upstream)
        self._source: Source = SocketSource(source, self) if source is not None else self._pushed  # type: ignore[assignment]
        self._sink: Sink = SocketSink(sink) if sink is not None else ConsumerSink(downstream, limits.busy_size)
        # The fast path, where nothing but the sockets decides: no filter, no length, nothing stored; and no rate.
        self._relay: Relay | None = None
        plain = not (named or store) and length is None
        if plain and source is not None and sink is not None and clock is source.transport.reactor:
            self._relay = Relay(source, sink, self, limits.memory, self._started)
        if getattr(upstream, "disconnected", False):
            self._pipe.did_fail(UpstreamFailed("the connection is gone"))  # its protocol will not say so any more
        self._sink.attach(self)  # a consumer that is gone says so at once
        if not self._ended:
            live_pipes.add(self)
            self._timeouts.start(self._started)
        self._turn()

    def __repr__(self) -> str:
        return f"<EventPipe {self.name} {'ended' if self._ended else repr(self._pipe)}>"

    @property
    def bytes_in(self) -> int:
        """Received so far."""
        return self._pipe.bytes_in + self._relayed

    @property
    def bytes_out(self) -> int:
        """Delivered so far."""
        return self._pipe.bytes_out + self._relayed

    @property
    def ended(self) -> bool:
        """Whether it is over: nothing may be written to it any more."""
        return self._ended

    @property
    def upstream_blocked(self) -> bool:
        """Whether the upstream is not read because no buffer is free."""
        return self._pipe.upstream_blocked

    @property
    def memory_bytes(self) -> int:
        """What waits in memory."""
        return self._pipe.memory_bytes

    @property
    def disk_bytes(self) -> int:
        """What waits on disk."""
        return self._pipe.disk.outstanding

    @property
    def _relayed(self) -> int:
        return self._relay.moved if self._relay is not None else 0

    @property
    def last_relayed(self) -> float:
        """When bytes last went past the policy, from socket to socket."""
        return self._started if self._relay is None else self._relay.last_progress

    @property
    def last_progress(self) -> float:
        """When bytes last moved, in the clock's seconds."""
        progress: float = self._progress
        return progress if self._relay is None else max(progress, self._relay.last_progress)

    @property
    def bytes_spilled(self) -> int:
        """Written to disk so far."""
        return self._pipe.bytes_spilled

    @property
    def limit_rate(self) -> int:
        """
        Bytes a second that are read from the upstream, 0 for no limit. May be set while the pipe runs; after the end that does
        nothing.

        @raise twisted_pipe.errors.BadConfiguration: when it is set to what is no rate.
        """
        return self._rate.rate

    @limit_rate.setter
    def limit_rate(self, rate: int) -> None:
        attrs.evolve(self.limits, limit_rate=rate)  # raises what is wrong with it
        self._rate.rate = rate
        if rate and self._relay is not None:
            self._turn()  # which takes it off the fast path

    # IConsumer, for an upstream that pushes

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        C{producer} will L{write}; it is paused and resumed as the bounds say, and stopped at once if the stream has ended.

        @raise RuntimeError: there is one already.
        @raise TypeError: the upstream is a socket, which the pipe reads itself.
        """
        if self._ended:
            producer.stopProducing()
            return
        self._pushing().register(producer, streaming)
        self._turn()

    def unregisterProducer(self) -> None:
        """The clean end of the stream. After the end it does nothing."""
        self.upstream_ended()

    def write(self, data: bytes) -> None:
        """
        The next bytes of the stream. What is not C{bytes} is copied.

        @raise PipeFinished: after its end.
        @raise TypeError: they are none, or the upstream is a socket, which the pipe reads itself.
        """
        if self._ended:
            raise PipeFinished(f"{self.name}: bytes were written to a pipe that has ended")
        self._pushing().push(data)
        self._turn()

    def upstream_ended(self) -> None:
        """
        The clean end of the stream; calls after it do nothing.

        @raise TypeError: the upstream is a socket, which the pipe reads itself.
        """
        if not self._ended:
            self._pushing().end()
            self._turn()

    def upstream_lost(self, reason: Failure) -> None:
        """The upstream's connection is gone: cleanly if C{reason} says so. Calls after the end do nothing."""
        if self._ended:
            return
        failure = UpstreamFailed(reason.getErrorMessage())
        if self._pushed is not None:
            self._pushed.end(None if reason.check(ConnectionDone) else failure)
        else:
            self._pipe.did_fail(failure)  # its socket was closed here, before it had told its end
        self._turn()

    def _pushing(self) -> ProducerSource:
        if self._pushed is None:
            raise TypeError(f"{self.name} reads its upstream's socket itself; nobody else may write to it")
        return self._pushed

    # IPushProducer, for a downstream that is a consumer

    def pauseProducing(self) -> None:
        """The downstream has enough for now. After the end it does nothing."""
        if isinstance(self._sink, ConsumerSink):
            self._sink.writable = False

    def resumeProducing(self) -> None:
        """The downstream takes bytes again. After the end it does nothing."""
        if isinstance(self._sink, ConsumerSink) and not self._ended:
            self._sink.writable = True
            self._turn()

    def stopProducing(self) -> None:
        """The downstream is gone. After the end it does nothing."""
        self._lose_downstream("the connection was closed")

    # SocketOwner, for the reactor's own transports

    def socket_ready(self) -> None:
        """A half of a socket may make progress."""
        relay = self._relay
        if relay is not None and (relay.armed or relay.waiting):
            relay.socket_ready()
        else:
            self._turn()

    # RelayOwner

    def relay_blocked(self, relay: Relay, rest: bytes) -> None:
        """The fast path has met a slow downstream."""
        if self._ended:
            return
        self._pipe.passed_by(rest)
        self._turn()

    def relay_ended(self, relay: Relay, error: OSError | None) -> None:
        """The upstream has ended, with nothing left to deliver."""
        if error is None:
            self._pipe.did_end()
        else:
            self._pipe.did_fail(UpstreamFailed(error.strerror or str(error)))
        self._turn()

    def relay_lost(self, relay: Relay, reason: Failure) -> None:
        """The upstream's transport was closed by somebody else."""
        self.socket_lost(reason)

    def relay_broken(self, relay: Relay, error: OSError, lost: int) -> None:
        """The downstream failed."""
        if self._ended:
            return
        self._pipe.bytes_in += lost
        self._pipe.did_break(DownstreamFailed(error.strerror or str(error)))
        self._turn()

    def socket_lost(self, reason: Failure) -> None:
        """A transport was closed by somebody else."""
        if self._ended:
            return
        if self._pipe.downstream is Flow.OPEN and not getattr(self._downstream, "connected", True):
            self._lose_downstream(reason.getErrorMessage())
        else:
            self.upstream_lost(reason)

    def _lose_downstream(self, why: str) -> None:
        if not self._ended:
            self._pipe.did_break(DownstreamFailed(why))
            self._turn()

    # the turn

    def _turn(self) -> None:
        """Do steps until there is nothing to do. Never nested: a call from within makes the running one go on."""
        if self._running:
            self._again = True
            return
        if self._ended:
            return
        if self._relay is not None:
            self._pipe.passed_by(self._relay.stop())
        self._running = True
        try:
            self._again = False
            self._run_steps()
            while self._again and not self._ended and self._later is None:  # else the others have their turn first
                self._again = False
                self._run_steps()
        finally:
            self._running = False

    def _run_steps(self) -> None:
        pipe, source, sink = self._pipe, self._source, self._sink
        now = self._clock.seconds()
        budget = _TURN_BUDGET
        came, went = pipe.bytes_in, pipe.bytes_out
        while True:
            step = pipe.next_step(source.readable, sink.writable)
            if step is Step.READ:
                if self._relay is not None and sink.writable and pipe.empty and not self._rate.rate:
                    break  # the fast path can do that
                budget -= self._read(now)
            elif step is Step.WRITE:
                budget -= self._write()
            elif step is Step.SEND_FILE:
                budget -= self._send_file()
            elif step is Step.SPILL:
                budget -= self._spiller.write()
            elif step is Step.AWAIT:
                budget -= _AWAIT_COST
                self._awaiting.begin()
            else:
                break
            if budget <= 0:
                if self._later is None:
                    self._later = self._clock.callLater(0, self._go_on)
                break
        if pipe.upstream is not Flow.OPEN and not self.received.called:
            self.received.callback(None)
        if pipe.chain is not None:
            self._look_after_filters(now, pipe.chain)
        if step is Step.FINISH or step is Step.ABANDON:
            self._end()
            return
        came, went = pipe.bytes_in - came, pipe.bytes_out - went
        if came or went:
            self._progress = now
        waits_for_bytes = pipe.wants_read and not source.readable
        waits_for_room = pipe.wants_write and not sink.writable
        self._timeouts.measure(now, waits_for_bytes, bool(came), waits_for_room, bool(went))
        source.settle(pipe.wants_read)
        sink.settle(pipe.wants_write)
        relay = self._relay
        if (
            relay is not None
            and pipe.empty
            and pipe.wants_read
            and not (self._rate.rate or relay.sink.transport.backlog)
        ):
            relay.arm()
            if source.readable:
                relay.source.transport.reactor.loop.post(relay.source)

    def _look_after_filters(self, began: float, chain: FilterChain) -> None:
        """After a turn: log those that were bypassed, and (once) that they took everybody's time."""
        for problem in chain.take_problems():
            _log.error("{pipe.name}: bypassed: {problem}", pipe=self, problem=problem)
        took = self._clock.seconds() - began
        if took >= _SLOW_FILTERS and not (self._slow or self._pipe.bytes_spilled):
            self._slow = True
            _log.warn(
                "{pipe.name}: filter {names} kept every connection waiting for {took:.1f} s: what takes long belongs in a thread",
                pipe=self,
                names=", ".join(chain.names),
                took=took,
            )

    def _go_on(self) -> None:
        self._later = None
        self._turn()

    def _go_on_after_a_wait(self) -> None:
        """It was for the rate, a filter or the disk: nobody's timeout."""
        self._timeouts.excuse(self._clock.seconds())
        self._turn()

    def _read(self, now: float) -> int:
        most = self._rate.budget(now, self.bytes_in)
        if most == 0:
            self._pipe.delayed = True
            return 0
        try:
            if self._bulk and most == NO_LIMIT:
                got = self._source.read_into_all(self._pipe.read_views())
                self._bulk = got > self.limits.buffer_size
            else:
                view = self._pipe.read_view(max(most, 0))
                got = self._source.read_into(view)
                self._bulk = got == len(view)
        except PipeError as error:
            self._pipe.did_fail(error)
            return 0
        except OSError as error:
            self._pipe.did_fail(UpstreamFailed(error.strerror or str(error)))
            return 0
        if got > 0:
            self._pipe.did_read(got)
            if most != NO_LIMIT:
                self._rate.passed(got, self.bytes_in)
            return got
        self._bulk = False
        if got == 0:
            self._pipe.did_end()
        return 0

    def _paced(self) -> None:
        self._pipe.delayed = False
        self._go_on_after_a_wait()

    def _write(self) -> int:
        batch = self._pipe.batch()
        pieces = len(batch)
        try:
            sent = self._sink.write(batch)
        except OSError as error:
            self._pipe.did_break(DownstreamFailed(error.strerror or str(error)))
            return 0
        del batch  # its views would look like a filter's that keeps them
        self._pipe.did_write(sent)
        return max(sent, pieces * _PIECE_COST)

    def _send_file(self) -> int:
        try:
            return self._spiller.send(self._sink)
        except PipeError as error:
            self._pipe.did_break(error)
        except OSError as error:
            self._pipe.did_break(DownstreamFailed(error.strerror or str(error)))
        return 0

    # the end

    def timed_out(self, error: TimedOut) -> None:
        """One side has kept us waiting for too long."""
        if error.side is Side.UPSTREAM:
            self._pipe.did_fail(error)
        else:
            self._pipe.did_break(error)
        self._turn()

    def abandon(self, error: PipeError) -> None:
        """
        End at once, uncleanly, because of C{error}; what is buffered is dropped. After the end it does nothing.

        @raise TypeError: C{error} is no C{PipeError}.
        """
        if not self._ended:
            self._pipe.did_break(error)
            self._turn()

    def _cancel(self, done: Deferred[PipeOutcome]) -> None:
        self.abandon(Cancelled(f"{self.name} was cancelled"))
        if (
            not done.called
        ):  # cancelled from within a turn: it ends when that unwinds, but a Deferred cannot wait for it
            done.callback(self._outcome())

    def _end(self) -> None:
        self._ended = True
        pipe = self._pipe
        self._stored = pipe.stored and self._spiller.keep()
        if self._stored and self._on_stored is not None:
            self._tell_stored(pipe)
        self._awaiting.stop()  # before the filters are told: they need not care for what they wait for
        for problem in pipe.close():
            _log.error("{pipe.name}: {problem}", pipe=self, problem=problem)
        live_pipes.discard(self)
        self._timeouts.cancel()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._rate.cancel()
        self._spiller.close()
        self._source.detach()
        self._sink.detach()
        if self._relay is not None:
            self._relay.stop()
        outcome = self._outcome()
        if not self._keep_open:
            self._close_transports(outcome)
        if not self.received.called:
            self.received.callback(None)
        if not self.done.called:
            self.done.callback(outcome)

    def _tell_stored(self, pipe: Pipe) -> None:
        assert self._on_stored is not None and self._store is not None
        try:
            self._on_stored(self._store, pipe.bytes_spilled)
        except Exception:  # the program's; this pipe has to end all the same
            _log.failure("{pipe.name}: on_stored", pipe=self)

    def _outcome(self) -> PipeOutcome:
        pipe = self._pipe
        return PipeOutcome(
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            bytes_spilled=pipe.bytes_spilled,
            peak_memory=pipe.peak_memory,
            surplus=pipe.surplus,
            seconds=self._clock.seconds() - self._started,
            error=pipe.error,
            stored=self._stored,
        )

    def _close_transports(self, outcome: PipeOutcome) -> None:
        if outcome.error is None:
            half_close(self._downstream)
            return
        if outcome.error.side is Side.UPSTREAM:
            abort_when_sent(self._downstream, self._clock, self.limits.send_timeout)
        else:
            abort(self._downstream)
        if self._upstream is not None:
            self._upstream.stopProducing()


_default_spill = SpillDirectory()
