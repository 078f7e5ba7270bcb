"""The system's own resolver, asked once."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.resolving import found
from twisted_pipe.errors import NotResolved
from twisted_pipe.upstream.resolution import Resolution
from twisted_pipe.upstream.resolver import RESOLVERS


class System:
    """A C{nameResolver}."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.receivers: list[Any] = []

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, **kind: Any) -> Any:
        self.asked.append((hostName, portNumber))
        self.receivers.append(receiver)
        receiver.resolutionBegan(None)


class StaticTests(SynchronousTestCase):
    def setUp(self) -> None:
        reactor: Any = MemoryReactorClock()
        self.system = reactor.nameResolver = System()
        self.resolving = RESOLVERS.parse("static").build(reactor).resolve("app.test:80")
        (self.receiver,) = self.system.receivers

    def test_found(self) -> None:
        """It holds for ever."""
        self.assertEqual(self.system.asked, [("app.test", 80)])
        for address in (IPv4Address("TCP", "10.0.0.1", 80), IPv6Address("TCP", "::1", 80), UNIXAddress("/x")):
            self.receiver.addressResolved(address)
        self.assertNoResult(self.resolving)
        self.receiver.resolutionComplete()
        self.assertEqual(self.successResultOf(self.resolving), Resolution(found("10.0.0.1:80", "[::1]:80"), None))

    def test_nothing(self) -> None:
        """The system does not say why."""
        self.receiver.resolutionComplete()
        error = self.failureResultOf(self.resolving, NotResolved).value
        self.assertEqual(str(error), "the system knows no address of app.test")

    def test_cancelled(self) -> None:
        self.resolving.cancel()
        self.failureResultOf(self.resolving)
        self.receiver.addressResolved(IPv4Address("TCP", "10.0.0.1", 80))
        self.receiver.resolutionComplete()
