"""The demonstration: its slow client, and how its parts are put together."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.service import demo
from twisted_pipe.service.demo import SLOW_PATH, DemoService
from twisted_pipe.service.demo_client import SlowClient, Taken
from twisted_pipe.service.demo_origin import BLOCK, Served, lines
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.service.refusal import CannotStart

HEAD = b"HTTP/1.1 200 OK\r\nCONNECTION: CLOSE\r\n\r\n"


class SlowClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.taken: list[Taken] = []
        self.client = SlowClient(self.clock, "/lines/1m", 6, lines, self.taken.append)
        self.client.makeConnection(self.transport)

    def test_asks(self) -> None:
        self.assertEqual(self.transport.value(), b"GET /lines/1m HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
        self.assertEqual(self.transport.producerState, "producing")

    def test_stalls_once(self) -> None:
        self.client.dataReceived(HEAD)
        self.assertEqual(self.transport.producerState, "paused")
        self.clock.advance(5.9)
        self.assertEqual(self.transport.producerState, "paused")
        with capturedLogs() as events:
            self.clock.advance(0.1)
        self.assertEqual([formatEvent(event) for event in events], ["demo: the slow client reads on"])
        self.assertEqual(self.transport.producerState, "producing")
        self.client.dataReceived(b"x")
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def end(self, *data: bytes) -> Taken:
        for each in data:
            self.client.dataReceived(each)
        self.clock.advance(1)
        self.client.connectionLost()
        [taken] = self.taken
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return taken

    def test_right(self) -> None:
        body = (lines(0) + lines(1))[: BLOCK + 1000]
        pieces = [body[:1], body[1:BLOCK], body[BLOCK : BLOCK + 5], body[BLOCK + 5 :]]
        self.assertEqual(self.end(HEAD[:5], HEAD[5:], *pieces), Taken(BLOCK + 1000, True, 1, "HTTP/1.1 200 OK"))

    def test_body_with_the_head(self) -> None:
        self.assertEqual(self.end(HEAD + lines(0)[:10]), Taken(10, True, 1, "HTTP/1.1 200 OK"))

    def test_wrong(self) -> None:
        """A wrong byte, and right bytes that are lost."""
        self.assertFalse(self.end(HEAD, lines(0)[:99], b"!").right)

    def test_lost_bytes(self) -> None:
        self.assertFalse(self.end(HEAD, lines(0)[:99], lines(0)[100:]).right)

    def test_no_answer(self) -> None:
        self.assertEqual(self.end(), Taken(0, True, 1, ""))


class InUse(MemoryReactorClock):
    """Port 8080 is taken."""

    def listenTCP(self, port: int, *args: Any, **kwargs: Any) -> Any:
        if port == 8080:
            raise CannotListenError("", port, OSError(errno.EADDRINUSE, "Address already in use"))
        return super().listenTCP(port, *args, **kwargs)


class DemoCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.stdout = io.StringIO()
        self.patch(sys, "__stdout__", self.stdout)
        self.patch(sys, "__stderr__", io.StringIO())
        self.patch(demo, "SLOW_SIZE", 1000)

    def demo(self, *arguments: str, reactor: Any = None) -> DemoService:
        self.reactor = reactor or MemoryReactorClock()
        options = PipeOptions()
        options.parseOptions(["--demo", *arguments])
        return DemoService(options.configuration(self.reactor), self.reactor)

    def start(self, *arguments: str, reactor: Any = None) -> DemoService:
        service = self.demo(*arguments, reactor=reactor)
        service.privilegedStartService()
        service.startService()
        return service

    def send_slow_client(self, service: DemoService) -> SlowClient:
        self.reactor.advance(1)
        factory = self.reactor.tcpClients[-1][2]
        factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 8080)).makeConnection(StringTransport())
        assert service._client is not None
        return service._client

    def reported(self, client: SlowClient, body: bytes, service: DemoService) -> str:
        """The last word of the log, when the client has got C{body} and then nothing."""
        client.dataReceived(HEAD)
        self.reactor.advance(6)
        client.dataReceived(body)
        service._was_served(Served("/something else", 0, 9))
        service._was_served(Served(SLOW_PATH, 1000, 0.25))
        client.connectionLost()
        with capturedLogs() as events:
            self.reactor.advance(0.5)
        [event] = events
        return formatEvent(event)


class PartsTests(DemoCase):
    def test_places(self) -> None:
        """The origin on any free port, the pipe on 8080, neither for other machines."""
        self.start()
        self.assertEqual(
            [(each[0], each[3]) for each in self.reactor.tcpServers], [(0, "127.0.0.1"), (8080, "127.0.0.1")]
        )

    def test_8080_is_taken(self) -> None:
        self.start(reactor=InUse())
        self.assertEqual([each[0] for each in self.reactor.tcpServers], [0, 0])

    def test_listen(self) -> None:
        """Where it is told to, and nowhere else."""
        self.start("--listen", "9090")
        self.assertEqual([each[0] for each in self.reactor.tcpServers], [0, 9090])
        with self.assertRaises(CannotStart):
            self.start("--listen", "8080", reactor=InUse())

    def test_the_pipe_leads_to_the_origin(self) -> None:
        self.start()
        pipe = self.reactor.tcpServers[1][1]
        origin = self.reactor.tcpServers[0]
        self.assertEqual([server.name for server in pipe.context.group.servers], [f"127.0.0.1:{origin[0]}"])

    def test_other_options_apply(self) -> None:
        """Filters come after that of the demo."""
        service = self.start("--filter", "hexdump", "--request-filter", "hexdump", "--buffers", "4 4k")
        assert service._pipe is not None
        settings = service._pipe.configuration.servers[0].settings  # type: ignore[attr-defined]
        self.assertEqual([each.name for each in settings.response_filters], ["upper", "hexdump"])
        self.assertEqual([each.name for each in settings.request_filters], ["hexdump"])
        self.assertEqual(settings.limits.buffers, 4)

    def test_says_what_to_try(self) -> None:
        self.start("--filter", "hexdump")
        guide = self.stdout.getvalue()
        for words in ("(filters: upper, hexdump)", "/lines/1k\n", "--limit-rate 1m", "/bytes/1g", "1000 B", "Ctrl-C"):
            self.assertIn(words, guide)
        self.assertEqual([line for line in guide.splitlines() if len(line) > 120], [])

    def test_nobody_to_say_it_to(self) -> None:
        self.patch(sys, "__stdout__", None)
        self.start()

    def test_addresses(self) -> None:
        """How curl and the slow client get to where the pipe listens."""
        reactor = MemoryReactorClock()
        for address, url, reached in (
            (IPv4Address("TCP", "10.0.0.1", 80), "http://10.0.0.1:80", ("10.0.0.1", 80)),
            (IPv4Address("TCP", "0.0.0.0", 80), "http://127.0.0.1:80", ("127.0.0.1", 80)),
            (IPv6Address("TCP", "::", 80), "http://[::1]:80", ("::1", 80)),
            (IPv6Address("TCP", "fe80::1", 80), "http://[fe80::1]:80", ("fe80::1", 80)),
        ):
            self.assertEqual(demo._url(address), url)
            demo._reach(reactor, address).connect(None)
            self.assertEqual(reactor.tcpClients[-1][:2], reached)
        self.assertEqual(demo._url(UNIXAddress("/run/s")), "--unix-socket /run/s http://demo")
        demo._reach(reactor, UNIXAddress("/run/s")).connect(None)
        self.assertEqual(reactor.unixClients[-1][0], b"/run/s")


class StoryTests(DemoCase):
    def test_all_well(self) -> None:
        service = self.start()
        client = self.send_slow_client(service)
        assert service._pipe is not None
        service._pipe.protocols[0].totals.bytes_spilled += 3 * 1024
        self.assertEqual(
            self.reported(client, lines(0).upper()[:1000], service),
            "demo: the slow client got all 1000 bytes, every one right (SHA-256), in 6.000 s; "
            "the origin was needed for 0.250 s; 3.0 KiB spilled meanwhile (all connections)",
        )

    def test_cut_off(self) -> None:
        service = self.start()
        said = self.reported(self.send_slow_client(service), lines(0).upper()[:10], service)
        self.assertIn("was cut off after 10 of 1000 bytes, these right (HTTP/1.1 200 OK)", said)
        self.assertIn("nothing was spilled", said)

    def test_changed(self) -> None:
        """By a filter that was added, for instance."""
        service = self.start()
        said = self.reported(self.send_slow_client(service), lines(0)[:1000], service)
        self.assertIn("got 1000 bytes that are not what the origin sends through the filter upper", said)

    def test_cannot_connect(self) -> None:
        self.start()
        self.reactor.advance(1)
        with capturedLogs() as events:
            self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertIn("demo: the slow client cannot connect: Connection was refused", formatEvent(events[-1]))

    def test_started_again(self) -> None:
        """One pipe, to the new origin."""
        service = self.start()
        self.successResultOf(service.stopService())
        bound = len(self.reactor.tcpServers)
        service.startService()
        self.assertEqual(len(self.reactor.tcpServers) - bound, 2)
        self.assertEqual(len(list(service)), 1)
        client = self.send_slow_client(service)
        self.assertEqual(self.reported(client, b"", service)[:5], "demo:")

    def test_a_start_that_failed_may_be_tried_again(self) -> None:
        service = self.demo("--listen", "127.0.0.1:8080", reactor=InUse())
        with capturedLogs():
            self.assertRaises(CannotStart, service.startService)
            self.assertIsNone(service._origin)
            self.assertRaises(CannotStart, service.startService)
        self.assertEqual(len(list(service)), 1)

    def test_stop_at_any_time(self) -> None:
        """Before, during and after the slow client, and never started."""
        self.successResultOf(self.demo().stopService())
        self.successResultOf(self.start().stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

        service = self.start()
        client = self.send_slow_client(service)
        transport: Any = client.transport
        transport.abortConnection = transport.loseConnection
        client.dataReceived(HEAD)
        self.successResultOf(service.stopService())
        self.assertTrue(transport.disconnecting)
        client.connectionLost()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

        service = self.start()
        client = self.send_slow_client(service)
        client.connectionLost()
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
