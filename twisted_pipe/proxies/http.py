"""
The HTTP proxy: for each client a connection (L{twisted_pipe.proxies.http_client}), for each of its requests an exchange
(L{twisted_pipe.proxies.exchange}).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from twisted_pipe.errors import Side
from twisted_pipe.http.dates import http_date
from twisted_pipe.http.head import HeadLimits
from twisted_pipe.http.log_format import LogFormat
from twisted_pipe.http.routing import SiteTable
from twisted_pipe.interfaces import IPipeProtocol
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.log_file import LogFile
from twisted_pipe.net.pipe_end import PipeEnd
from twisted_pipe.net.port import ISocketFactory
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.proxies.exchange import Exchange
from twisted_pipe.proxies.exchange_record import ExchangeRecord
from twisted_pipe.proxies.http_client import HttpClient
from twisted_pipe.proxies.http_settings import DEFAULT_CLIENT, ClientSettings, HttpSettings, Site
from twisted_pipe.proxies.moments import Moments
from twisted_pipe.proxies.watch import Watch

__all__ = ["AccessLog", "HttpProxy", "HttpProxyStatistics"]

_log = Logger()


@attrs.define
class HttpProxyTotals:
    """What connections and exchanges add to as they go; see L{HttpProxyStatistics}."""

    accepted: int = 0
    requests: int = 0
    failed: int = 0
    bytes_sent: int = 0
    bytes_spilled: int = 0
    retries: int = 0


@attrs.frozen(kw_only=True)
class HttpProxyStatistics:
    """
    @ivar accepted: connections of clients.
    @ivar active: connections now.
    @ivar requests: exchanges that are over.
    @ivar failed: of these, how many went wrong: an error of ours, or an unclean end.
    @ivar bytes_sent: to clients, by exchanges that are over.
    @ivar bytes_spilled: likewise, what waited on disk.
    @ivar retries: how often another server was asked, or a server once more.
    """

    accepted: int = 0
    active: int = 0
    requests: int = 0
    failed: int = 0
    bytes_sent: int = 0
    bytes_spilled: int = 0
    retries: int = 0


@attrs.frozen
class AccessLog:
    """
    @ivar form: of its lines.
    @ivar file: where they go.
    """

    form: LogFormat
    file: LogFile


#: What makes a line of an exchange, and what takes it, for each log.
Writers = list[tuple[Callable[[ExchangeRecord], bytes], Callable[[bytes], None]]]


@implementer(IPipeProtocol, ISocketFactory)
class HttpProxy(ServerFactory):
    """
    Serves the sites of a listener, or of several. Listen with it on any endpoint.

    @ivar sites: what requests are for.
    @ivar client_settings: what clients may do.
    @ivar default_settings: for what no site has been found for: requests that cannot be understood.
    @ivar clock: the reactor, or an C{IReactorTime} in tests.
    @ivar spill: where spill files are made.
    @ivar clients: the connections that are not over.
    @ivar totals: what those that are have counted.
    @ivar watch: looks after their timeouts.
    @ivar moments: of small responses that are not whole yet.
    @ivar takes_sockets: whether they can do with bare sockets, as on the C{epollet} reactor.
    @ivar head_limits: of requests.
    @ivar server_name: who says so on pages of our own; C{server_line} its field C{Server}, empty for none.
    @ivar hostname: of this machine.
    @ivar logs: of exchanges whose settings name none.
    """

    noisy = False

    def __init__(
        self,
        sites: SiteTable[Site],
        clock: Any,
        spill: SpillDirectory,
        client: ClientSettings = DEFAULT_CLIENT,
        logs: Sequence[AccessLog] = (),
        open_log: Callable[[Any], AccessLog] | None = None,
        server_name: bytes = b"twisted_pipe",
    ) -> None:
        self.sites = sites
        self.clock = clock
        self.spill = spill
        self.client_settings = client
        self.logs = tuple(logs)
        self._open_log = open_log
        self._files = {log.file for log in logs}
        self._writers: dict[int, Writers] = {}  # by the identity of settings, which live as long as this
        self.server_name = server_name
        self.server_line = b"Server: " + server_name if server_name else b""
        self.hostname = socket.gethostname()
        self.takes_sockets = hasattr(clock, "add_edge")
        self.head_limits = HeadLimits(client.header_buffer_size, client.max_headers, client.bare_lf)
        self.default_settings: HttpSettings = sites.find(b"").settings
        self.clients: set[HttpClient] = set()
        self.totals = HttpProxyTotals()
        self._date = (b"", b"")
        self.watch = Watch(clock, [*_client_timeouts(client), *_route_timeouts(sites)], self.clients)
        self.moments = Moments(clock)

    def __repr__(self) -> str:
        return f"<HttpProxy clients={len(self.clients)} requests={self.totals.requests}>"

    # clients

    def buildProtocol(self, addr: Any) -> PipeEnd:
        return TransportWire(self._transport_connected)

    def _transport_connected(self, wire: PipeEnd) -> None:
        transport: Any = wire.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        assert isinstance(wire, TransportWire)
        HttpClient(self, wire)
        wire.resume()

    def socket_accepted(self, sock: socket.SocketType, peer: bytes = b"") -> None:
        """A client of one of the C{epollet} reactor's own listeners."""
        self.wire_accepted(BareSocket(self.clock, sock, accepted=True, peer=peer))

    def wire_accepted(self, wire: BareSocket) -> None:
        """A client that has come by an L{Entrance<twisted_pipe.proxies.entrance.Entrance>}."""
        HttpClient(self, wire)

    # what exchanges share

    def date_line(self) -> bytes:
        """The field C{Date}, now."""
        date = http_date(self.clock.seconds())
        if self._date[0] is not date:
            self._date = (date, b"Date: " + date)
        return self._date[1]

    # logs

    def log(self, exchange: Exchange) -> None:
        """An exchange is over."""
        totals = self.totals
        totals.requests += 1
        totals.bytes_sent += exchange.bytes_sent
        totals.bytes_spilled += exchange.bytes_spilled
        if exchange.error:
            totals.failed += 1
        if exchange.attempts:
            totals.retries += len(exchange.attempts)
        writers = self._writers.get(id(exchange.settings))
        if writers is None:
            writers = self._writers_of(exchange.settings)
        for line, write in writers:
            write(line(exchange))

    def _writers_of(self, settings: HttpSettings) -> Writers:
        """What makes a line, and what takes it, of each log of C{settings}."""
        logs: Sequence[AccessLog] = ()
        if settings.logs is None:
            logs = self.logs
        elif self._open_log is not None:
            logs = [self._open_log(place) for place in settings.logs]
        self._files.update(log.file for log in logs)
        made = self._writers[id(settings)] = [(log.form.line, log.file.write) for log in logs]
        return made

    def flush_logs(self) -> None:
        """A client's connection is about to be closed: whoever sees that finds its lines."""
        for file in self._files:
            file.flush()

    def complain(self, exchange: ExchangeRecord, why: str, side: Side) -> None:
        """
        A line in the error log: what went wrong, for whom, with what (nginx's shape).

        @param side: whose fault it was. What clients do wrong is everyday business.
        """
        _log.emit(
            LogLevel.info if side is Side.DOWNSTREAM else LogLevel.error,
            "{why}, client: {client}, server: {site}, request: {request}{upstream}, host: {host}",
            why=why,
            client=exchange.client.name,
            site=exchange.site or "-",
            request=_shown(exchange.request_line),
            upstream=f", upstream: {exchange.server}" if exchange.server else "",
            host=_shown(exchange.request_header(b"host") or b""),
        )

    # the service

    def statistics(self) -> HttpProxyStatistics:
        """The counters since the start."""
        return HttpProxyStatistics(active=len(self.clients), **attrs.asdict(self.totals))

    def shutdown(self) -> None:
        """Close every connection at once."""
        for client in list(self.clients):
            client.close()
        self.watch.stop()
        self.moments.stop()


def _client_timeouts(client: ClientSettings) -> Iterator[float]:
    yield from (client.header_timeout, client.body_timeout, client.keepalive_timeout, client.lingering_timeout)


def _route_timeouts(sites: Iterable[Site]) -> Iterator[float]:
    for site in sites:
        for settings in (site.settings, *(route.settings for route in site.routes)):
            yield from (settings.connect_timeout, settings.limits.read_timeout, settings.limits.send_timeout)
            yield settings.upgrade.timeout


def _shown(text: bytes) -> str:
    """What came from outside, for a log line: quoted, one line, of bounded length."""
    shown = repr(text[:512])[2:-1].replace('"', '\\"')
    return f'"{shown}"' + ("..." if len(text) > 512 else "")
