"""What stands before the proxy at a listener."""

from __future__ import annotations

from typing import Any

import attrs

from twisted_pipe.proxies.entrance import Entrance
from twisted_pipe.proxies.trusted_proxies import ProxyProtocolIn
from twisted_pipe.tls.server import ServerTls

__all__ = ["HTTP_ALPN", "OPEN", "EntranceSettings"]

#: What we speak, by the names of IANA, the best first. C{curl -0} of some years (7.88 to 8.4) offers nothing but the second.
HTTP_ALPN = (b"http/1.1", b"http/1.0")


@attrs.frozen(kw_only=True)
class EntranceSettings:
    """
    @ivar proxy_protocol: whether connections begin with a PROXY header; None: they do not.
    @ivar tls: makes their TLS; None for plain ones.
    @ivar handshake_timeout: seconds for a handshake.
    """

    proxy_protocol: ProxyProtocolIn | None = None
    tls: ServerTls | None = None
    handshake_timeout: float = 60.0

    def before(self, factory: Any, clock: Any) -> Any:
        """The L{Entrance} that leads to C{factory}; C{factory} itself if nothing stands before it."""
        if self.proxy_protocol is None and self.tls is None:
            return factory
        return Entrance(
            factory,
            clock,
            proxy_protocol=self.proxy_protocol,
            tls=self.tls,
            handshake_timeout=self.handshake_timeout,
        )


#: Nothing stands there.
OPEN = EntranceSettings()
