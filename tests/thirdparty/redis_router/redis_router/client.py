"""
One client, and its connections to the servers.

Everything that happens sets a fact and calls L{Client.turn}, which does what the facts allow: take commands, give replies, and
settle who may go on sending. What is held, and by what it is bounded:

  - commands that were not taken yet: one read, and C{max_command};
  - commands that wait for their reply: C{max_pending}, of which only the order is kept;
  - commands that a server has not taken: the request pipe's bounds, and a read;
  - replies that wait for their turn: one read for each server;
  - replies that the client has not taken: the response pipe's bounds.

Who is at a bound is paused: a server whose turn it is not, all servers while the client takes nothing, the client while a server
takes nothing, or is being connected to.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Union

from twisted.internet import defer, error
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from redis_router.commands import PROBES
from redis_router.link import Link, Valve
from redis_router.resp import CommandParser, ProtocolError, ReplyError, encode_error
from twisted_pipe.errors import Cancelled, DownstreamFailed, FilterFailed, PipeError, Side, TimedOut, UpstreamFailed
from twisted_pipe.interfaces import Direction
from twisted_pipe.net.closing import abort, abort_when_sent, close_when_sent
from twisted_pipe.net.outcome import PipeOutcome
from twisted_pipe.proxies.watch import NEVER
from twisted_pipe.units import format_duration, format_size

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from redis_router.protocol import RedisRouter
    from redis_router.servers import Server

__all__ = ["Client"]

_log = Logger()


class _Run:
    """
    Commands in a row that went to the same server.

    @ivar link: by which they went.
    @ivar count: those without their reply.
    """

    __slots__ = ("count", "link")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.count = 1


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    """
    @ivar router: what it has in common with the others.
    @ivar name: what the log calls it.
    """

    _response: Any  # the EventPipe to the client

    def __init__(self, router: RedisRouter) -> None:
        self.router = router
        self.name = "?"
        self._parser = CommandParser(router.max_command, router.max_arguments)
        self._pending: deque[Union[bytes, _Run]] = deque()  # replies of our own, and those that servers owe
        self._count = 0  # how many
        self._own = 0  # bytes of the former
        self._commands = 0
        self._links: dict[Server, Link] = {}  # for the next commands
        self._old_links: set[Link] = set()  # that take none any more and still have to answer
        self._connecting: Deferred[Any] | None = None
        self._valve = Valve(self._client_turned)
        self._reading = True
        self._ended = False  # the client sends no more
        self._last = False  # no more commands are taken
        self._untaken = False  # there may be some, or their end, that could not be taken yet
        self._gone = False  # the client's connection is lost
        self._closed = False
        self._why = ""
        self._running = self._again = False
        self._started = self._heard = self._served = router.context.clock.seconds()

    def __repr__(self) -> str:
        return f"<Client {self.name} pending={self._count} {list(self._links.values())}>"

    def connectionMade(self) -> None:
        transport: Any = self.transport
        router, context = self.router, self.router.context
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        self.name = _host_port(transport.getPeer())
        try:
            filters = context.filters(Direction.RESPONSE, transport, None, self.name)  # there are many upstreams
        except FilterFailed as problem:
            _log.failure("{name}: closed: {problem}", name=self.name, problem=problem)
            transport.abortConnection()
            self._closed = True
            return
        self._response = context.pipe(None, transport, Direction.RESPONSE, filters, name=f"{self.name} (response)")
        self._response.registerProducer(self._valve, True)
        router.accepted += 1
        router.clients.add(self)
        router.watch.start()
        if context.settings.access_log:
            _log.info("{name}: open", name=self.name)
        self._response.done.addCallback(self._over)

    # what happens

    def dataReceived(self, data: bytes) -> None:
        if not self._closed:
            self._heard = self.router.context.clock.seconds()
            self._parser.feed(data)
            self._untaken = True
            self.turn()

    def readConnectionLost(self) -> None:
        """The client sends no more; it still gets its replies."""
        self._ended = self._untaken = True
        self.turn()

    def writeConnectionLost(self) -> None:
        """It was us."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._gone = True
        if self._closed:
            return
        if reason.check(error.ConnectionDone) and not self._pending:
            self._response.upstream_ended()
        self.abandon(DownstreamFailed(reason.getErrorMessage()))

    def link_lost(self, link: Link) -> None:
        """A server takes no more commands, or is gone altogether. What it has answered before is still good."""
        if self._links.get(link.server) is link:
            del self._links[link.server]
            self._old_links.add(link)
        self.turn()

    def abandon(self, why: PipeError) -> None:
        """End everything at once."""
        if not self._closed:
            self._response.abandon(why)

    def _client_turned(self) -> None:
        """The client takes replies again, or no more for now. Nobody is blamed for that wait."""
        self._served = self.router.context.clock.seconds()
        self.turn()

    # the turn

    def turn(self) -> None:
        """Do what can be done. Never nested: a call from within makes the running one go on."""
        self._again = True
        if self._running:
            return
        self._running = True
        try:
            while self._again and not self._closed:
                self._again = False
                self._take_commands()
                self._give_replies()
                self._settle()
        finally:
            self._running = False

    # commands

    @property
    def _may_take(self) -> bool:
        return (
            self._count < self.router.max_pending
            and self._own <= self.router.max_command
            and self._connecting is None
            and not (self._last or self._closed)
        )

    @property
    def _servers_take(self) -> bool:
        return all(link.valve.open for link in self._links.values())

    def _take_commands(self) -> None:
        if not self._servers_take:
            return
        while self._may_take:
            try:
                command = self._parser.next()
            except ProtocolError as problem:
                self._refuse(f"ERR Protocol error: {problem}")
                break
            if command is None:
                self._untaken = False
                self._last = self._ended
                break
            self._dispatch(*command)
        for link in list(self._links.values()):
            if link.outbox:
                link.flush()

    def _dispatch(self, raw: bytes, args: list[bytes]) -> None:
        name = args[0].upper()
        if name in PROBES:
            self._refuse(f"ERR Protocol error: {name.decode()} is no command")
            return
        self._commands += 1
        self.router.commands += 1
        where = self.router.route(name, args)
        if isinstance(where, bytes):
            self._answer(where)
            self._last = name == b"QUIT"
            return
        link = self._links.get(where)
        if link is not None:
            self._ask(link, raw)
        else:
            self._connect(where, raw)

    def _ask(self, link: Link, raw: bytes) -> None:
        """Pass a command on."""
        if not self._pending:
            self._served = self.router.context.clock.seconds()
        link.outbox.append(raw)
        link.outstanding += 1
        link.server.commands += 1
        self._count += 1
        last = self._pending[-1] if self._pending else None
        if isinstance(last, _Run) and last.link is link:
            last.count += 1
        else:
            self._pending.append(_Run(link))

    def _answer(self, reply: bytes) -> None:
        """Reply to a command without asking a server."""
        self._pending.append(reply)
        self._count += 1
        self._own += len(reply)

    def _refuse(self, why: str) -> None:
        """Say why, after all replies before it, and close the connection."""
        self._answer(encode_error(why))
        self._last = True
        self._why = why

    # connecting

    def _connect(self, server: Server, raw: bytes) -> None:
        """Connect to a server, for this command. No other is taken until that is done."""
        context = self.router.context
        problem = server.problem(context.clock.seconds())
        if problem:
            self._answer(_unreachable(server, problem))
            return
        connecting = self._connecting = context.connect(server.upstream, lambda: Link(self, server))
        connecting.addCallbacks(self._connected, self._not_connected, callbackArgs=(raw,), errbackArgs=(server,))
        connecting.addErrback(self._broken)

    def _connected(self, link: Link, raw: bytes) -> None:
        self._connecting = None
        if self._closed:
            link.drop("too late")
            return
        self._links[link.server] = link
        link.open()
        self._ask(link, raw)
        self.turn()

    def _not_connected(self, failure: Failure, server: Server) -> None:
        self._connecting = None
        if self._closed and failure.check(defer.CancelledError):
            return
        context = self.router.context
        if failure.check(defer.TimeoutError, error.TimeoutError):
            why = f"no connection within {format_duration(context.settings.connect_timeout)}"
        elif failure.check(error.ConnectError):
            why = failure.getErrorMessage().rstrip(".")
        else:
            why = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        server.failed(why, context.clock.seconds() + self.router.retry)
        _log.info("{name}: upstream {server.name} cannot be reached: {why}", name=self.name, server=server, why=why)
        if not self._closed:
            self._answer(_unreachable(server, why))
            self.turn()

    def _broken(self, failure: Failure) -> None:
        """A filter could not be built, or a mistake of ours."""
        _log.failure("{name}: closed", failure, name=self.name)
        self.abandon(Cancelled(f"{type(failure.value).__name__}: {failure.getErrorMessage()}"))

    # replies

    def _give_replies(self) -> None:
        """Pass on those whose turn it is, as far as they have come."""
        pieces: list[bytes] = []
        pending = self._pending
        problem = ""
        while pending and self._valve.open:
            first = pending[0]
            if isinstance(first, bytes):
                pieces.append(first)
                self._count -= 1
                self._own -= len(first)
            else:
                link = first.link
                try:
                    piece, ended = link.take(first.count)
                except ReplyError as nonsense:
                    problem = f"sent what is no reply: {nonsense}"
                    break
                if piece:
                    pieces.append(piece)
                self._count -= ended
                first.count -= ended
                if first.count and link.held:
                    continue
                if first.count:
                    problem = link.lost
                    break
            pending.popleft()
        if pieces:
            self._served = self.router.context.clock.seconds()
            self._response.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if problem and not self._closed:
            self._fail(link, problem)
        elif self._last and not pending:
            self._response.upstream_ended()

    def _fail(self, link: Link, problem: str) -> None:
        """A reply does not come: the client gets those before it, and then no clean end."""
        server = link.server
        server.losses += 1
        self._last = True
        self._pending.clear()
        self._drop_links(problem)
        replies = f"{link.outstanding} {'reply' if link.outstanding == 1 else 'replies'} outstanding"
        self._response.upstream_lost(Failure(UpstreamFailed(f"{server.name}: {problem}, with {replies}")))

    # who may go on

    def _settle(self) -> None:
        """Pause and resume."""
        if self._closed:
            return
        may_take = self._may_take and self._servers_take
        if may_take and self._untaken:
            self._again = True  # replies have made room for them
        if may_take != self._reading and not self._ended:
            self._reading = may_take
            transport: Any = self.transport
            if may_take:
                transport.resumeProducing()
            else:
                transport.pauseProducing()
        takes = self._valve.open
        for link in (*self._links.values(), *self._old_links):
            if not link.outstanding and (link.held or link in self._old_links):
                self._let_go(link)
            else:
                link.read(takes and not link.held)

    def _let_go(self, link: Link) -> None:
        """It owes nothing."""
        if link.held:
            _log.warn("{name}: upstream {link.server.name} has sent what nobody asked for", name=self.name, link=link)
        self._links.pop(link.server, None)
        self._old_links.discard(link)
        link.drop("it was not needed any more")

    # timeouts: Watched

    def due(self) -> float:
        """When the next timeout comes if nothing moves."""
        settings = self.router.context.settings
        idle: float = max(self._heard, self._response.last_progress) + (settings.idle_timeout or NEVER)
        return min(idle, self._silent_until())

    def expire(self) -> None:
        """Do what is due."""
        context = self.router.context
        now = context.clock.seconds()
        if self._closed or self.due() > now:
            return
        if self._silent_until() <= now:
            first = self._pending[0]
            assert isinstance(first, _Run)
            self._fail(first.link, str(TimedOut(Side.UPSTREAM, "read timeout", self.router.read_timeout)))
            self.turn()
        else:
            self.abandon(TimedOut(Side.CALLER, "idle timeout", context.settings.idle_timeout))

    def _silent_until(self) -> float:
        """How long the server whose turn it is may say nothing."""
        waits = self._pending and isinstance(self._pending[0], _Run) and self._valve.open
        timeout = self.router.read_timeout
        return self._served + timeout if waits and timeout else NEVER

    # the end

    def _over(self, outcome: PipeOutcome) -> None:
        """The response has ended, one way or the other."""
        self._closed = True
        router, settings, clock = self.router, self.router.context.settings, self.router.context.clock
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        self._drop_links("the client is gone")
        if not self._gone:
            self._close(outcome.error, settings.limits.send_timeout)
        why = self._why or ("finished" if outcome.error is None else outcome.error.describe(downstream="client"))
        if settings.access_log or why != "finished":
            _log.info(
                "{name}: close after {duration}: {commands} commands, {size} to the client: {why}",
                name=self.name,
                duration=format_duration(clock.seconds() - self._started),
                commands=self._commands,
                size=format_size(outcome.bytes_out),
                why=why,
            )
        router.clients.discard(self)
        router.watch.forget(self)

    def _close(self, problem: PipeError | None, patience: float) -> None:
        """Close the client's connection, uncleanly if there was a problem."""
        transport: Any = self.transport
        clock = self.router.context.clock
        transport.pauseProducing()
        if problem is None:
            close_when_sent(transport, clock, patience)
        elif problem.side is Side.UPSTREAM:
            abort_when_sent(transport, clock, patience)
        else:
            abort(transport)

    def _drop_links(self, why: str) -> None:
        links = [*self._links.values(), *self._old_links]
        self._links.clear()
        self._old_links.clear()
        for link in links:
            link.drop(why)


def _unreachable(server: Server, why: str) -> bytes:
    return encode_error(f"ERR upstream {server.name} cannot be reached: {why}")


def _host_port(address: Any) -> str:
    """An address as people write it."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return "unix"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
