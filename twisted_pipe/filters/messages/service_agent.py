"""
The HTTP client that asks services about requests: C{twisted.web}'s, with two ways of its mended.

A pool that may keep no connection is one without persistence: C{maxPersistentPerHost = 0} raises when one comes back. And each
connection would be two lines in the log, of a factory that starts and stops.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

__all__ = ["service_agent"]

_IDLE = 60  # seconds that a connection is kept


def service_agent(reactor: Any, connect_timeout: float, keepalive: int) -> Any:
    """
    An C{IAgent}.

    @param connect_timeout: seconds.
    @param keepalive: connections to one service that may be idle.
    """
    pool = HTTPConnectionPool(reactor, persistent=keepalive > 0)
    pool.maxPersistentPerHost = keepalive
    pool.cachedConnectionTimeout = _IDLE
    return Agent.usingEndpointFactory(reactor, _Endpoints(reactor, connect_timeout), pool)


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _Endpoints:
    reactor: Any
    connect_timeout: float
    policy: Any = attrs.field(factory=BrowserLikePolicyForHTTPS)

    def endpointForURI(self, uri: Any) -> Any:
        """A new connection to C{uri}'s server, by http or https."""
        endpoint: Any = HostnameEndpoint(self.reactor, uri.host.decode(), uri.port, timeout=self.connect_timeout)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self.policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Quiet(endpoint)


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _Quiet:
    endpoint: Any

    def connect(self, factory: Any) -> Any:
        factory.noisy = False
        return self.endpoint.connect(factory)
