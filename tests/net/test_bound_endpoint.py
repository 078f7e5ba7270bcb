from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import (
    HostnameEndpoint,
    StandardIOEndpoint,
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    clientFromString,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.bound_endpoint import bound_endpoint


class BoundEndpointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()

    def came_from(self, endpoint: Any) -> Any:
        """The local address it connects from."""
        endpoint.connect(Factory.forProtocol(Protocol))
        return self.reactor.tcpClients.pop()[4]

    def test_an_address(self) -> None:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 80)
        self.assertEqual(self.came_from(bound_endpoint(endpoint, "127.0.0.7")), ("127.0.0.7", 0))
        self.assertEqual(self.came_from(bound_endpoint(endpoint, "127.0.0.7:90")), ("127.0.0.7", 90))
        self.assertIsNone(self.came_from(endpoint), "it is left as it was")

    def test_a_string(self) -> None:
        endpoint = clientFromString(self.reactor, "tcp:127.0.0.1:80:timeout=7")
        self.assertEqual(bound_endpoint(endpoint, "127.0.0.7")._bindAddress, ("127.0.0.7", 0))
        self.assertEqual(bound_endpoint(endpoint, "127.0.0.7")._timeout, 7)

    def test_a_name(self) -> None:
        endpoint = HostnameEndpoint(self.reactor, "localhost", 80)
        self.assertEqual(bound_endpoint(endpoint, "::1")._bindAddress, ("::1", 0))

    def test_below_tls(self) -> None:
        endpoint: Any = clientFromString(self.reactor, "tls:localhost:443")
        bound = bound_endpoint(endpoint, "127.0.0.7")
        self.assertEqual(bound._wrappedEndpoint._bindAddress, ("127.0.0.7", 0))
        self.assertIsNone(endpoint._wrappedEndpoint._bindAddress)

    def test_its_own_local_address_counts(self) -> None:
        endpoint = clientFromString(self.reactor, "tcp:127.0.0.1:80:bindAddress=127.0.0.8")
        self.assertIs(bound_endpoint(endpoint, "127.0.0.7"), endpoint)

    def test_nothing_said_or_a_unix_socket(self) -> None:
        tcp, unix = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 80), UNIXClientEndpoint(self.reactor, "/s")
        self.assertIs(bound_endpoint(tcp, ""), tcp)
        self.assertIs(bound_endpoint(unix, "127.0.0.7"), unix)

    def test_what_cannot_be_bound_says_so(self) -> None:
        endpoint = StandardIOEndpoint(self.reactor)
        error = self.assertRaises(BadConfiguration, bound_endpoint, endpoint, "127.0.0.7")
        self.assertEqual(error.expected, "must be left out: StandardIOEndpoint cannot be bound")
