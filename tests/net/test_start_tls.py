from __future__ import annotations

import os
from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.ssl import CertificateOptions
from twisted.protocols import tls
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import PushProducer, Recorder
from tests.net.loopback import Loopback
from tests.net.tls import _options
from twisted_pipe.net.edge import edge_of


class StartTLSTests(SynchronousTestCase):
    """Both sides are this reactor's, over TCP."""

    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.patch(tls, "_get_default_clock", lambda: self.engine.reactor)
        self.server_protocol, self.client_protocol = Recorder(), Recorder()
        self.port = self.engine.listen(lambda: self.server_protocol)
        self.engine.connected(self.port, self.client_protocol)
        self.server: Any = self.server_protocol.transport
        self.client: Any = self.client_protocol.transport

    def start(self) -> None:
        self.server.startTLS(_options())
        self.client.startTLS(CertificateOptions())
        self.exchange()

    def exchange(self, turns: int = 30) -> None:
        for _ in range(turns):
            self.engine.clock.advance(0.001)
            self.engine.turn()
        self.engine.settle()

    def test_both_directions(self) -> None:
        self.start()
        self.client.write(b"question")
        self.exchange()
        self.server.writeSequence([b"ans", b"wer"])
        self.exchange()
        self.assertEqual((self.server_protocol.data, self.client_protocol.data), (b"question", b"answer"))
        self.assertTrue(ISSLTransport.providedBy(self.server) and ISSLTransport.providedBy(self.client))

    def test_plain_bytes_before_it(self) -> None:
        self.client.write(b"STARTTLS")
        self.exchange()
        self.server.write(b"OK")
        self.exchange()
        self.start()
        self.client.write(b"secret")
        self.exchange()
        self.assertEqual((self.server_protocol.data, self.client_protocol.data), (b"STARTTLSsecret", b"OK"))

    def test_inside_data_received(self) -> None:
        """The answer that allows it goes out plain, what follows does not."""

        def allow(data: bytes) -> None:
            if data == b"STARTTLS":
                self.server.write(b"OK")
                self.server.startTLS(_options())
                self.server.write(b"hidden")

        def begin(data: bytes) -> None:
            if data == b"OK":
                self.client.startTLS(CertificateOptions())
                self.client.write(b"hidden, too")

        self.server_protocol.on_data, self.client_protocol.on_data = allow, begin
        self.client.write(b"STARTTLS")
        self.exchange()
        self.assertEqual(self.server_protocol.received, [b"STARTTLS", b"hidden, too"])
        self.assertEqual(self.client_protocol.received, [b"OK", b"hidden"])

    def test_plain_bytes_that_still_wait_go_out_first(self) -> None:
        """They were written before it began, when the socket was full."""
        plain = bytes(6 << 20)
        self.client.pauseProducing()
        self.server.write(plain)
        self.server.startTLS(_options())
        self.server.write(b"hidden")
        self.client.resumeProducing()
        taken = 0

        def count(data: bytes) -> None:
            nonlocal taken
            taken += len(data)
            if taken == len(plain):
                self.client.startTLS(CertificateOptions())

        self.client_protocol.on_data = count
        self.exchange(200)
        self.assertEqual(self.client_protocol.received[-1], b"hidden")
        self.assertEqual(taken, len(plain) + 6)

    def test_large_data_with_back_pressure(self) -> None:
        self.start()
        data = os.urandom(5 << 20)
        self.client.pauseProducing()
        self.server.write(data)
        self.exchange()
        self.assertEqual(self.client_protocol.data, b"")
        self.client.resumeProducing()
        self.exchange(300)
        self.assertTrue(self.client_protocol.data == data)

    def test_push_producer(self) -> None:
        self.start()
        producer = PushProducer(100, 50_000)
        producer.start(self.server)
        self.exchange(300)
        self.assertEqual(len(self.client_protocol.data), 5_000_000)
        self.assertTrue(producer.paused)

    def test_closed_cleanly_after_everything_was_sent(self) -> None:
        self.start()
        data = os.urandom(3 << 20)
        self.server.write(data)
        self.server.loseConnection()
        self.exchange(300)
        self.assertTrue(self.client_protocol.data == data)
        for protocol in (self.server_protocol, self.client_protocol):
            self.assertEqual([reason.type.__name__ for reason in protocol.lost], ["ConnectionDone"])  # type: ignore[union-attr]

    def test_aborted(self) -> None:
        self.start()
        self.server.abortConnection()
        self.exchange()
        self.assertEqual(len(self.server_protocol.lost), 1)
        self.assertEqual(len(self.client_protocol.lost), 1)

    def test_registered_once(self) -> None:
        calls = self.engine.statistics.control_calls
        self.start()
        self.client.write(b"question")
        self.exchange()
        self.assertEqual(self.engine.statistics.control_calls, calls)

    def test_nobody_may_work_on_the_socket_past_it(self) -> None:
        self.assertIsNotNone(edge_of(self.server))
        self.start()
        self.assertIsNone(edge_of(self.server))
