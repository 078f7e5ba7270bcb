from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.net.fakes import Engine, MemoryTransport, PipeCase, errors_of
from twisted_pipe.net.pipe_end import PipeEnd


class WithoutPipeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connected: list[PipeEnd] = []
        self.lost: list[Failure] = []
        self.end = PipeEnd(self.connected.append, self.lost.append)
        self.transport = MemoryTransport()
        self.end.makeConnection(self.transport)

    def test_connected(self) -> None:
        verifyObject(IHalfCloseableProtocol, self.end)
        self.assertEqual(self.connected, [self.end])
        self.assertEqual(self.transport.producerState, "paused")

    def test_early_bytes_are_kept(self) -> None:
        self.end.dataReceived(b"ab")
        self.end.dataReceived(b"cd")
        self.assertEqual(self.end.early, b"abcd")
        self.assertEqual(self.transport.producerState, "paused")

    def test_early_end(self) -> None:
        self.assertFalse(self.end.ended_early)
        self.end.readConnectionLost()
        self.assertTrue(self.end.ended_early)

    def test_lost_is_told_once(self) -> None:
        self.end.writeConnectionLost()
        self.end.connectionLost(Failure(ConnectionDone()))
        self.end.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.lost), 1)

    def test_nobody_to_tell(self) -> None:
        end = PipeEnd()
        end.makeConnection(MemoryTransport())
        end.connectionLost(Failure(ConnectionDone()))

    def test_on_a_socket(self) -> None:
        engine = Engine(self)
        end = PipeEnd()
        _transport, peer = engine.connect(end)
        peer.write(b"early")
        engine.settle()
        self.assertEqual(end.early, b"", "the kernel holds it")


class WithPipeTests(PipeCase):
    """On a transport that is no C{epollet} TCP transport."""

    def setUp(self) -> None:
        PipeCase.setUp(self)
        self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
        self.end = PipeEnd()
        self.end.makeConnection(self.upstream)

    def start(self, **more: Any) -> Any:
        self.end.source_of = pipe = self.pipe(self.upstream, self.downstream, preread=self.end.early, **more)
        return pipe

    def test_the_pipe_lets_the_transport_go_on(self) -> None:
        """It was paused when it was connected; the pipe wants its bytes now."""
        self.start()
        self.assertEqual(self.upstream.producerState, "producing")

    def test_bytes_and_the_end(self) -> None:
        self.end.dataReceived(b"early ")
        pipe = self.start()
        self.end.dataReceived(b"late")
        self.end.readConnectionLost()
        self.assertEqual(self.downstream.value(), b"early late")
        self.assertTrue(self.outcome(pipe).clean)
        self.end.connectionLost(Failure(ConnectionDone()))

    def test_a_clean_loss_is_the_end(self) -> None:
        pipe = self.start()
        self.end.dataReceived(b"all")
        self.end.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.outcome(pipe).clean)

    def test_an_unclean_loss_is_not(self) -> None:
        pipe = self.start()
        self.end.dataReceived(b"some")
        self.end.connectionLost(Failure(ConnectionLost()))
        side, why = errors_of(self.outcome(pipe))
        self.assertEqual(side, "upstream")
        self.assertIn("non-clean", why)
        self.assertEqual(self.downstream.value(), b"some")
