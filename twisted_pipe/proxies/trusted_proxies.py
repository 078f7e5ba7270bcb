"""Who may say on whose behalf it connects, by a PROXY header."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.ip import IpNetwork, is_within
from twisted_pipe.preface.proxy_protocol import ProxyHeaderParser

__all__ = ["ProxyProtocolIn", "parse_networks"]

_UNIX = "unix:"
_RULE = "must be an address, a network such as 10.0.0.0/8 or fd00::/8, or unix:"


@attrs.frozen(kw_only=True)
class ProxyProtocolIn:
    """
    A listener behind another proxy: each connection begins with a PROXY header (nginx C{listen … proxy_protocol}).

    @ivar networks: from where (nginx C{set_real_ip_from}). Connections from elsewhere are refused: what they say could be anything.
    @ivar unix: whether from UNIX sockets, too.
    @ivar timeout: seconds for the header to be whole (nginx C{proxy_protocol_timeout}); 0 for ever. Default 30.
    @ivar parser: how it is read, and how long it may be.
    """

    networks: tuple[IpNetwork, ...]
    unix: bool = False
    timeout: float = 30.0
    parser: ProxyHeaderParser = attrs.field(factory=ProxyHeaderParser)

    def trusts(self, address: Any) -> bool:
        """Whether a header from C{address}, an C{IAddress}, is believed."""
        host = getattr(address, "host", None)
        return self.unix if host is None else is_within(host, self.networks)


def parse_networks(option: str, texts: list[str] | tuple[str, ...]) -> tuple[tuple[IpNetwork, ...], bool]:
    """
    Networks, and whether UNIX sockets are among them.

    @raise BadConfiguration: C{option} says something else.
    """
    networks: list[IpNetwork] = []
    for text in texts:
        if text == _UNIX:
            continue
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise BadConfiguration(option, text, _RULE) from error
    return tuple(networks), _UNIX in texts
