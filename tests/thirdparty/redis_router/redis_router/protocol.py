"""
The protocol: what a service that speaks it has in common for all its clients.

A client's commands are told from one another and passed on, each to the server that has its keys, without waiting for the replies
to those before. The servers answer when they like; the client gets the replies in the order of its commands.
"""

from __future__ import annotations

from typing import Union

import attrs
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from redis_router.client import Client
from redis_router.commands import answer_to, keys_of
from redis_router.resp import encode_error
from redis_router.servers import Server, ServerStatistics
from redis_router.slots import SlotMap
from twisted_pipe.errors import Cancelled
from twisted_pipe.interfaces import IPipeProtocol
from twisted_pipe.plugin.options import at_least, option
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.watch import Watch
from twisted_pipe.units import parse_count, parse_duration, parse_size

__all__ = ["RedisRouter", "RouterStatistics"]

_CROSSSLOT = encode_error("CROSSSLOT Keys in request don't hash to the same server")


@attrs.frozen(kw_only=True)
class RouterStatistics:
    """
    @ivar accepted: clients since the start.
    @ivar clients: those that are there now.
    @ivar commands: of all clients, those answered without a server too.
    @ivar servers: what went to each, in the order of the configuration.
    """

    accepted: int
    clients: int
    commands: int
    servers: tuple[ServerStatistics, ...]


@implementer(IPipeProtocol)
@attrs.define(eq=False)
class RedisRouter(ServerFactory):
    """
    Several Redis servers as one: each command goes to the server that has its keys.

    Keys are spread over the servers as over the nodes of a Redis Cluster: 16,384 slots, divided evenly among the servers in the
    order of the configuration. Replies come in the order of the commands. Commands whose keys are on different servers, and those
    that wait, subscribe or change the connection, are refused.
    """

    noisy = False

    context: ProxyContext
    max_command: int = option(
        at_least(64, parse_size), default=1024 * 1024, help="the most that one command may be", unit="bytes"
    )
    max_arguments: int = option(
        at_least(1, parse_count), default=16384, help="the most arguments of one command, with its name"
    )
    max_pending: int = option(
        at_least(1, parse_count), default=1024, help="commands of one client without a reply, before it has to wait"
    )
    retry: float = option(
        parse_duration,
        default=1.0,
        help="how long a server that could not be reached is not tried again",
        unit="seconds",
    )
    clients: set[Client] = attrs.field(init=False, factory=set)
    accepted: int = attrs.field(init=False, default=0)
    commands: int = attrs.field(init=False, default=0)
    read_timeout: float = attrs.field(init=False)
    watch: Watch = attrs.field(init=False)
    _servers: tuple[Server, ...] = attrs.field(init=False)
    _slots: SlotMap[Server] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.context.settings
        self.read_timeout = settings.limits.read_timeout
        self.watch = Watch(self.context.clock, (settings.idle_timeout, self.read_timeout), self.clients)
        # A pipe would take a client that asks nothing for servers that answer nothing: the clients see to that timeout themselves.
        unhurried = attrs.evolve(settings.limits, read_timeout=0.0)
        self.context = attrs.evolve(self.context, settings=attrs.evolve(settings, limits=unhurried))
        self._servers = tuple(map(Server, self.context.group.servers))
        self._slots = SlotMap(self._servers)

    def buildProtocol(self, addr: object) -> Client:
        return Client(self)

    def route(self, name: bytes, args: list[bytes]) -> Union[Server, bytes]:
        """
        Who gets a command; or the reply to it.

        @param name: of the command, in upper case.
        """
        answer = answer_to(name, args)
        if answer is not None:
            return answer
        return self._slots.server_of(keys_of(name, args)) or _CROSSSLOT

    def statistics(self) -> RouterStatistics:
        """The counters since the start."""
        return RouterStatistics(
            accepted=self.accepted,
            clients=len(self.clients),
            commands=self.commands,
            servers=tuple(server.statistics() for server in self._servers),
        )

    def shutdown(self) -> None:
        """Close every connection at once."""
        for client in list(self.clients):
            client.abandon(Cancelled("the service stops"))
        self.watch.stop()
