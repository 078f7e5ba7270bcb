"""From the table of an upstream to how connections to its servers are made."""

from __future__ import annotations

from collections.abc import Sequence

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.bound_endpoint import bound_endpoint
from twisted_pipe.net.socket_options import local_address
from twisted_pipe.preface.proxy_header import Version
from twisted_pipe.service.config.layers import Layers
from twisted_pipe.service.config.model_upstreams import UpstreamTable
from twisted_pipe.service.config.problems import Problems
from twisted_pipe.tls.client import ClientTls
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamServer

__all__ = ["CONNECT", "connect_settings"]

#: The key of each field of L{ConnectSettings}.
CONNECT = {"bind": "bind", "nodelay": "nodelay", "keepalive": "socket_keepalive", "user_timeout": "user_timeout"}

_VERSIONS = {str(version): version for version in Version}
_BEGIN_TLS = ("tls:", "ssl:")  # Twisted endpoints


def connect_settings(
    table: UpstreamTable, servers: Sequence[UpstreamServer], problems: Problems, tls: ClientTls | None = None
) -> ConnectSettings:
    """
    What is wrong is reported.

    @param servers: of the group, as far as they are known now.
    @param tls: what speaks TLS to them; None for plain connections.
    """
    version = None if table.send_proxy_protocol is None else _VERSIONS[table.send_proxy_protocol]
    settings = ConnectSettings(**Layers((table,)).fields(CONNECT), tls=tls, proxy_protocol=version)
    secure = [each.name for each in servers if each.name.lower().startswith(_BEGIN_TLS)]
    if version is not None and secure:
        said = f"must be left out: {secure[0]} begins TLS by itself, and the header comes before TLS; a table tls does both"
        problems.add((*table.where, "send_proxy_protocol"), said)
    if settings.bind:
        try:
            _check_bind(settings.bind, servers)
        except BadConfiguration as error:
            problems.add((*table.where, "bind"), error.expected)
    return settings


def _check_bind(bind: str, servers: Sequence[UpstreamServer]) -> None:
    """
    @raise BadConfiguration: a server cannot be reached from there.
    """
    sixth = ":" in local_address(bind)[0]
    for server in servers:
        bound_endpoint(server.endpoint, bind)
        if isinstance(server.address, tuple) and (len(server.address) == 4) != sixth:
            raise BadConfiguration("bind", bind, f"must be an address of the same family as {server.name}")
