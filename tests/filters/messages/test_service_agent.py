"""The client that asks services: what becomes of its connections, and what the log has of them."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock, StringTransportWithDisconnection
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import readBody

from twisted_pipe.filters.messages.service_agent import service_agent

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Transport(StringTransportWithDisconnection):
    def setTcpNoDelay(self, enabled: bool) -> None:
        """TLS asks for it."""


class ServiceAgentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()

    def asked(self, agent: Any) -> Transport:
        """The connection of a question that was answered."""
        known = len(self.reactor.tcpClients)
        asking = agent.request(b"GET", b"http://auth.test/check")
        if len(self.reactor.tcpClients) > known:
            factory = self.reactor.tcpClients[-1][2]
            factory.doStart()  # as a reactor does
            self.addCleanup(factory.doStop)
            protocol = factory.buildProtocol(None)
            self.transport = Transport()
            self.transport.protocol = protocol
            protocol.makeConnection(self.transport)
        self.transport.protocol.dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(readBody(self.successResultOf(asking))), b"ok")
        return self.transport

    def test_connections_are_kept(self) -> None:
        agent = service_agent(self.reactor, 10.0, 8)
        first = self.asked(agent)
        self.assertTrue(first.connected)
        self.assertIs(self.asked(agent), first)

    def test_none_is_if_none_may_be(self) -> None:
        agent = service_agent(self.reactor, 10.0, 0)
        first = self.asked(agent)
        self.assertFalse(first.connected)
        self.assertIsNot(self.asked(agent), first)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_log_says_nothing_of_them(self) -> None:
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.asked(service_agent(self.reactor, 10.0, 8))
        self.assertEqual([event["log_format"] for event in observer], [])

    def test_how_long_one_may_take(self) -> None:
        service_agent(self.reactor, 3.0, 8).request(b"GET", b"http://auth.test:81/check")
        [(host, port, _factory, timeout, _bind)] = self.reactor.tcpClients
        self.assertEqual((host, port, timeout), ("127.0.0.1", 81, 3.0))

    def test_https_is_verified(self) -> None:
        agent = service_agent(self.reactor, 10.0, 8)
        agent.request(b"GET", b"https://auth.test/check")
        factory = self.reactor.tcpClients[-1][2]
        protocol = factory.buildProtocol(None)
        transport = Transport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self.assertIn(b"auth.test", transport.value())  # the name in its ClientHello
