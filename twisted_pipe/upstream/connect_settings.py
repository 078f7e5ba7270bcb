"""How connections to a group's servers are made."""

from __future__ import annotations

from typing import Any

import attrs

from twisted_pipe.core.keepalive_probes import KeepaliveProbes

__all__ = ["ConnectSettings", "KeepaliveProbes"]


@attrs.frozen
class ConnectSettings:
    """
    What holds for every connection to a group.

    @ivar bind: the local address, HOST or HOST:PORT; empty for the system's choice. Not for UNIX sockets. nginx C{proxy_bind}.
    @ivar nodelay: small packets are sent at once (TCP_NODELAY). nginx C{tcp_nodelay}.
    @ivar keepalive: when an idle connection is asked for a sign of life; None for never. nginx C{proxy_socket_keepalive}.
    @ivar user_timeout: seconds that bytes sent may stay without an acknowledgement (TCP_USER_TIMEOUT), then the connection is
        reset; 0 for the system's.
    @ivar tls: a C{twisted_pipe.tls.client.ClientTls}; None for plain connections.
    @ivar proxy_protocol: the C{twisted_pipe.preface.proxy_protocol.Version} of the header sent first; None for none.
    """

    bind: str = ""
    nodelay: bool = True
    keepalive: KeepaliveProbes | None = None
    user_timeout: float = 0.0
    tls: Any = None
    proxy_protocol: Any = None

    @property
    def wants_preparation(self) -> bool:
        """Whether a socket has to be told anything that it is not told anyway."""
        return bool(self.bind or self.keepalive or self.user_timeout) or not self.nodelay
