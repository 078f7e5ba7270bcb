from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import MemoryTransport
from twisted_pipe.net.wire import TransportWire


class Reader:
    """@ivar told: what it was."""

    def __init__(self, wire: TransportWire) -> None:
        self.told: list[Any] = []
        self._wire = wire

    def socket_ready(self) -> None:
        self.told.append(self._wire.receive())

    def socket_lost(self, reason: Failure) -> None:
        self.told.append(reason.type)


class EndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wire = TransportWire(None, self.lost)
        self.wire.makeConnection(MemoryTransport())
        self.reader = self.wire.reader = Reader(self.wire)
        self.lets_go = False

    def lost(self, _: Failure) -> None:
        if self.lets_go:
            self.wire.reader = None

    def test_its_reader_is_told_of_the_end(self) -> None:
        for reason, told in ((ConnectionDone(), b""), (ConnectionLost(), ConnectionLost)):
            self.setUp()
            self.wire.connectionLost(Failure(reason))
            self.assertEqual(self.reader.told, [told])

    def test_not_if_it_has_just_let_go_of_it(self) -> None:
        for reason in (ConnectionDone(), ConnectionLost()):
            self.setUp()
            self.lets_go = True
            self.wire.connectionLost(Failure(reason))
            self.assertEqual(self.reader.told, [])

    def test_a_pipe_that_it_feeds_later_is_told_of_a_clean_end_only(self) -> None:
        for reason, ended in ((ConnectionDone(), ["ended"]), (ConnectionLost(), [])):
            self.setUp()
            told: list[str] = []

            class Pipe:
                def upstream_ended(self) -> None:
                    told.append("ended")  # noqa: B023  # it is called in this very round

            self.wire.reader = None
            self.wire.connectionLost(Failure(reason))
            pipe: Any = Pipe()
            self.wire.feed(pipe)
            self.assertEqual(told, ended)
