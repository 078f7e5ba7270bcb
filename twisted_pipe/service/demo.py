"""
C{--demo}: what the pipe is for, to be watched.

An origin makes up data of any size. The pipe stands in front of it with the filter C{upper} at work, and a slow client
asks for more than the kernel holds, stops reading, and reads on. The log shows that the rest is spilled, that the
origin is done and gone long before the client resumes, and that the client gets every byte.
"""

from __future__ import annotations

import sys
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.limits import MIB
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.demo_client import SlowClient, Taken
from twisted_pipe.service.demo_origin import Origin, Served, lines
from twisted_pipe.service.endpoints import LOOPBACK, Listener, WithFallback
from twisted_pipe.service.pipe_service import PipeService
from twisted_pipe.service.stream_server import StreamServer
from twisted_pipe.units import format_duration, format_size
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

__all__ = ["DemoService"]

PORT = 8080
SLOW_SIZE = 64 * MIB
SLOW_PATH = "/lines/64m?slow-client"
SLOW_STALL = 6.0
_FIRST_LOOK = 1.0  # seconds from the start to the slow client: time to see what is printed
_LAST_WORD = 0.5  # seconds from its end to the report: time for the pipe to count

_GUIDE = """
twisted_pipe demo: an origin that makes up data, and the pipe in front of it (filters: {filters}).
Try, from another terminal:

  curl {pipe}/
  curl {pipe}/lines/1k
       the origin sends lower case, the pipe makes it upper case
  curl -o /dev/null {pipe}/bytes/1g
       any size, at full speed
  curl -o /dev/null --limit-rate 1m {pipe}/lines/100m
       a slow client: the log shows what is spilled, and how soon the origin is done
  curl {origin}/lines/1k
       the origin itself, without the pipe

The filter sees the bytes of TCP, so the HTTP head comes in upper case too; HTTP clients take it in any case.
In a moment a slow client asks for {size} through the pipe and reads nothing for {stall}: see the log. Ctrl-C ends.
"""


class DemoService(MultiService):
    """The origin, the pipe and the slow client."""

    _log = Logger()

    def __init__(self, configuration: PipeConfiguration, reactor: Any) -> None:
        """
        @param configuration: of one L{StreamServer} without a group. The demo adds its own, its filter before the others, and a
            listener if there is none.
        @raise BadConfiguration: there is no filter C{upper}.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        (server,) = configuration.servers
        assert isinstance(server, StreamServer)
        filters = (parse_filter_spec("upper"), *server.settings.response_filters)
        self._configuration = configuration
        self._server = attrs.evolve(
            server,
            listeners=server.listeners or (_default_listener(reactor),),
            settings=attrs.evolve(server.settings, response_filters=filters, access_log=True),
        )
        self._reactor = reactor
        self._origin: IListeningPort | None = None
        self._pipe: PipeService | None = None
        self._next: Any = None
        self._client: SlowClient | None = None
        self._served: Served | None = None
        self._spilled_before = 0

    def privilegedStartService(self) -> None:
        """
        Bind the origin, then the pipe, which has to know its port: so there is a new one each time.

        @raise CannotStart: the pipe cannot be bound.
        """
        if self._pipe is not None:
            self._pipe.disownServiceParent()  # type: ignore[no-untyped-call]
        self._origin = self._reactor.listenTCP(0, Origin(self._reactor, self._was_served), interface=LOOPBACK)
        address: Any = self._origin.getHost()
        endpoint = TCP4ClientEndpoint(self._reactor, LOOPBACK, address.port)
        group = UpstreamGroup([UpstreamServer(f"{LOOPBACK}:{address.port}", endpoint)], clock=self._reactor)
        server = attrs.evolve(self._server, group=group)
        self._pipe = PipeService(attrs.evolve(self._configuration, servers=(server,)), self._reactor)
        self._pipe.setServiceParent(self)  # type: ignore[no-untyped-call]
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except BaseException:
            self._close_origin()
            raise

    def startService(self) -> None:
        """
        Binds them if L{privilegedStartService} has not done so since the start of the process or L{stopService}.

        @raise CannotStart: as L{privilegedStartService}.
        """
        if self._origin is None:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        assert self._pipe is not None
        for address in self._pipe.addresses[:1]:
            self._present(address)

    def stopService(self) -> Deferred[Any]:
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._client is not None and self._client.connected:
            self._client.transport.abortConnection()
        stopping = [maybeDeferred(super().stopService)]
        stopping.append(self._close_origin())
        return gatherResults(stopping, consumeErrors=True)

    def _close_origin(self) -> Deferred[Any]:
        origin, self._origin = self._origin, None
        return succeed(None) if origin is None else maybeDeferred(origin.stopListening)

    def _present(self, address: IAddress) -> None:
        """Say what to try with the pipe at C{address}, and send the slow client there."""
        assert self._origin is not None
        filters = self._server.settings.response_filters
        _show(
            _GUIDE.format(
                filters=", ".join(str(each.name) for each in filters),
                pipe=_url(address),
                origin=_url(self._origin.getHost()),
                size=format_size(SLOW_SIZE),
                stall=format_duration(SLOW_STALL),
            )
        )
        self._next = self._reactor.callLater(_FIRST_LOOK, self._ask, _reach(self._reactor, address))

    def _ask(self, endpoint: IStreamClientEndpoint) -> None:
        """Send the slow client."""
        assert self._pipe is not None
        self._spilled_before = self._pipe.statistics().servers[0].bytes_spilled
        self._log.info(
            "demo: a slow client asks for {size} through the pipe, and then reads nothing for {stall}",
            size=format_size(SLOW_SIZE),
            stall=format_duration(SLOW_STALL),
        )
        client = self._client = SlowClient(self._reactor, SLOW_PATH, SLOW_STALL, _upper_lines, self._was_taken)
        factory: Factory = Factory.forProtocol(lambda: client)
        factory.noisy = False
        endpoint.connect(factory).addErrback(self._not_connected)

    def _not_connected(self, failure: Failure) -> None:
        self._log.error("demo: the slow client cannot connect: {reason}", reason=failure.getErrorMessage())

    def _was_served(self, served: Served) -> None:
        if served.path == SLOW_PATH:
            self._served = served

    def _was_taken(self, taken: Taken) -> None:
        self._client = None
        if self.running:
            self._next = self._reactor.callLater(_LAST_WORD, self._report, taken)

    def _report(self, taken: Taken) -> None:
        """Say how it went."""
        assert self._pipe is not None
        spilled = self._pipe.statistics().servers[0].bytes_spilled - self._spilled_before
        if not taken.right:
            got = f"got {taken.received} bytes that are not what the origin sends through the filter upper"
        elif taken.received < SLOW_SIZE:
            got = (
                f"was cut off after {taken.received} of {SLOW_SIZE} bytes, these right ({taken.status or 'no answer'})"
            )
        else:
            got = f"got all {SLOW_SIZE} bytes, every one right (SHA-256)"
        self._log.info(
            "demo: the slow client {got}, in {client}; the origin was needed for {origin}; {spilled}",
            got=got,
            client=format_duration(taken.seconds),
            origin=format_duration(self._served.seconds) if self._served else "?",
            spilled=f"{format_size(spilled)} spilled meanwhile (all connections)" if spilled else "nothing was spilled",
        )


def _default_listener(reactor: Any) -> Listener:
    usual, any_free = [TCP4ServerEndpoint(reactor, port, interface=LOOPBACK) for port in (PORT, 0)]
    return Listener(f"{LOOPBACK}:{PORT}, or any free port", WithFallback(usual, any_free))


def _upper_lines(index: int) -> bytes:
    return lines(index).upper()


def _reach(reactor: Any, address: Any) -> IStreamClientEndpoint:
    """How a client on this machine connects to a listener."""
    if isinstance(address, UNIXAddress):
        return UNIXClientEndpoint(reactor, address.name)
    if isinstance(address, IPv6Address):
        return TCP6ClientEndpoint(reactor, "::1" if address.host == "::" else address.host, address.port)
    return TCP4ClientEndpoint(reactor, LOOPBACK if address.host == "0.0.0.0" else address.host, address.port)


def _url(address: IAddress) -> str:
    """How curl is told to get there."""
    if isinstance(address, UNIXAddress):
        return f"--unix-socket {(address.name or b'').decode(errors='replace')} http://demo"
    if isinstance(address, IPv6Address):
        return f"http://[{'::1' if address.host == '::' else address.host}]:{address.port}"
    host: str = LOOPBACK if address.host == "0.0.0.0" else address.host  # type: ignore[attr-defined]
    return f"http://{host}:{address.port}"  # type: ignore[attr-defined]


def _show(text: str) -> None:
    """Print to the real stdout: sys.stdout is twistd's log by now."""
    if sys.__stdout__ is not None:
        print(text, file=sys.__stdout__, flush=True)
