"""
Streams through real sockets, by each of the ways there are, and what has to hold when they are over.

One seed makes one life: streams of all sizes, written in pieces of a byte or in bursts that fill a socket, read as fast, or
slowly, or not at all for a while; limits from next to nothing to more than a socket holds; ends that come at once, late, or
never, because a peer vanishes; with a head or without, of a length that is known, or in the chunked coding; to a downstream that is
there from the start, or comes later. It can be lived

- by the fast path: an C{EventPipe} with its relay, which sends by recv and send, by splice(2), and leaves what a slow client does
  not take to the pipe;
- by the general path: the same pipe with a rate limit that nothing reaches;
- through a whole session of the TCP proxy, with bare sockets or transports on either side, both directions at once.

Every life has to deliver the same: each byte once and in order, the clean end if there was one, and nothing left behind: no
slab, no registration, no descriptor, no byte in a kernel pipe, no timer.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket
import time
from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any
from unittest import mock

import attrs
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.hostile import Broken
from tests.net.fakes import Peer, WatchedSpill, open_fds
from tests.net.loopback import Loopback
from twisted_pipe.http.chunked import ChunkedDecoder, encode_chunk, last_chunk
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.loop import edge_sockets
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

__all__ = ["WAYS", "Facts", "live"]

NO_LIMIT = 10**12
PATIENT_TURNS = 1000  # then everybody makes haste
STUCK_TURNS = 500  # without a byte


@attrs.define
class Facts:
    """
    What happened in a life.

    @ivar delivered: bytes that arrived.
    @ivar spilled: bytes that were written to disk.
    @ivar relayed: bytes that relays passed on.
    @ivar spliced: of these, bytes that went through a kernel pipe.
    @ivar broken: whether a peer vanished.
    @ivar headed: whether a head went before the stream.
    @ivar measured: whether the length was known.
    @ivar chunked: whether it came in the chunked coding.
    @ivar late: whether the downstream came later.
    """

    delivered: int = 0
    spilled: int = 0
    relayed: int = 0
    spliced: int = 0
    broken: bool = False
    headed: bool = False
    measured: bool = False
    chunked: bool = False
    late: bool = False

    @property
    def mixed(self) -> bool:
        """Whether a relay passed on some of it, and a pipe the rest."""
        return 0 < self.relayed < self.delivered


class Wire:
    """
    One stream: its bytes, who sends them, and who takes them.

    @ivar stream: what the taker is to get.
    @ivar message: what the sender sends, if that is another.
    @ivar head: what the taker is to get before it.
    @ivar sent: bytes of the message that were sent.
    """

    def __init__(self, rng: random.Random, sender: Peer, taker: Peer, size: int) -> None:
        self.rng = rng
        self.sender, self.taker = sender, taker
        self.stream = self.message = rng.randbytes(rng.choice([0, 1, 5000, 100_000, 400_000]))
        self.head = b""
        self.decoder: ChunkedDecoder | None = None
        self.measured = False
        self.pieces = [1, 64, size, 10 * size, 100_000, 400_000]
        self.slow = rng.choice([0.02, 0.1, 0.6, 0.9])
        self.got = bytearray()
        self.sent = 0
        self.patient = rng.random() < 0.5  # the end comes only when everything has arrived: nothing else wakes anybody
        self.ended = False

    def measure(self) -> None:
        """Its length is known. What comes behind it is somebody else's."""
        self.measured = True
        self.message = self.stream + b"!" * self.rng.choice([0, 5, 200_000])

    def chunk(self) -> None:
        """It is sent in the chunked coding."""
        rng, at = self.rng, 0
        self.decoder = ChunkedDecoder()
        parts: list[bytes] = []
        sizes = rng.choice([[1, 2, 3], [100, 5000], [100_000]]) if len(self.stream) < 10_000 else [100, 5000, 70_000]
        while at < len(self.stream):
            piece = self.stream[at : at + rng.choice(sizes)]
            parts += encode_chunk(piece)  # type: ignore[arg-type]
            at += len(piece)
        self.message = b"".join([*parts, last_chunk(), b"!" * rng.choice([0, 0, 5])])

    @property
    def due(self) -> int:
        """How many bytes are to arrive for what was sent, the head included."""
        came = self.decoder.decoded if self.decoder is not None else min(self.sent, len(self.stream))
        return len(self.head) + came

    @property
    def whole(self) -> bool:
        """Whether the end is in what was sent."""
        if self.decoder is not None:
            return self.decoder.finished
        return self.sent >= len(self.stream) if self.measured else self.ended

    @property
    def over(self) -> bool:
        """Whether the taker knows the end."""
        return self.taker.ended or self.taker.reset

    def move(self) -> None:
        """Both peers do something, or not."""
        rng = self.rng
        if rng.random() < 0.7:
            with contextlib.suppress(ConnectionError):
                self.send()
        if rng.random() < self.slow:
            self.take(rng.choice([1, 1000, 1 << 20]) if self.slow < 1 else 1 << 20)

    def hurry(self) -> None:
        """From now on everything is sent and taken as it goes."""
        self.pieces, self.slow = [len(self.message)], 1.0

    def send(self) -> None:
        if self.ended or self.sender.socket.fileno() < 0:
            return
        if self.sent < len(self.message):
            before = self.sent
            self.sent += self.sender.write(self.message[self.sent : self.sent + self.rng.choice(self.pieces)])
            if self.decoder is not None and self.sent > before and not self.decoder.finished:
                self.decoder.decode(memoryview(bytearray(self.message[before : self.sent])))
        elif len(self.got) == self.due if self.patient else self.rng.random() < 0.3:
            self.ended = True
            self.sender.half_close()

    def take(self, most: int = 1 << 30) -> None:
        if self.taker.socket.fileno() >= 0:
            self.got += self.taker.read(most)

    def check(self, whole: bool) -> str:
        """What is wrong with what has arrived, if anything."""
        all_of_it = self.head + self.stream
        expected = all_of_it if whole else all_of_it[: len(self.got)]
        if self.got == expected and len(self.got) <= self.due:
            return ""
        first = next((at for at, (a, b) in enumerate(zip(self.got, all_of_it, strict=False)) if a != b), "nowhere")
        return f"{len(self.got)} of {len(all_of_it)} bytes ({self.sent} sent), the first wrong at {first}"


class Life:
    """What the lives have in common."""

    def __init__(self, seed: int, spill: str, modules: dict[str, ModuleType]) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.modules = modules
        self.facts = Facts()
        self.case = SynchronousTestCase()
        self.engine = Loopback(self.case)
        self.spill = WatchedSpill(spill)
        self.size = size = rng.choice([100, 4096, 65536])
        self.limits = PipeLimits(
            buffers=rng.randint(2, 4), buffer_size=size, max_temp_file_size=rng.choice([0, max(size, 50_000), 1 << 30])
        )
        self.slabs = modules["driver"].slab_pool(size)
        self.lent = modules["splice"].pipes.lent
        self.vanishes_at = rng.choice([1, 5, 20, 100]) if rng.random() < 0.3 else -1
        self.timeless = rng.random() < 0.35  # a relay has all the patience it needs
        # A reset loses what TCP has not delivered: nothing could be said of such a life.
        self.tcp = self.vanishes_at < 0 and rng.random() < 0.4

    def check(self, promise: object, what: str) -> None:
        if not promise:
            raise Broken(f"seed {self.seed}: {what}: {self!r}")

    def pair(self) -> tuple[socket.socket, Peer]:
        """Connected sockets."""
        return self.engine.tcp_pair() if self.tcp else self.engine.pair()

    def limit_buffers(self) -> None:
        """Small send buffers, or the system's own."""
        for edge in edge_sockets(self.engine.reactor.loop):
            # on TCP not smaller than a segment of the loopback interface: that would wait for timers of the kernel
            size = self.rng.choice([65536, 0, 0] if self.tcp else [4096, 65536, 0])
            if size:
                edge.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def flow(self, wires: list[Wire], vanish: Callable[[], object], over: Callable[[], bool]) -> None:
        """Until it is C{over}."""
        rng, engine = self.rng, self.engine
        moved, stuck = -1, 0
        for turn in count():
            if over():
                break
            before, moved = moved, sum(wire.sent + len(wire.got) for wire in wires)
            stuck = stuck + 1 if turn > PATIENT_TURNS and moved == before else 0
            self.check(stuck < STUCK_TURNS, "no end in sight")
            for wire in wires:
                if turn == PATIENT_TURNS:
                    wire.hurry()
                wire.move()
                self.check(len(wire.got) <= wire.due, "more arrives than was sent")
            if turn == self.vanishes_at:
                self.facts.broken = True
                for wire in wires:
                    wire.patient = False
                vanish()
            self.look_on()
            engine.turn(rng.randint(1, 3))
            if self.tcp and turn > PATIENT_TURNS:
                time.sleep(0.001)  # the kernel's, too
            if rng.random() < 0.1 and not self.timeless:
                engine.clock.advance(0.05)
        engine.settle()

    def look_on(self) -> None:
        """Called again and again while it lasts."""

    def leave(self, before: set[str], slabs: int) -> None:
        """Nothing may be left behind."""
        self.check(self.slabs.statistics().in_use == slabs, "a slab did not come back")
        self.check(self.spill.fds == [], "a spill file was not closed")
        pipes = self.modules["splice"].pipes
        self.check(pipes.lent == self.lent, "a kernel pipe did not come back")
        self.check(all(not pipe.held for pipe in pipes._free), "a byte was left in a kernel pipe")
        self.case.doCleanups()
        close_kernel_pipes(pipes)
        self.check(open_fds() == before, "a descriptor was not closed")


class PipeLife(Life):
    """
    A pipe between two transports.

    @cvar may_reset: whether a peer that vanishes may leave bytes unread, by which its end becomes an unclean one.
    """

    may_reset = True

    def __init__(self, seed: int, spill: str, modules: dict[str, ModuleType], fast: bool) -> None:
        gc.collect()
        close_kernel_pipes(modules["splice"].pipes)  # those of tests before
        self.before = open_fds()
        Life.__init__(self, seed, spill, modules)
        engine, rng = self.engine, self.rng
        (up, server), (down, client) = self.connected(accepted=False), self.connected(accepted=True)
        self.source = up.edge_socket()
        self.limit_buffers()
        engine.settle()
        self.in_use = self.slabs.statistics().in_use
        limits = self.limits if fast else attrs.evolve(self.limits, limit_rate=NO_LIMIT)
        self.wire = Wire(rng, server, client, self.size)
        self.breaker = rng.choice([server, client])
        self.up, self.down = up, down
        self.resets = rng.random() < 0.5 and self.may_reset
        if self.resets:
            self.source.send([b"never read"])
        self.outcome: Any = None
        facts, wire = self.facts, self.wire
        facts.headed, facts.late = rng.random() < 0.3, rng.random() < 0.2
        wire.patient = wire.patient and not facts.late  # it would wait for what nobody is there to get
        facts.measured = rng.random() < 0.3
        facts.chunked = not facts.measured and rng.random() < 0.25
        wire.head = rng.randbytes(rng.choice([1, 300, 20_000])) if facts.headed else b""
        if facts.measured:
            wire.measure()
        elif facts.chunked:
            wire.chunk()
        self.head_comes_late = facts.late and rng.random() < 0.5
        self.wanted, self.early = False, rng.random() < 0.5
        self.pipe = modules["driver"].EventPipe(
            up,
            None if facts.late else down,
            (),
            limits,
            clock=engine.reactor,
            spill=self.spill,
            head=b"" if self.head_comes_late else wire.head,
            length=len(wire.stream) if facts.measured else None,
            decoder=ChunkedDecoder() if facts.chunked else None,
        )
        self.delivers = not facts.late
        self.pipe.wanted.addCallback(lambda _: setattr(self, "wanted", True))
        self.pipe.done.addCallback(lambda outcome: setattr(self, "outcome", outcome))

    def connected(self, accepted: bool) -> tuple[Any, Peer]:
        """A transport, and what is at its other end."""
        ours, peer = self.pair()
        return self.engine.adopt(ours), peer

    def vanish(self) -> None:
        """One of the peers is gone."""
        self.breaker.close()

    def take_the_rest(self) -> None:
        """What the pipe has delivered."""
        self.wire.take()

    @property
    def under_way(self) -> bool:
        """Whether a peer has yet to send what counts as sent."""
        return False

    def __repr__(self) -> str:
        return f"{self.pipe!r} {self.outcome} {self.facts}"

    def look_on(self) -> None:
        """The downstream comes when it is wanted, or before."""
        if not self.delivers and self.outcome is None and (self.wanted or (self.early and self.rng.random() < 0.05)):
            self.delivers = True
            self.pipe.deliver_to(self.down, self.wire.head if self.head_comes_late else b"")

    def live(self) -> Facts:
        wire, pipe = self.wire, self.pipe
        self.flow([wire], self.vanish, lambda: wire.over if not self.facts.broken else self.outcome is not None)
        outcome = self.outcome
        self.check(outcome is not None, "the client knows the end, the pipe does not")
        broken = self.facts.broken
        self.take_the_rest()
        problem = wire.check(not broken)
        self.check(not problem, problem)
        counted = (outcome.bytes_in, outcome.bytes_out)
        if not self.delivers:
            self.check(broken and not outcome.clean and not wire.got, "it has delivered to nobody")
        elif not broken or self.breaker is wire.sender:
            self.check(len(wire.got) == wire.due, "bytes were lost that were sent before the end")
            self.check_count(outcome, wire.due)
            reset = broken and self.resets
            if self.facts.measured or self.facts.chunked:
                self.check(outcome.clean == wire.whole, "another end than it should have")
                unread = wire.sent - outcome.bytes_in if outcome.clean else 0
                self.check(
                    not unread or self.source.readable or self.under_way, "no edge will tell what is behind the stream"
                )
            else:
                self.check(outcome.clean or reset, "an unclean end")
                self.check(wire.ended or outcome.clean is not reset, "a clean end of what was broken off")
        else:
            self.check(wire.due >= outcome.bytes_out >= len(wire.got), "it counts otherwise")
            self.check(wire.sent >= outcome.bytes_in, "it counts otherwise")
        self.check(outcome.peak_memory <= self.limits.memory + len(wire.head), "more memory than its limits say")
        self.facts.delivered = max(len(wire.got) - len(wire.head), 0)
        self.facts.spilled = outcome.bytes_spilled
        self.engine.advance(0.2)
        self.check((pipe.bytes_in, pipe.bytes_out) == counted, "moved after the end")
        self.check(self.source.relay is None, "a relay is armed after the end")
        for transport in (self.up, self.down):
            transport.abortConnection()
        self.engine.settle()
        self.check(self.engine.reactor.getDelayedCalls() == [], "a timer was left behind")
        self.leave(self.before, self.in_use)
        return self.facts

    def check_count(self, outcome: Any, due: int) -> None:
        """Of a whole life: what was delivered, and what was received for it, some of it behind the end perhaps."""
        wire, behind = self.wire, outcome.surplus
        raw = outcome.bytes_in - behind
        self.check(outcome.bytes_out == due, "it counts otherwise what it delivered")
        self.check(self.pipe.leftover == b"!" * behind, "what is behind the stream is something else")
        if wire.decoder is None:
            self.check(raw == min(wire.sent, len(wire.stream)), "it counts otherwise what it received")
        else:
            self.check(wire.message[:raw].rstrip(b"!") == wire.message[: wire.sent].rstrip(b"!"), "it counts otherwise")


class SessionLife(Life):
    """A client, the proxy, and an upstream; both directions at once."""

    def __init__(self, seed: int, spill: str, modules: dict[str, ModuleType]) -> None:
        close_kernel_pipes(modules["splice"].pipes)
        self.before = open_fds()
        Life.__init__(self, seed, spill, modules)
        engine, rng = self.engine, self.rng
        tcp = modules["tcp"]
        settings = ProxySettings(limits=self.limits, idle_timeout=0, lingering_timeout=1000)
        bare_upstream, bare_client = rng.random() < 0.7, rng.random() < 0.7
        with socket.socket(socket.AF_INET if self.tcp else socket.AF_UNIX) as listener:
            listener.bind(("127.0.0.1", 0) if self.tcp else "")  # any port, or any abstract name
            listener.listen()
            address = listener.getsockname()
            address = address if self.tcp else os.fsdecode(address)
            group = UpstreamGroup(
                [UpstreamServer("origin", self, address if bare_upstream else None)], clock=engine.reactor
            )
            self.registered = engine.statistics.registered
            self.in_use = self.slabs.statistics().in_use
            self.factory = factory = tcp.TcpProxyFactory(
                modules["context"].ProxyContext(group, settings, self.spill, engine.reactor)
            )
            ours, client = self.pair()
            if bare_client:
                engine._peers.remove(ours)
                factory.socket_accepted(ours)
            else:
                engine.adopt(ours, factory.buildProtocol(None))
            server = self.server = Peer(listener.accept()[0]) if bare_upstream else self.server
            engine._peers.append(server.socket)
        self.limit_buffers()
        self.response = Wire(rng, server, client, self.size)
        self.request = Wire(rng, client, server, self.size)
        self.breaker = rng.choice([server, client])

    def connect(self, upstream_factory: Any) -> Any:
        """As an endpoint: a transport for the upstream."""
        ours, self.server = self.pair()
        protocol = upstream_factory.buildProtocol(None)
        self.engine.adopt(ours, protocol)
        return succeed(protocol)

    def __repr__(self) -> str:
        return f"{set(self.factory.sessions)} {self.factory.statistics()}"

    def live(self) -> Facts:
        factory, response, request = self.factory, self.response, self.request
        self.flow([response, request], self.breaker.close, lambda: not factory.sessions)
        broken = self.facts.broken
        statistics = factory.statistics()
        counted = (statistics.bytes_to_clients, statistics.bytes_to_upstreams)
        for wire, delivered in zip((response, request), counted, strict=True):
            wire.take()
            problem = wire.check(not broken)
            self.check(not problem, problem)
            self.check(delivered == len(wire.got) or (broken and delivered > len(wire.got)), "it counts otherwise")
        if not broken or self.breaker is self.server:
            self.check(
                len(response.got) == response.sent == counted[0], "bytes were lost that were sent before the end"
            )
        self.facts.delivered, self.facts.spilled = sum(counted), statistics.bytes_spilled
        self.engine.advance(0.2)
        for wire in (response, request):
            wire.take()
            self.check(wire.over or wire.taker is self.breaker, "a peer does not know the end")
        self.check(factory.statistics() == statistics, "moved after the end")
        self.check(self.engine.statistics.registered == self.registered, "a registration was left behind")
        factory.shutdown()
        self.check(self.engine.reactor.getDelayedCalls() == [], "a timer was left behind")
        self.leave(self.before, self.in_use)
        return self.facts


#: How a life can be lived; each makes one from a seed, a directory for spill files, and the modules to use.
WAYS: dict[str, Callable[[int, str, dict[str, ModuleType]], Any]] = {
    "fast": lambda seed, spill, modules: PipeLife(seed, spill, modules, True),
    "general": lambda seed, spill, modules: PipeLife(seed, spill, modules, False),
    "session": SessionLife,
}


def close_kernel_pipes(pipes: Any) -> None:
    """Those that are kept for the next who needs one."""
    while pipes._free:
        pipes._free.pop().close()


def live(
    seed: int, way: str, spill: str, modules: dict[str, ModuleType], ways: dict[str, Callable[..., Any]] = WAYS
) -> Facts:
    """
    A whole life. What is rare happens often meanwhile: in some lives bulk is what is more than a few hundred bytes, turns are
    short, and splice(2) does less than it could.

    @raise Broken: a promise was broken.
    """
    rng = random.Random(seed + 1_000_000_007)
    small = rng.choice([100, 1000, 16384, 16384])
    relays: list[Any] = []
    spliced = [0]
    stingy = rng.random() < 0.3

    class Counted(modules["relay"].Relay):  # type: ignore[misc]
        """A relay that is remembered."""

        __slots__ = ()

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            relays.append(self)

    really_splice = os.splice

    def splice(source: int, sink: int, count: int, **more: Any) -> int:
        if not count:
            raise Broken(f"seed {seed}: splice(2) is asked for nothing")
        done = really_splice(source, sink, rng.randint(1, count) if stingy else count, **more)
        spliced[0] += done
        return done

    changes: list[tuple[Any, str, Any]] = [
        (os, "splice", splice),
        (modules["fastpath"], "Relay", Counted),
        (modules["tunnel"], "Relay", Counted),
        (modules["relay"], "_SMALL", small),
        (modules["relay"], "_BULK", 4 * small),
        (modules["relay"], "_LONG", 8 * small),
        (modules["relay"], "_BUDGET", rng.choice([2 * small, 1 << 20])),
    ]
    with contextlib.ExitStack() as stack:
        for change in changes:
            stack.enter_context(mock.patch.object(*change))
        life = ways[way](seed, spill, modules)
        try:
            facts: Facts = life.live()
        finally:
            life.case.doCleanups()
            close_kernel_pipes(modules["splice"].pipes)
    facts.relayed = sum(relay.moved for relay in relays)
    facts.spliced = spliced[0] // 2
    life.check(not any(relay.armed for relay in relays), "a relay is armed after the end")
    life.check(facts.relayed <= facts.delivered or facts.broken, "the relays count otherwise")
    return facts
