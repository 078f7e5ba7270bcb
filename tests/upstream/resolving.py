"""A resolver that answers when the test says so, and a nameserver in the memory of the test."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_pipe.errors import NotResolved
from twisted_pipe.interfaces import IUpstreamResolver
from twisted_pipe.upstream.resolution import FoundServer, Resolution
from twisted_pipe.upstream.server import UpstreamServer

__all__ = ["FakeResolver", "found", "made"]


def found(*addresses: str) -> tuple[FoundServer, ...]:
    """C{"10.0.0.1:80"}, C{"10.0.0.1:80*3"} of weight 3, C{"10.0.0.1:80-"} as a backup."""
    servers = []
    for each in addresses:
        address, _, weight = each.rstrip("-").partition("*")
        host, _, port = address.rpartition(":")
        servers.append(FoundServer(host.strip("[]"), int(port), int(weight) if weight else None, each.endswith("-")))
    return tuple(servers)


def made(server: FoundServer) -> UpstreamServer:
    return UpstreamServer(
        server.address, None, (server.host, server.port), weight=server.weight or 1, backup=server.backup
    )


@implementer(IUpstreamResolver)
@attrs.define(eq=False)
class FakeResolver:
    """
    @ivar asked: the names that wait for an answer.
    @ivar cancelled: those that were given up.
    """

    asked: list[tuple[str, Deferred[Resolution]]] = attrs.field(factory=list)
    cancelled: list[str] = attrs.field(factory=list)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]

    def takes(self, address: str) -> bool:
        return True

    def resolve(self, address: str) -> Deferred[Resolution]:
        asked: Deferred[Resolution] = Deferred(lambda _: self.cancelled.append(address))
        self.asked.append((address, asked))
        return asked

    def answer(self, *addresses: str, valid: float | None = 30.0, problem: str = "") -> None:
        """The one that has waited longest."""
        self._next().callback(Resolution(found(*addresses), valid, problem))

    def fail(self, error: Exception | None = None) -> None:
        self._next().errback(error or NotResolved("nobody knows"))

    def _next(self) -> Deferred[Any]:
        return self.asked.pop(0)[1]
