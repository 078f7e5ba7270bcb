"""A pipe's head, its length on the fast path, and its decoder, between transports."""

from __future__ import annotations

import errno
import os
from typing import Any

import attrs

from tests.core.digits import Digits, framed
from tests.net.fakes import errors_of, os_error
from tests.net.test_driver import MemoryCase
from tests.net.test_driver_sockets import LIMITS, NO_SPILL, SocketCase
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.http.chunked import ChunkedDecoder, encode_chunk, last_chunk
from twisted_pipe.interfaces import FilterContext

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Upper(PipeFilter):
    def received(self, data: memoryview) -> Any:
        return (bytes(data).upper(),)


class CountedCalls:
    """A socket whose sends are noted: how many bytes each took."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def send(self, data: bytes) -> int:
        self.sizes.append(self.sock.send(data))
        return self.sizes[-1]

    def sendmsg(self, parts: Any) -> int:
        self.sizes.append(self.sock.sendmsg(parts))
        return self.sizes[-1]


class MemoryTests(MemoryCase):
    def test_head(self) -> None:
        pipe = self.start(head=HEAD)
        self.assertEqual((self.downstream.value(), pipe.bytes_in, pipe.bytes_out), (HEAD, 0, len(HEAD)))
        pipe.write(b"body")
        pipe.upstream_ended()
        outcome = self.outcome(pipe)
        self.assertEqual(self.downstream.value(), HEAD + b"body")
        self.assertEqual((outcome.clean, outcome.bytes_in, outcome.bytes_out), (True, 4, len(HEAD) + 4))

    def test_what_is_pushed_behind_the_stream(self) -> None:
        """More than one read takes of it stays with the source, until it is taken."""
        pipe = self.start(length=5, keep_open=True)
        behind = os.urandom(3 * pipe.limits.buffer_size)
        taken: list[bytes] = []
        pipe.received.addCallback(lambda _: taken.append(pipe.leftover + pipe.take_unread()))
        pipe.write(b"bo")
        pipe.write(b"dy!" + behind)
        self.assertEqual((self.downstream.value(), taken), (b"body!", [behind]))
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual((pipe.take_unread(), pipe.unread), (b"", b""))

    def test_head_only(self) -> None:
        self.assertTrue(self.outcome(self.start(head=HEAD, length=0)).clean)
        self.assertEqual((self.downstream.value(), self.downstream.ends), (HEAD, ["half"]))

    def test_head_and_filters(self) -> None:
        self.start((Upper(FilterContext()),), head=b"head ", preread=b"body")
        self.assertEqual(self.downstream.value(), b"head BODY")

    def test_head_and_a_stuck_client(self) -> None:
        pipe = self.stuck(head=HEAD)
        body = os.urandom(2000)
        pipe.write(body)
        pipe.upstream_ended()
        self.assertGreater(pipe.bytes_spilled, 0)
        self.assertEqual(self.take_all(), HEAD + body)
        self.assertTrue(self.outcome(pipe).clean)

    def test_decoder(self) -> None:
        pipe = self.start(decoder=Digits(), preread=b"3a", keep_open=True)
        pipe.write(b"bc2de0next")
        outcome = self.outcome(pipe)
        self.assertEqual((self.downstream.value(), pipe.leftover, outcome.surplus), (b"abcde", b"next", 4))
        self.assertEqual((outcome.clean, outcome.bytes_in, outcome.bytes_out), (True, 12, 5))

    def test_received_though_the_client_is_stuck(self) -> None:
        """The upstream's connection can be let go, and is waited for no more."""
        pipe = self.stuck(decoder=Digits(), preread=b"2ab", limits=attrs.evolve(self.limits, read_timeout=5))
        received: list[None] = []
        pipe.received.addCallback(received.append)
        pipe.write(b"3abc")
        self.assertEqual(received, [])
        pipe.write(b"0")
        self.assertEqual(received, [None])
        self.clock.advance(50)
        self.assert_running(pipe)
        self.assertEqual(self.take_all(), b"ababc")

    def test_broken_framing(self) -> None:
        pipe = self.start(decoder=Digits())
        pipe.write(b"2abX3cde")
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "a digit was to come, and not 'X'"))
        self.assertEqual((self.downstream.value(), self.upstream.calls[-1]), (b"ab", "stop"))

    def test_ends_within_its_framing(self) -> None:
        pipe = self.start(decoder=Digits())
        pipe.write(b"3ab")
        pipe.upstream_ended()
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "ended without 1 bytes of a piece"))
        self.assertEqual(self.downstream.value(), b"ab")

    def test_decoder_and_length(self) -> None:
        error = self.assertRaises(BadConfiguration, self.start, decoder=Digits(), length=1)
        self.assertEqual(error.name, "length")

    def test_the_rate_is_that_of_what_is_received(self) -> None:
        pipe = self.start(decoder=Digits(), limits=attrs.evolve(self.limits, limit_rate=100))
        pipe.write(framed(bytes(200), lambda: 1))
        while pipe not in self.outcomes:
            self.clock.advance(0.05)
        self.assertTrue(3.5 < self.outcome(pipe).seconds < 4.5, self.outcome(pipe))


class HeadTests(SocketCase):
    def count(self) -> CountedCalls:
        edge = self.down.edge_socket()
        edge.socket = counted = CountedCalls(edge.socket)
        return counted

    def test_one_system_call_with_what_is_there(self) -> None:
        counted = self.count()
        self.up.pauseProducing()
        self.server.write(b"body")
        self.engine.settle()
        self.start(head=HEAD, preread=b"first ", length=10)
        self.engine.settle()
        self.assertEqual((counted.sizes, self.client.read()), ([len(HEAD) + 10], HEAD + b"first body"))

    def test_then_the_fast_path(self) -> None:
        pipe = self.start(head=HEAD)
        self.engine.settle()
        self.server.write(b"body")
        self.engine.settle()
        self.assertEqual((self.client.read(), pipe._relay.moved, pipe.bytes_out), (HEAD + b"body", 4, len(HEAD) + 4))

    def test_precedes_what_sendfile_sends(self) -> None:
        pipe = self.start(head=HEAD)
        self.engine.settle()
        self.assertEqual(self.client.read(), HEAD)
        body = os.urandom(900_000)
        self.assertEqual(self.feed(body), len(body))
        self.assertGreater(pipe.bytes_spilled, 0)
        self.assertTrue(self.drain() == body)


class LengthTests(SocketCase):
    """A known length, on the fast path."""

    def relayed(self, pipe: Any) -> int:
        moved: int = pipe._relay.moved
        return moved

    def test_passes_by_to_the_last_byte(self) -> None:
        pipe = self.start(length=9, keep_open=True)
        received: list[None] = []
        pipe.received.addCallback(received.append)
        self.server.write(b"hello")
        self.engine.settle()
        self.assertEqual((self.relayed(pipe), received), (5, []))
        self.server.write(b"younext")
        self.engine.settle()
        self.assertEqual((self.client.read(), received), (b"helloyoun", [None]))
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.bytes_in, outcome.bytes_out, outcome.surplus), (True, 9, 9, 0))

    def test_ended_before(self) -> None:
        pipe = self.start(length=9)
        self.server.write(b"hello")
        self.engine.settle()
        self.server.close()
        self.engine.settle()
        self.assertEqual(self.relayed(pipe), 5)
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "ended 4 bytes before its announced length"))

    def test_a_slow_client_leaves_the_rest_to_the_pipe(self) -> None:
        data = os.urandom(1 << 20)
        pipe = self.start(length=len(data))
        sent = self.feed(data)
        self.assertTrue(0 < self.relayed(pipe) < sent)
        self.assertGreater(pipe.bytes_spilled, 0)
        got = b""
        while len(got) < len(data):
            sent += self.server.write(data[sent:])
            got += self.drain()
        self.assertTrue(got == data)
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.bytes_in, outcome.bytes_out), (True, len(data), len(data)))

    def test_back_and_forth(self) -> None:
        """Whichever way it goes, the length is counted once."""
        data = os.urandom(2 << 20)
        pipe = self.start(length=len(data), limits=NO_SPILL)
        sent, got = 0, b""
        for _ in range(10):
            sent += self.feed(data[sent : sent + 400_000])
            got += self.drain()
            moved = self.relayed(pipe)
            sent += self.server.write(data[sent : sent + 1000])
            self.engine.settle()
            got += self.client.read()
            if pipe in self.outcomes:
                break
            self.assertGreater(self.relayed(pipe), moved)
        while len(got) < len(data):
            sent += self.server.write(data[sent:])
            got += self.drain()
        self.assertTrue(got == data)
        self.assertTrue(self.outcome(pipe).clean)

    def test_a_rate_takes_it_off_and_back(self) -> None:
        pipe = self.start(length=10)
        self.server.write(b"abc")
        self.engine.settle()
        pipe.limit_rate = 1000
        self.server.write(b"def")
        self.engine.settle()
        pipe.limit_rate = 0
        self.engine.advance(0.1)
        self.server.write(b"ghijk")
        self.engine.settle()
        self.assertEqual(self.client.read(), b"abcdefghij")
        self.assertTrue(self.outcome(pipe).clean)

    def test_what_waits_is_counted_once_when_a_transport_is_lost(self) -> None:
        """The relay waits for the client with the last bytes: the upstream was heard out before it went."""
        pipe = self.start(length=100 << 20, keep_open=True)
        self.engine.settle()
        while self.server.write(bytes(200_000)) and not pipe._relay._relay.waiting:
            self.engine.settle()
        self.up.abortConnection()
        self.engine.settle()
        got = len(self.drain())
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")
        self.assertEqual((pipe.bytes_in, pipe.bytes_out), (got, got))

    def test_the_last_bytes_wait_when_the_upstream_is_lost(self) -> None:
        length = 0
        filler = os.urandom(1 << 20)
        edge = self.down.edge_socket()
        while edge.writable:
            length += edge.send([filler])
        pipe = self.start(length=5, keep_open=True)
        edge.writable = True  # as far as anybody knows
        if not pipe._relay.taken:
            pipe._relay.take()
        self.server.write(b"hello")
        self.engine.turn(2)
        self.up.abortConnection()
        self.engine.settle()
        self.assertEqual(self.drain()[length:], b"hello")
        self.assertTrue(self.outcome(pipe).clean)

    def test_the_client_is_lost(self) -> None:
        pipe = self.start(length=10)
        self.engine.settle()
        edge = self.down.edge_socket()

        class Broken(CountedCalls):
            def send(self, data: bytes) -> int:
                raise os_error(errno.ECONNRESET)

        self.server.write(b"abc")
        self.engine.settle()
        edge.socket = Broken(edge.socket)
        pipe._relay._relay._send = edge.socket.send
        self.server.write(b"def")
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "Connection reset by peer"))
        self.assertEqual((pipe.bytes_in, pipe.bytes_out), (6, 3))

    def test_no_relay_where_bytes_are_looked_at(self) -> None:
        for more in ({"decoder": Digits()}, {"filters": (Upper(FilterContext()),)}, {"store": self.mktemp()}):
            pipe = self.start(keep_open=True, **more)
            self.assertIsNone(pipe._relay, more)
            pipe.done.cancel()


class DecoderTests(SocketCase):
    def test_bulk(self) -> None:
        data = os.urandom(3 << 20)
        message = framed(data)
        pipe = self.start(decoder=Digits(), limits=LIMITS, keep_open=True)
        sent, got = 0, b""
        while len(got) < len(data):
            sent += self.server.write(message[sent:])
            self.engine.settle()
            got += self.client.read()
        self.assertTrue(got == data)
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.bytes_in, outcome.bytes_out), (True, len(message), len(data)))

    def test_a_stuck_client(self) -> None:
        data = os.urandom(1 << 20)
        pipe = self.start(decoder=Digits())
        sent = self.feed(framed(data))
        self.assertGreater(pipe.bytes_spilled, 0)
        got = self.drain()
        while sent < len(framed(data)):
            sent += self.server.write(framed(data)[sent:])
            got += self.drain()
        self.assertTrue(got == data)
        self.assertTrue(self.outcome(pipe).clean)

    def test_the_chunked_coding(self) -> None:
        data = os.urandom(200_000)
        message = b"".join(
            part for at in range(0, len(data), 777) for part in encode_chunk(data[at : at + 777])
        ) + last_chunk([(b"digest", b"x")])
        decoder = ChunkedDecoder()
        pipe = self.start(decoder=decoder, preread=message[:100], head=HEAD)
        self.feed(message[100:])
        self.assertTrue(self.drain() == HEAD + data)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(decoder.trailers, [(b"digest", b"x")])

    def test_the_chunked_coding_broken(self) -> None:
        pipe = self.start(decoder=ChunkedDecoder())
        self.server.write(b"5\r\nhello\r\nXX\r\n")
        self.engine.settle()
        outcome = self.outcome(pipe)
        self.assertEqual((str(outcome.side), self.client.read()), ("upstream", b"hello"))
        self.engine.advance(0.2)
        self.client.read()
        self.assertTrue(self.client.ended or self.client.reset)
