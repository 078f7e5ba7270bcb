"""Names that are looked up once, as nginx does without C{resolve}."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from twisted_pipe.errors import NotResolved
from twisted_pipe.interfaces import IUpstreamResolver
from twisted_pipe.upstream.host_port import split_host_port
from twisted_pipe.upstream.resolution import FoundServer, Resolution

__all__ = ["StaticResolver"]


@implementer(IUpstreamResolver)
@attrs.define(eq=False)
class StaticResolver:
    """
    Asks the system, which knows the hosts file too, for the addresses of HOST in HOST:PORT; once, when the service starts, unless
    valid says that an answer holds for so long only.

    @ivar reactor: an C{IReactorPluggableNameResolver}. Its resolver asks in a thread, and cannot be interrupted there.
    """

    reactor: Any

    def takes(self, address: str) -> bool:
        return split_host_port(address) is not None

    def resolve(self, address: str) -> Deferred[Resolution]:
        named = split_host_port(address)
        assert named is not None, "takes() was asked"
        host, port = named
        asked: Deferred[Resolution] = Deferred()
        self.reactor.nameResolver.resolveHostName(_Receiver(host, asked), host, port)
        return asked


@implementer(IResolutionReceiver)
@attrs.define(eq=False)
class _Receiver:
    host: str
    asked: Deferred[Resolution]
    _found: list[FoundServer] = attrs.field(factory=list, init=False)

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        if isinstance(address, (IPv4Address, IPv6Address)):
            self._found.append(FoundServer(address.host, address.port))

    def resolutionComplete(self) -> None:
        """The system does not tell a name that does not exist from one that it cannot look up."""
        if self.asked.called:
            return  # cancelled
        if self._found:
            self.asked.callback(Resolution(tuple(self._found), None))
        else:
            self.asked.errback(NotResolved(f"the system knows no address of {self.host}"))
