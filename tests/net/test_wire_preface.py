from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.prefaces import Counted, CountedParser
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.net.wire_preface import WirePreface


class WirePrefaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[Any] = []
        self.transport = StringTransport()
        self.wire = TransportWire()
        self.wire.makeConnection(self.transport)

    def begin(self, takes: bool = False) -> WirePreface:
        parser = CountedParser(takes=takes)
        preface = WirePreface(
            self.wire, self.clock, parser, 60.0, self.told.append, lambda error: self.told.append(str(error))
        )
        preface.begin()
        return preface

    def test_its_bytes_stay_in_the_wire(self) -> None:
        self.begin()
        self.wire.dataReceived(b"3abcGET")
        self.assertEqual((self.told, self.wire.early), ([Counted(b"abc", 0)], b"3abcGET"))
        self.assertIsNone(self.wire.reader)
        self.assertEqual(self.transport.producerState, "paused", "the next reader says when to go on")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_or_are_taken(self) -> None:
        self.begin(takes=True)
        self.wire.dataReceived(b"3abcGET")
        self.assertEqual((self.told, self.wire.early), ([Counted(b"abc", 4)], b"GET"))

    def test_byte_by_byte(self) -> None:
        self.begin()
        for byte in b"3abc":
            self.assertEqual((self.told, self.transport.producerState), ([], "producing"))
            self.wire.dataReceived(bytes([byte]))
        self.assertEqual(self.told, [Counted(b"abc", 0)])

    def test_what_came_before_it_began(self) -> None:
        self.wire.dataReceived(b"1a")
        self.begin()
        self.assertEqual((self.told, self.clock.getDelayedCalls()), ([Counted(b"a", 0)], []))

    def test_no_preface(self) -> None:
        self.begin()
        self.wire.dataReceived(b"GET")
        self.assertEqual((self.told, self.wire.early), (["it begins with no digit"], b"GET"))

    def test_longer_than_it_may_be(self) -> None:
        self.begin()
        self.wire.dataReceived(b"9abcdefg")
        self.assertEqual(self.told, ["it has more than 8 bytes"])

    def test_ended_within_it(self) -> None:
        self.begin()
        self.wire.dataReceived(b"3a")
        self.wire.readConnectionLost()
        self.assertEqual(self.told, ["the connection ended after 2 bytes"])

    def test_gone(self) -> None:
        for reason, why in ((ConnectionDone(), "the connection ended at once"), (ConnectionLost("cut"), "cut")):
            self.setUp()
            self.begin()
            self.wire.connectionLost(Failure(reason))
            self.assertEqual(len(self.told), 1)
            self.assertIn(why, self.told[0])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_slow(self) -> None:
        self.begin()
        self.wire.dataReceived(b"3")
        self.clock.advance(60)
        self.assertEqual(self.told, ["preface timeout of 60 s expired"])

    def test_cancelled(self) -> None:
        self.begin().cancel()
        self.wire.dataReceived(b"1a")
        self.clock.advance(100)
        self.assertEqual(self.told, [])
