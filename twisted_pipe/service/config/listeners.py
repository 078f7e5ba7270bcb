"""From a table of C{listen} to the listener it means."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.preface.proxy_protocol import ProxyHeaderParser
from twisted_pipe.proxies.trusted_proxies import ProxyProtocolIn, parse_networks
from twisted_pipe.service.config.layers import Layers
from twisted_pipe.service.config.model_listen import ListenTable, ProxyProtocolTable
from twisted_pipe.service.config.problems import Problems, Skip
from twisted_pipe.service.endpoints import Listener, parse_listener

__all__ = ["listener_of"]

_BUFFERS = {name: name for name in ("backlog", "receive_buffer", "send_buffer")}
_TCP = {name: name for name in ("reuse_port", "user_timeout")} | {"keepalive": "socket_keepalive"}
_IPV6 = {"ipv6_only": "ipv6_only"}
_UNIX = {name: name for name in ("mode", "owner")}

#: What may be said of each kind of endpoint. Of any other kind nothing: it makes its socket itself.
_KINDS: tuple[tuple[type[Any], dict[str, str]], ...] = (
    (TCP4ServerEndpoint, _BUFFERS | _TCP),
    (TCP6ServerEndpoint, _BUFFERS | _TCP | _IPV6),
    (UNIXServerEndpoint, _BUFFERS | _UNIX),
)
_SETTINGS = _BUFFERS | _TCP | _IPV6 | _UNIX


def listener_of(table: ListenTable, problems: Problems, reactor: Any, folder: str) -> Listener:
    """
    @param folder: the file's directory.
    @raise Skip: it is wrong, which has been reported.
    """
    if table.address is None:
        raise Skip
    where = (*table.where, "address")
    parse = partial(parse_listener, folder=folder)
    listener = problems.checked(where, parse, reactor, table.address, problems.name_of(where))
    known = next((names for kind, names in _KINDS if isinstance(listener.endpoint, kind)), {})
    given = Layers((table,)).fields(_SETTINGS)
    for field in given.keys() - known.keys():
        problems.add(
            (*table.where, _SETTINGS[field]), f"must be left out: it is not for {_described(listener.endpoint)}"
        )
    proxied = None if table.proxy_protocol is None else _proxy_protocol(table.proxy_protocol, problems)
    return attrs.evolve(
        listener,
        settings=attrs.evolve(listener.settings, **given),
        entrance=attrs.evolve(listener.entrance, proxy_protocol=proxied),
    )


def _proxy_protocol(table: ProxyProtocolTable, problems: Problems) -> ProxyProtocolIn:
    """
    @raise Skip: it is wrong, which has been reported.
    """
    networks, unix = parse_networks("trusted", tuple(table.trusted))
    given = Layers((table,)).fields({"timeout": "timeout"})
    if table.max_size is not None:
        try:
            given["parser"] = ProxyHeaderParser(table.max_size)
        except BadConfiguration as error:
            problems.add((*table.where, "max_size"), error.expected)
            raise Skip from error
    return ProxyProtocolIn(networks=networks, unix=unix, **given)


def _described(endpoint: Any) -> str:
    if isinstance(endpoint, TCP4ServerEndpoint):
        return "IPv4"
    if isinstance(endpoint, TCP6ServerEndpoint):
        return "TCP"
    return "a UNIX socket" if isinstance(endpoint, UNIXServerEndpoint) else "this kind of endpoint"
