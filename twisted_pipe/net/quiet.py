"""A client factory without Twisted's two log lines for each connection."""

from __future__ import annotations

from twisted.internet.protocol import Factory

__all__ = ["QuietFactory"]


class QuietFactory(Factory):
    """C{QuietFactory.forProtocol(make)} is one for an endpoint's C{connect}."""

    noisy = False
