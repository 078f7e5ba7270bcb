"""
Tells the upstream who the client is: HAProxy's PROXY protocol, the sender's side (L{twisted_pipe.preface.proxy_protocol}). Twisted
reads it on a listener that is declared as C{haproxy:tcp:8080}.

In a configuration file C{send_proxy_protocol} of an upstream does the same and more: it goes before TLS, and tells of the client's.
"""

from __future__ import annotations

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import PipeFilter, between, option
from twisted_pipe.interfaces import Direction, FilterOutput
from twisted_pipe.preface.proxy_protocol import Version, header_of, write_header
from twisted_pipe.units import parse_count

__all__ = ["ProxyProtocol"]


@attrs.define
class ProxyProtocol(PipeFilter):
    """
    Begins what goes to the upstream with a header that names the client and the address it has connected to.

    It has to be the last of the request's filters, or the only one: what comes behind it would filter the header, too. An upstream
    that is reached by TLS gets the header inside of it.

    @ivar version: 1 (a line of text, TCP only) or 2 (binary, and UNIX sockets besides). Default 1.
    """

    version: int = option(
        between(1, 2, parse_count), default=1, help="of the protocol: 1 is a line of text, 2 is binary"
    )

    def started(self) -> FilterOutput:
        context = self.context
        if context.direction is not Direction.REQUEST:
            expected = "it tells an upstream of its client, and belongs in --request-filter"
            raise BadConfiguration("direction", str(context.direction), expected)
        return (write_header(header_of(Version(self.version), context.client, context.local)),)
