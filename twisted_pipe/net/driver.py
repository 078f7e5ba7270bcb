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
from twisted_pipe.core.decoding import BodyDecoder
from twisted_pipe.core.file_use import FileUse
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
from twisted_pipe.net.fastpath import FastPath
from twisted_pipe.net.keptfile import KeptFile
from twisted_pipe.net.live import live_pipes
from twisted_pipe.net.outcome import PipeOutcome
from twisted_pipe.net.rate import NO_LIMIT, RateLimit
from twisted_pipe.net.sink import AwaitedSink, ConsumerSink, Sink, SocketSink
from twisted_pipe.net.source import ProducerSource, SocketSource, Source
from twisted_pipe.net.spiller import Spiller
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.net.timeouts import Timeouts

__all__ = ["EventPipe", "PipeOutcome", "slab_pool"]

_log = Logger()
_TURN_BUDGET = 1024 * 1024  # bytes a pipe may move before the others have their turn
_AWAIT_COST = 65536  # of that: filters that wait for what has come already have to let others have theirs, too
_AGAIN_COST = 65536  # likewise: a producer that writes as soon as it is asked, or a consumer that resumes as soon as it was paused
_SPILL_COST = 8  # of that, each byte that goes to disk: nobody waits for it
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

    Its downstream may come later: while that is None, what comes is received and spilled, as for a stuck client, until L{wanted}
    fires and the owner calls L{deliver_to}. No C{send_timeout} runs before. If the upstream fails before, the pipe ends.

    At a clean end the downstream is half-closed. A pipe that breaks aborts the downstream (after it has delivered what was
    received, if the upstream is to blame) and stops the upstream. With C{keep_open} it does neither: the owner closes. A downstream
    that is no transport is told C{unregisterProducer} however the pipe ends; L{done} tells how. A C{twisted.web} request is the
    owner's to finish at a clean end, and only then.

    @ivar done: fires with the L{PipeOutcome}, never fails. Cancelling it abandons the pipe.
    @ivar received: fires with None as soon as nothing more is read from the upstream, however long delivering takes: its
        connection can be let go. Never fails.
    @ivar wanted: fires with None when it has everything, or can take no more (L{full}), and has no downstream yet: L{deliver_to}
        is due. Never fails; it does not fire if the pipe ends before.
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
        keep_file: bool = False,
        file: KeptFile | None = None,
        name: str = "pipe",
        head: bytes = b"",
        decoder: BodyDecoder | None = None,
    ) -> None:
        """
        @param upstream: the transport (or C{IPushProducer}) whose bytes are taken; None if L{registerProducer} tells later.
        @param downstream: the transport (or C{IConsumer}) that gets them; None if L{deliver_to} tells later.
        @param filters: C{IPipeFilter}s in order, as they are or as L{NamedFilter}s.
        @param limits: its bounds.
        @param clock: an C{IReactorTime}; default the reactor of the downstream or the upstream.
        @param spill: where spill files are made; default L{SpillDirectory}'s.
        @param preread: the first bytes of the stream, if they were read already.
        @param length: bytes of the whole stream, if known: it then ends by itself.
        @param keep_open: leave closing of both transports to the caller.
        @param store: a path. Everything goes to a file, from which the downstream is fed, and which is put there when the stream is
            whole (nginx C{cacheable}, C{proxy_store}), even if the downstream was lost before. What breaks off is not kept.
            It is not synced (C{fsync}): it outlives the process, but perhaps not a loss of power.
        @param on_stored: then called with the path and the length.
        @param keep_file: everything goes to a spill file, which can be taken when L{wanted} fires (L{take_file}), unless there is a
            downstream: what is delivered is not to be taken. It is bounded as others are; what does not fit makes this a pipe like
            any other.
        @param file: the whole stream; there is no upstream then. It stays the caller's, who closes it after the end of the pipe.
        @param name: for logs and C{repr}.
        @param head: bytes that the downstream gets before everything else, past filters, C{length} and C{decoder}, and together
            with the first of the stream if these are there. They are not stored; L{bytes_out} counts them.
        @param decoder: takes the stream out of what is received, C{preread} included, and tells its end.
        @raise TypeError: there is no clock.
        @raise twisted_pipe.errors.BadConfiguration: C{length} is no number of bytes, or there is a C{decoder}, too.
        """
        self.name = name
        self.limits = limits
        self.done: Deferred[PipeOutcome] = Deferred(self._cancel)
        self.received: Deferred[None] = Deferred()
        self.wanted: Deferred[None] = Deferred()
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
            limits,
            slab_pool(limits.buffer_size),
            named,
            length if file is None else 0,
            preread,
            spill.quota if file is None else None,  # it counts already
            use=_file_use(store, keep_file and downstream is None, file),
            held=0 if file is None else file.size,
            head=head,
            decoder=decoder,
            awaited=downstream is None,
        )
        self._spiller = Spiller(self._pipe, spill, store, file, self, self._go_on_after_a_wait)
        self._awaiting = Awaiting(self._pipe, clock, self, self._go_on_after_a_wait)
        self._running = self._again = self._ended = self._slow = False
        self._later: Any = None
        self._bulk = False  # the last read filled all it was given: the next may have more
        self._started = self._progress = clock.seconds()
        self._rate = RateLimit(clock, limits.limit_rate, limits.limit_rate_after, self._paced)
        self._rate.passed(self._pipe.bytes_in, self._pipe.bytes_in)
        self._timeouts = Timeouts(self._pipe, limits, clock, self, self._started)
        source = edge_of(upstream)
        self._pushed = None if source is not None else ProducerSource(upstream)
        self._source: Source = SocketSource(source, self) if source is not None else self._pushed  # type: ignore[assignment]
        self._relay: FastPath | None = None
        if getattr(upstream, "disconnected", False):
            self._pipe.did_fail(UpstreamFailed("the connection is gone"))  # its protocol will not say so any more
        self._sink: Sink = AwaitedSink()
        if downstream is not None:
            self._attach(downstream)
        if not self._ended:
            live_pipes.add(self)
            self._timeouts.start(self._started)
        self._turn()

    def _attach(self, downstream: Any) -> None:
        """C{downstream} is where the bytes go. It may say at once that it is gone."""
        source, sink = self._source, edge_of(downstream)
        self._sink = SocketSink(sink) if sink is not None else ConsumerSink(downstream, self.limits.busy_size)
        plain = self._pipe.chain is None and self._pipe.decoder is None and not self._pipe.disk.use.keeps
        edge = source.edge if isinstance(source, SocketSource) else None
        if plain and edge is not None and sink is not None and self._clock is edge.transport.reactor:
            self._relay = FastPath(edge, sink, self._pipe, self._rate, self, self._started)
        self._sink.attach(self)

    def deliver_to(self, downstream: Any, head: bytes = b"") -> None:
        """
        The downstream of a pipe that was made without one is there: from here on everything flows.

        @param downstream: the transport (or C{IConsumer}).
        @param head: as that of the constructor, which it precedes.
        @raise PipeFinished: the pipe has ended meanwhile; C{downstream} was not touched.
        @raise RuntimeError: it has one already.
        """
        if self._ended:
            raise PipeFinished(f"{self.name}: a downstream came to a pipe that has ended")
        if self._downstream is not None:
            raise RuntimeError(f"{self.name} delivers to {self._downstream!r} already; it cannot to {downstream!r}")
        self._downstream = downstream
        self._timeouts.excuse(self._clock.seconds())
        self._pipe.did_connect(head)
        self._attach(downstream)
        self._turn()

    def take_file(self) -> KeptFile | None:
        """
        Instead of L{deliver_to}, of a pipe that was made with C{keep_file}: its file, which holds the whole stream. The pipe ends,
        and cleanly.

        @return: None, and nothing has happened, if the file does not hold the whole stream, or a downstream is there.
        """
        pipe = self._pipe
        if self._ended or pipe.disk.use is not FileUse.REPLAY or not pipe.whole_on_disk or self._downstream is not None:
            return None
        file = self._spiller.take()
        self._stored = True
        pipe.did_take_file()
        self._turn()
        return file

    def __repr__(self) -> str:
        return f"<EventPipe {self.name} {'ended' if self._ended else repr(self._pipe)}>"

    @property
    def bytes_in(self) -> int:
        """Received so far."""
        return self._pipe.bytes_in + self._relayed

    @property
    def bytes_out(self) -> int:
        """Delivered so far, the head included."""
        return self._pipe.bytes_out + self._relayed

    @property
    def ended(self) -> bool:
        """Whether it is over: nothing may be written to it any more."""
        return self._ended

    @property
    def surplus(self) -> int:
        """Bytes that came behind the end of the stream."""
        return self._pipe.surplus

    @property
    def upstream_whole(self) -> bool:
        """Whether all of the stream has been received, and its end."""
        return self._pipe.upstream is Flow.ENDED

    @property
    def upstream_blocked(self) -> bool:
        """Whether the upstream is not read because no buffer is free."""
        return self._pipe.upstream_blocked

    @property
    def full(self) -> bool:
        """Whether it can take no more before there is a downstream: buffers and file are full, or nothing may be spilled."""
        return self._pipe.full

    @property
    def leftover(self) -> bytes:
        """
        What was received behind the end of the stream, at most what one read takes: of a request, the beginning of the next one.
        It is not delivered.
        """
        return self._pipe.leftover

    @property
    def unread(self) -> bytes:
        """After its end: what its upstream had pushed and it had not yet read. A socket keeps that itself."""
        return b"" if self._pushed is None else self._pushed.unread

    def take_unread(self) -> bytes:
        """
        Once the stream is whole (L{upstream_whole}), before the end of the pipe: what its upstream has pushed behind
        L{leftover}. It is the caller's from then on. A socket keeps that itself.
        """
        return b"" if self._pushed is None else self._pushed.take()

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
        """When bytes last moved, in the clock's seconds; now, while nothing can move for want of a downstream."""
        progress: float = self._clock.seconds() if self._pipe.waits_for_downstream else self._progress
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
            self._turn()  # which leaves the fast path

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
        if self._relay is not None:
            self._relay.leave()
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
        if self._relay is not None and self._relay.taken:
            self._relay.socket_ready()
        else:
            self._turn()

    def socket_lost(self, reason: Failure) -> None:
        """A transport was closed by somebody else."""
        if self._ended:
            return
        if self._pipe.downstream is Flow.OPEN and not getattr(self._downstream, "connected", True):
            self._lose_downstream(reason.getErrorMessage())
        elif not getattr(self._upstream, "connected", True):  # else it is a downstream that had failed before
            self.upstream_lost(reason)

    def _lose_downstream(self, why: str) -> None:
        if not self._ended:
            self._pipe.did_break(DownstreamFailed(why))
            self._turn()

    # the turn

    def take_turn(self) -> None:
        """Go on, for the fast path."""
        self._turn()

    def _turn(self) -> None:
        """Do steps until there is nothing to do. Never nested: a call from within makes the running one go on."""
        if self._running:
            self._again = True
            return
        if self._ended:
            return
        self._running = True
        try:
            self._again = False
            budget = self._run_steps(_TURN_BUDGET)
            while self._again and not self._ended and self._later is None:  # else the others have their turn first
                self._again = False
                budget -= _AGAIN_COST
                if budget > 0:
                    budget = self._run_steps(budget)
                else:
                    self._come_back()
        finally:
            self._running = False

    def _run_steps(self, budget: int) -> int:
        """Returns what is left of C{budget}."""
        pipe, source, sink, relay = self._pipe, self._source, self._sink, self._relay
        if relay is not None:
            relay.leave()
        now = self._clock.seconds()
        came, went = pipe.bytes_in, pipe.bytes_out
        while True:
            step = pipe.next_step(source.readable, sink.writable)
            if step is Step.READ:
                if relay is not None and sink.writable and relay.possible:
                    break  # it can do that
                budget -= self._read(now)
            elif step is Step.WRITE:
                budget -= self._write()
            elif step is Step.SEND_FILE:
                budget -= self._send_file()
            elif step is Step.SPILL:
                budget -= self._spiller.write() * _SPILL_COST
            elif step is Step.AWAIT:
                budget -= _AWAIT_COST
                self._awaiting.begin()
            else:
                break
            if budget <= 0:
                self._come_back()
                break
        if pipe.upstream is not Flow.OPEN or pipe.downstream is Flow.AWAITED:
            source.settle(pipe.wants_read)  # before its owner reads it again by himself
            self._tell_owner(pipe, step)
            sink, relay = self._sink, self._relay  # which it may just have brought
        if pipe.chain is not None:
            self._look_after_filters(now, pipe.chain)
        if step is Step.FINISH or step is Step.ABANDON:
            self._end()
            return budget
        came, went = pipe.bytes_in - came, pipe.bytes_out - went
        if came or went:
            self._progress = now
        passing = relay if relay is not None and pipe.wants_read and relay.possible else None
        # what is there already the fast path reads at once, and this pipe may have no other turn after that
        waits_for_bytes = pipe.wants_read and (passing is not None or not source.readable)
        waits_for_room = pipe.wants_write and not sink.writable
        self._timeouts.measure(now, waits_for_bytes, bool(came), waits_for_room, bool(went))
        source.settle(pipe.wants_read)
        sink.settle(pipe.wants_write)
        if passing is not None:
            passing.take()
        return budget

    def _come_back(self) -> None:
        """Go on when the others have had their turn."""
        if self._later is None:
            self._later = self._clock.callLater(0, self._go_on)

    def _tell_owner(self, pipe: Pipe, step: Step) -> None:
        """After a turn: what can be told before the end."""
        if pipe.upstream is not Flow.OPEN and not self.received.called:
            self.received.callback(None)
        if step is Step.WAIT and pipe.waits_for_downstream and not self.wanted.called:
            self.wanted.callback(None)

    def _look_after_filters(self, began: float, chain: FilterChain) -> None:
        """After a turn: log those that were bypassed, and (once) that they took everybody's time."""
        for problem in chain.take_problems():
            _log.error("{pipe.name}: bypassed: {problem}", pipe=self, problem=problem.describe())
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
        if self._store is not None:
            self._stored = pipe.stored and self._spiller.keep()
            if self._stored and self._on_stored is not None:
                self._tell_stored(pipe)
        self._awaiting.stop()  # before the filters are told: they need not care for what they wait for
        for problem in pipe.close():
            _log.error("{pipe.name}: {problem}", pipe=self, problem=problem.describe())
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
            self._relay.close()
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
            if self._downstream is not None:  # else its file was taken
                half_close(self._downstream)
            return
        if self._downstream is None:
            pass
        elif outcome.error.side is Side.UPSTREAM:
            abort_when_sent(self._downstream, self._clock, self.limits.send_timeout)
        else:
            abort(self._downstream)
        if self._upstream is not None:
            self._upstream.stopProducing()


def _file_use(store: str | None, keep_file: bool, file: KeptFile | None) -> FileUse:
    """What an L{EventPipe} that was made with these has its file for."""
    if file is not None:
        return FileUse.HELD
    if store is not None:
        return FileUse.STORE
    return FileUse.REPLAY if keep_file else FileUse.SPILL


_default_spill = SpillDirectory()
