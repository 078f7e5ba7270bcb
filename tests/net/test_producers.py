from __future__ import annotations

import os
from typing import Any

from tests.net.fakes import PullProducer, PushProducer
from tests.net.test_writing import WritingCase
from twisted_pipe.net.edge import MOST_CALLS


class Producer:
    """One that does as it is told when it is resumed, and remembers what it was told."""

    def __init__(self, on_resume: Any = None) -> None:
        self.on_resume = on_resume
        self.calls: list[str] = []

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        if self.on_resume is not None:
            self.on_resume()

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class PushTests(WritingCase):
    def setUp(self) -> None:
        WritingCase.setUp(self)
        self.producer = Producer()
        self.transport.registerProducer(self.producer, True)

    def test_paused_above_the_buffer_size(self) -> None:
        self.stuff_exactly()
        self.transport.write(bytes(self.transport.bufferSize))
        self.assertEqual(self.producer.calls, [])
        self.transport.write(b"x")
        self.assertEqual(self.producer.calls, ["pause"])

    def stuff_exactly(self) -> None:
        """The socket is full, and nothing waits."""
        while self.transport.edge.writable:
            self.transport.edge.send([bytes(65536)])
        self.next()

    def test_resumed_when_all_is_sent(self) -> None:
        self.transport.write(bytes(4 << 20))
        self.assertEqual(self.producer.calls, ["pause"])
        got = 0
        while got < 4 << 20:
            self.assertEqual(self.producer.calls, ["pause"] if self.transport._tempDataLen else ["pause", "resume"])
            got += len(self.peer.read())
            self.next()
        self.assertEqual(self.producer.calls, ["pause", "resume"])

    def test_what_is_sent_at_once_pauses_nobody(self) -> None:
        for _ in range(20):
            self.transport.write(bytes(10_000))
            self.peer.read()
            self.next()
        self.assertEqual(self.producer.calls, [])

    def test_resumed_from_within_do_write_and_writes(self) -> None:
        data = [os.urandom(300_000) for _ in range(10)]
        left = list(data)

        def go_on() -> None:
            while left and self.producer.calls[-1] != "pause":
                self.transport.write(left.pop(0))

        self.producer.on_resume = go_on
        self.producer.resumeProducing()
        got = b""
        while len(got) < 3_000_000:
            got += self.peer.read()
            self.next()
        self.assertTrue(got == b"".join(data))

    def test_lose_connection_waits_for_it(self) -> None:
        """As Twisted's: a registered producer has more to say."""
        self.transport.loseConnection()
        self.transport.write(b"the last")
        self.transport.unregisterProducer()
        self.next()
        self.assertEqual((self.peer.read(), self.peer.ended), (b"the last", True))

    def test_stopped_when_the_connection_is_lost(self) -> None:
        self.peer.close()
        self.engine.settle()
        self.assertEqual(self.producer.calls, ["stop"])

    def test_a_whole_stream(self) -> None:
        self.transport.unregisterProducer()
        producer = PushProducer(100, 20_000)
        producer.start(self.transport)
        self.assertEqual(len(self.drain()), 2_000_000)
        self.assertTrue(producer.paused)
        self.assertFalse(producer.stopped)


class PullTests(WritingCase):
    def test_not_asked_from_within_its_write(self) -> None:
        """It is asked for more when its bytes have been sent, and that is not while it hands them over."""
        depth, deepest = 0, 0

        def produce() -> None:
            nonlocal depth, deepest
            depth += 1
            deepest = max(deepest, depth)
            if len(producer.calls) <= 5:
                self.transport.write(b"x")
            else:
                self.transport.unregisterProducer()
            depth -= 1

        producer = Producer(produce)
        self.transport.registerProducer(producer, False)
        self.engine.settle()
        self.assertEqual((self.peer.read(), deepest), (b"x" * 5, 1))

    def test_writes_of_others_do_not_ask_it(self) -> None:
        producer = Producer()
        self.transport.registerProducer(producer, False)
        self.engine.settle()
        producer.calls.clear()
        self.transport.write(b"by the way")
        self.assertEqual(producer.calls, [])

    def test_asked_when_what_it_wrote_was_sent(self) -> None:
        pieces = [os.urandom(400_000) for _ in range(5)]
        producer = PullProducer(pieces)
        producer.start(self.transport)
        self.next()
        asked = producer.asked
        self.engine.turn(5)
        self.assertEqual(producer.asked, asked, "its bytes are not sent yet")
        self.assertTrue(self.drain() == b"".join(pieces))
        self.assertEqual(producer.asked, 6)

    def test_one_that_has_nothing_yet(self) -> None:
        """It writes later, by itself, and is asked again then."""
        producer = Producer()
        self.transport.registerProducer(producer, False)
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(10)
        self.assertEqual(self.engine.statistics.posted, before.posted, "it spins")
        calls = len(producer.calls)
        self.transport.write(b"at last")
        self.engine.settle()
        self.assertEqual((self.peer.read(), len(producer.calls)), (b"at last", calls + 1))

    def test_a_bound_on_calls_in_a_turn(self) -> None:
        producer = Producer(lambda: self.transport.write(b"x"))
        self.transport.registerProducer(producer, False)
        before = len(producer.calls)
        self.engine.turn()
        self.assertTrue(0 < len(producer.calls) - before <= 2 * MOST_CALLS, len(producer.calls) - before)
        self.transport.unregisterProducer()

    def test_unregistered_and_closed(self) -> None:
        producer = PullProducer([b"a", b"b"])
        producer.start(self.transport)
        self.transport.loseConnection()
        self.engine.settle()
        self.assertEqual((self.peer.read(), self.peer.ended), (b"ab", True))
        self.assertEqual(producer.stopped, 0)

    def test_it_raises(self) -> None:
        def fail() -> None:
            if len(producer.calls) > 1:
                raise ZeroDivisionError
            self.transport.write(b"x")

        producer = Producer(fail)
        self.transport.registerProducer(producer, False)
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([reason.type for reason in self.protocol.lost], [ZeroDivisionError])
