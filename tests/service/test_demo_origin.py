"""The demonstration's origin."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.service.demo_origin import BLOCK, Origin, Served, lines, noise


class DataTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Lines of 64 bytes, numbered from block to block without a gap, in lower case."""
        text = (lines(0) + lines(1)).decode("ascii")
        self.assertEqual(len(text), 2 * BLOCK)
        self.assertEqual([int(line.split()[0]) for line in text.splitlines()], list(range(2 * BLOCK // 64)))
        self.assertEqual(text, text.lower())
        self.assertNotEqual(text, text.upper())

    def test_noise(self) -> None:
        self.assertEqual(len(noise(7)), BLOCK)
        self.assertEqual(noise(7), noise(7))
        self.assertNotEqual(noise(7), noise(8))


class OriginTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.served: list[Served] = []
        self.transport = StringTransport()
        self.connect()

    def connect(self) -> None:
        origin = Origin(self.clock, self.served.append)
        self.protocol = origin.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.protocol.makeConnection(self.transport)

    def produce(self) -> int:
        """Take everything; returns the most bytes that were ever made at once."""
        most, taken = 0, len(self.transport.value())
        while self.transport.producer is not None:
            self.protocol.resumeProducing()
            most, taken = max(most, len(self.transport.value()) - taken), len(self.transport.value())
        return most

    def ask(self, request: str) -> tuple[str, dict[str, str], bytes]:
        """Status line, headers and body of the answer on a new connection, which is closed after it."""
        self.transport = StringTransport()
        self.connect()
        self.protocol.dataReceived(f"{request} HTTP/1.1\r\nHost: demo\r\n\r\n".encode("ascii"))
        self.produce()
        self.assertTrue(self.transport.disconnecting)
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        status, *fields = head.decode("ascii").split("\r\n")
        headers: dict[str, Any] = dict(field.split(": ", 1) for field in fields)
        self.assertEqual(headers["Connection"], "close")
        return status, headers, body

    def test_lines(self) -> None:
        status, headers, body = self.ask("GET /lines/100k")
        self.assertEqual(status, "HTTP/1.1 200 OK")
        self.assertEqual(headers["Content-Length"], str(100 * 1024))
        self.assertEqual(headers["Content-Type"], "text/plain; charset=us-ascii")
        self.assertEqual(body, (lines(0) + lines(1))[: 100 * 1024])

    def test_bytes(self) -> None:
        _, headers, body = self.ask("GET /bytes/65537")
        self.assertEqual(headers["Content-Type"], "application/octet-stream")
        self.assertEqual(body, noise(0) + noise(1)[:1])

    def test_nothing(self) -> None:
        _, headers, body = self.ask("GET /bytes/0")
        self.assertEqual((headers["Content-Length"], body), ("0", b""))

    def test_what_to_try(self) -> None:
        status, headers, body = self.ask("GET /")
        self.assertEqual((status, headers["Content-Length"]), ("HTTP/1.1 200 OK", str(len(body))))
        self.assertIn(b"/lines/1k", body)

    def test_any_case(self) -> None:
        """What / shows comes through the filter upper in upper case, and works as it is shown."""
        self.assertEqual(self.ask("GET /LINES/64")[2], lines(0)[:64])

    def test_query_is_ignored(self) -> None:
        self.assertEqual(self.ask("GET /lines/64?x")[2], lines(0)[:64])

    def test_head(self) -> None:
        for path, length in (("/lines/1g", str(1 << 30)), ("/none", None), ("/", None), ("/bytes/x", None)):
            _, headers, body = self.ask(f"HEAD {path}")
            self.assertEqual(body, b"")
            self.assertEqual(headers["Content-Length"], length or headers["Content-Length"])

    def test_errors(self) -> None:
        for request, status in (
            ("GET /none", "HTTP/1.1 404 Not Found"),
            ("GET /lines", "HTTP/1.1 404 Not Found"),
            ("GET /lines/1k/2", "HTTP/1.1 404 Not Found"),
            ("GET /lines/much", "HTTP/1.1 400 Bad Request"),
            ("GET /bytes/-1", "HTTP/1.1 400 Bad Request"),
            ("POST /lines/1k", "HTTP/1.1 405 Method Not Allowed"),
            ("GET  /lines/1k", "HTTP/1.1 400 Bad Request"),
            ("nonsense", "HTTP/1.1 400 Bad Request"),
        ):
            found, headers, body = self.ask(request)
            self.assertEqual(found, status)
            self.assertEqual(headers["Content-Length"], str(len(body)))
        self.assertEqual(self.ask("PUT /")[1]["Allow"], "GET, HEAD")
        self.assertIn(b"'much'", self.ask("GET /lines/much")[2])

    def test_endless_head(self) -> None:
        for _ in range(17):
            self.protocol.dataReceived(b"x" * 1024)
        self.assertIn(b" 400 ", self.transport.value())
        self.assertTrue(self.transport.disconnecting)

    def test_request_in_pieces(self) -> None:
        for byte in b"GET /lines/64 HTTP/1.1\r\n\r\n":
            self.protocol.dataReceived(bytes([byte]))
        self.produce()
        self.assertTrue(self.transport.value().endswith(b"\r\n\r\n" + lines(0)[:64]))

    def test_one_answer(self) -> None:
        for _ in range(2):
            self.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(self.transport.value().count(b"HTTP/1.1"), 1)

    def test_constant_memory(self) -> None:
        """A pull producer: one block, and the next when the transport asks again."""
        self.protocol.dataReceived(b"GET /lines/1m HTTP/1.1\r\n\r\n")
        self.assertFalse(self.transport.streaming)
        self.assertEqual(self.produce(), BLOCK)

    def test_reports_and_logs(self) -> None:
        self.protocol.dataReceived(b"GET /lines/1k HTTP/1.1\r\n\r\n")
        self.produce()
        self.clock.advance(0.25)
        with capturedLogs() as events:
            self.protocol.connectionLost()
        self.assertEqual(self.served, [Served("/lines/1k", 1024, 0.25)])
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["demo origin: /lines/1k: sent 1.0 KiB, connection closed after 0.250 s"],
        )

    def test_client_goes(self) -> None:
        """Before it has asked, or in the middle of the answer."""
        self.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.served.pop(), Served("", 0, 0))
        self.connect()
        self.protocol.dataReceived(b"GET /lines/1m HTTP/1.1\r\n\r\n")
        self.protocol.resumeProducing()
        self.protocol.stopProducing()
        self.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.served.pop(), Served("/lines/1m", BLOCK, 0))
