"""
Urgent data (TCP's MSG_OOB: telnet, FTP, whoever wants to be nasty) in the middle of a stream.

A read stops at the mark, short, though more is there; the edge that told of all of it has passed. And splice does not get past
the mark at all. The urgent byte itself is not part of the stream, as with Twisted's own reactors.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer, Recorder
from tests.net.loopback import Loopback, RelayRecorder
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.relay import Relay

MUCH = bytes(range(256)) * 1024  # it makes a relay splice


def urgently(peer: Peer, before: bytes = b"hello", behind: bytes = b"world") -> None:
    """All of it is there before anybody reads."""
    for data, flags in ((before, 0), (b"!", socket.MSG_OOB), (behind, 0)):
        while data:
            data = data[peer.socket.send(data, flags) :]


class UrgentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)

    def test_a_transport_reads_past_the_mark(self) -> None:
        protocol = Recorder()
        _, peer = self.engine.tcp(protocol)
        urgently(peer)
        self.engine.settle()
        self.assertEqual(protocol.data, b"helloworld")

    def test_an_owner_is_not_told_that_it_is_drained(self) -> None:
        edge, peer = self.engine.bare(tcp=True)
        urgently(peer)
        self.engine.settle()
        view = memoryview(bytearray(100))
        self.assertEqual((edge.recv_into(view), edge.readable), (5, True))
        self.assertEqual((edge.recv_into(view), bytes(view[:5])), (5, b"world"))
        self.assertEqual((edge.recv_into(view), edge.readable), (-1, False))

    def test_a_pipe_passes_on_what_is_behind_the_mark(self) -> None:
        upstream, server = self.engine.bare(tcp=True)
        downstream, client = self.engine.bare(tcp=True)
        pipe: Any = EventPipe(upstream, downstream)
        self.addCleanup(pipe.done.cancel)
        urgently(server)
        self.assertEqual(self.engine.take(client, 10), b"helloworld")

    def relay(self) -> tuple[Relay, Peer, Peer]:
        source, server = self.engine.bare(tcp=True)
        sink, client = self.engine.bare(tcp=True)
        relay = Relay(source, sink, RelayRecorder(), 100_000, 0.0)
        source.reader = relay
        relay.arm()
        self.engine.settle()
        self.addCleanup(relay.stop)
        return relay, server, client

    def test_a_relay_passes_on_what_is_behind_the_mark(self) -> None:
        _, server, client = self.relay()
        urgently(server)
        self.assertEqual(self.engine.take(client, 10), b"helloworld")

    def test_a_relay_does_not_splice_where_a_mark_may_be(self) -> None:
        relay, server, client = self.relay()
        server.write(MUCH)
        self.engine.take(client, len(MUCH))
        relay._bulk = True
        urgently(server)
        self.assertEqual(self.engine.take(client, 10), b"helloworld")

    def test_a_mark_that_comes_while_a_relay_splices_is_not_the_end(self) -> None:
        """Its event is of the next turn, and splice gives nothing at the mark, as at the end, once the peer has ended."""
        relay, server, client = self.relay()
        relay._bulk = True
        urgently(server)
        server.socket.shutdown(socket.SHUT_WR)
        relay.source.readable = True
        relay.drain(0.0)
        self.assertEqual(self.engine.take(client, 10), b"helloworld")

    def test_one_mark_after_the_other(self) -> None:
        _, server, client = self.relay()
        for _ in range(3):
            urgently(server)
            self.assertEqual(self.engine.take(client, 10), b"helloworld")
