"""A real nameserver on a loopback port, over UDP and TCP, whose zone a test changes while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import attrs
from programs import free_port
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import blockingCallFromThread
from twisted.names import dns
from twisted.names.common import ResolverBase
from twisted.names.error import DNSNameError
from twisted.names.server import DNSServerFactory

__all__ = ["NameServer", "a", "in_reactor", "name_server", "soa", "srv"]


def a(name: str, address: str, ttl: int) -> dns.RRHeader:
    return dns.RRHeader(name, dns.A, ttl=ttl, payload=dns.Record_A(address, ttl))


def srv(name: str, priority: int, weight: int, port: int, target: str, ttl: int) -> dns.RRHeader:
    return dns.RRHeader(name, dns.SRV, ttl=ttl, payload=dns.Record_SRV(priority, weight, port, target, ttl))


def soa(ttl: int) -> dns.RRHeader:
    return dns.RRHeader(
        "test", dns.SOA, ttl=ttl, payload=dns.Record_SOA(b"ns.test", b"root.test", 1, 1, 1, 1, ttl, ttl)
    )


class _Zone(ResolverBase):  # type: ignore[misc]
    """Everything that is known; asked in the reactor's thread, changed by the test's."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[tuple[str, int], list[dns.RRHeader]] = {}
        self.additional: list[dns.RRHeader] = []
        self.asked: list[tuple[str, int]] = []
        self.delay = 0.0
        self.negative_ttl = 1

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any) -> Deferred[Any]:
        key = name.decode().lower(), type
        self.asked.append(key)
        waiting: Deferred[Any] = deferLater(cast(Any, reactor), self.delay, self._find, key)
        return waiting

    def _find(self, key: tuple[str, int]) -> Any:
        if not any(known == key[0] for known, _ in self.records):
            raise DNSNameError
        found = self.records.get(key, [])
        return found, [] if found else [soa(self.negative_ttl)], self.additional if found else []


@attrs.define(eq=False)
class NameServer:
    """
    @ivar port: of 127.0.0.1.
    @ivar zone: what it knows, for how long it holds that there is something not, what it was C{asked}, and after how many seconds
        it answers.
    """

    port: int
    zone: _Zone = attrs.field(factory=_Zone)
    _listening: list[Any] = attrs.field(factory=list, init=False)

    def set(self, name: str, kind: int, *records: dns.RRHeader) -> None:
        """From now on these are the records of that kind."""
        self.zone.records[name, kind] = list(records)

    def count(self, name: str, kind: int) -> int:
        """How often it was asked."""
        return self.zone.asked.count((name, kind))

    def start(self, tcp: bool = True) -> None:
        """In the reactor's thread. Meanwhile a connection of somebody may have taken the port that TCP had."""
        factory = DNSServerFactory(clients=[self.zone])
        protocol = dns.DNSDatagramProtocol(factory)
        any_reactor: Any = reactor
        self._listening.append(any_reactor.listenUDP(self.port, protocol, interface="127.0.0.1"))
        if tcp:
            self._listening.append(any_reactor.listenTCP(self.port, factory, interface="127.0.0.1"))

    def stop(self) -> None:
        """It does not answer any more."""
        for port in self._listening:
            port.stopListening()
        self._listening.clear()


def in_reactor(function: Any) -> None:
    """From wherever the test runs."""
    if threading.current_thread() is threading.main_thread():
        function()
    else:
        blockingCallFromThread(reactor, function)


@contextmanager
def name_server() -> Iterator[NameServer]:
    """One that runs, until it is stopped."""
    server = NameServer(free_port())
    in_reactor(server.start)
    try:
        yield server
    finally:
        in_reactor(server.stop)
