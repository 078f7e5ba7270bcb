from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.prefaces import Counted, CountedParser
from twisted_pipe.net.preface_protocol import PrefaceProtocol


class Next(Protocol):
    """What reads the stream."""

    def __init__(self) -> None:
        self.got = b""
        self.told: list[str] = []

    def connectionMade(self) -> None:
        self.told.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.got += data


@implementer(IHalfCloseableProtocol)
class NextWithHalves(Next):
    def readConnectionLost(self) -> None:
        self.told.append("read ended")

    def writeConnectionLost(self) -> None:
        pass


class PrefaceProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[Any] = []
        self.next: Any = Next()
        self.transport = StringTransport()
        self.preface = self.make()

    def make(self, hand_over: bool = True) -> PrefaceProtocol:
        def found(preface: PrefaceProtocol, value: Any) -> None:
            self.told.append(value)
            if hand_over:
                preface.hand_over(self.next)

        def failed(preface: PrefaceProtocol, error: Exception) -> None:
            self.told.append(str(error))

        preface = PrefaceProtocol(self.clock, CountedParser(), 60.0, found, failed)
        self.transport.protocol = preface
        preface.makeConnection(self.transport)
        return preface

    def receive(self, data: bytes) -> None:
        """As a transport does."""
        self.transport.protocol.dataReceived(data)  # type: ignore[union-attr]

    def test_the_next_protocol_has_its_place_and_the_rest(self) -> None:
        self.receive(b"3abcGET")
        self.assertEqual((self.told, self.next.told, self.next.got), ([Counted(b"abc", 4)], ["made"], b"GET"))
        self.assertIs(self.transport.protocol, self.next)
        self.receive(b" /")
        self.assertEqual(self.next.got, b"GET /")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_byte_by_byte(self) -> None:
        for byte in b"3abcGET":
            self.receive(bytes([byte]))
        self.assertEqual((self.told, self.next.got), ([Counted(b"abc", 4)], b"GET"))

    def test_the_next_protocol_may_be_told_of_another_transport(self) -> None:
        preface = self.make(hand_over=False)
        self.receive(b"1ax")
        other = StringTransport()
        preface.hand_over(self.next, other)
        self.assertIs(self.next.transport, other)
        self.assertEqual(self.next.got, b"x")

    def test_refused(self) -> None:
        self.receive(b"GET")
        self.receive(b" /")
        self.assertEqual(self.told, ["it begins with no digit"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_was_refused_can_be_handed_over_whole(self) -> None:
        self.receive(b"GET")
        self.preface.hand_over(self.next)
        self.assertEqual(self.next.got, b"GET")

    def test_longer_than_it_may_be(self) -> None:
        self.receive(b"9" + b"x" * 100)
        self.assertEqual(self.told, ["it has more than 8 bytes"])

    def test_too_slow(self) -> None:
        self.receive(b"3")
        self.clock.advance(60)
        self.assertEqual(self.told, ["preface timeout of 60 s expired"])

    def test_ended_within_it(self) -> None:
        self.receive(b"3ab")
        self.preface.readConnectionLost()
        self.preface.connectionLost(Failure(Exception("gone")))
        self.assertEqual(self.told, ["the connection ended after 3 bytes"])

    def test_lost(self) -> None:
        self.preface.connectionLost(Failure(Exception("gone")))
        self.assertEqual(self.told, ["gone"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_end_goes_to_the_next_protocol(self) -> None:
        self.receive(b"3ab")
        self.preface.readConnectionLost()
        self.next = NextWithHalves()
        self.preface.hand_over(self.next)
        self.assertEqual((self.next.got, self.next.told), (b"3ab", ["made", "read ended"]))
        self.assertFalse(self.transport.disconnecting)

    def test_an_end_closes_for_a_protocol_without_halves(self) -> None:
        self.receive(b"3ab")
        self.preface.readConnectionLost()
        self.preface.hand_over(self.next)
        self.assertTrue(self.transport.disconnecting)

    def test_cancelled(self) -> None:
        self.preface.cancel()
        self.receive(b"1a")
        self.clock.advance(100)
        self.assertEqual(self.told, [])
