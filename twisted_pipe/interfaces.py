"""
The contracts that third parties write against.

A filter sees one direction of one connection. It is I{pulled}: each call returns an iterable, and the pipe advances that
iterable only while there is room for what it yields. So laziness is the back-pressure, nothing re-enters the filter, and
there is no queue between a filter and its neighbours.
"""

from __future__ import annotations

import enum
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

import attrs
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = [
    "BytesLike",
    "Direction",
    "FilterContext",
    "FilterGenerator",
    "FilterOutput",
    "IBufferedProtocol",
    "IHealthCheck",
    "IHealthCheckFactory",
    "IHealthCheckStream",
    "IMessageFilter",
    "IMessageFilterFactory",
    "IPipeFilter",
    "IPipeFilterFactory",
    "IPipeProtocol",
    "IPipeProtocolFactory",
    "IUpstreamBalancer",
    "IUpstreamBalancerFactory",
    "IUpstreamResolver",
    "IUpstreamResolverFactory",
    "MessageContext",
    "MessageOutput",
    "NamedFilter",
    "OnFailure",
]

BytesLike = Union[bytes, bytearray, memoryview]
#: A piece of output, or what suspends the pipe until it fires.
Item = Union[BytesLike, "Deferred[Any]", Awaitable[Any]]
#: What a filter's call returns that is written as a generator; the value of its C{yield} is what a Deferred has fired with.
FilterGenerator = Generator[Item, Any, None]
#: What a filter's calls may return.
FilterOutput = Union[
    FilterGenerator,
    Iterable[Item],
    AsyncIterable[BytesLike],
    Awaitable[Union[BytesLike, Iterable[BytesLike], None]],
]


class Direction(enum.Enum):
    """Which way the bytes of a filter flow, seen from the proxy."""

    RESPONSE = "response"  #: from the upstream to the client
    REQUEST = "request"  #: from the client to the upstream

    def __str__(self) -> str:
        return self.value


class OnFailure(enum.Enum):
    """What the failure of a filter does to its pipe."""

    ABORT = "abort"  #: the pipe ends, uncleanly: whoever receives cannot take what came for the whole
    #: the stream goes on without the filter, as long as it has put out nothing, nor taken more than 64 KiB (they are kept until
    #: then); after that as C{ABORT}
    BYPASS = "bypass"

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class FilterContext:
    """
    What a filter may know of where it stands.

    @ivar direction: which way its bytes flow.
    @ivar client: the address of the client (an C{IAddress}), or None where there is none (tests).
    @ivar upstream: the address of the upstream server, or None.
    @ivar local: our own address, that the client has connected to, or None.
    @ivar connection: what the log calls the connection: C{"10.0.0.7:53422 -> 127.0.0.1:9000"}, or empty.
    @ivar clock: an C{IReactorTime} for filters that need time; the reactor in production, a C{Clock} in tests.
    @ivar request: for HTTP the head of the request (L{twisted_pipe.http.head.RequestHead}); else None.
    @ivar response: for HTTP, and the response's direction, the head of the upstream's response
        (L{twisted_pipe.http.head.ResponseHead}); else None.
    """

    direction: Direction = Direction.RESPONSE
    client: Any = None
    upstream: Any = None
    local: Any = None
    connection: str = ""
    clock: Any = None
    request: Any = None
    response: Any = None


class IPipeFilter(Interface):
    """
    One direction of one connection.

    Calls come in this order: C{started}, any number of C{received}, C{ended} if the stream ended cleanly, and C{stopped}
    exactly once, whatever happened. All in the reactor thread, never one inside another. A call is made only when the
    output of the call before is exhausted.

    The first three return output, in any of four forms:

      - an iterable of bytes-like objects of any length and of Deferreds or other awaitables, which suspend the pipe; bytes that one
        of them fires with take its place. Pieces without a byte are dropped, but of those one call may yield no more than 1,000 in
        a row, and one more for each byte that it got;
      - a generator: the same, advanced only while there is room for what it yields. What a Deferred fires with is the value of the
        C{yield} expression, and its failure is raised there;
      - an C{async def}: may await Deferreds, and returns bytes, an iterable of bytes, or None;
      - an C{async def} that yields: likewise, and advanced only while there is room.

    What a call raises is a failure of the filter, and so is output that is nothing of these. It ends the pipe as C{FilterFailed},
    never as a clean end of stream; or the filter is bypassed: L{OnFailure}. A Deferred that does not fire within the filter's
    timeout is cancelled, and C{TimeoutError} raised where it was waited for; an C{async def} is cancelled with it, and has failed.
    When the pipe ends, what is waited for is cancelled and generators are closed, and then C{stopped} is called.
    """

    def started() -> FilterOutput:
        """Before the first byte. Returns output to send first; usually C{()}."""

    def received(data: memoryview) -> FilterOutput:
        """
        Some bytes of the stream, cut anywhere.

        @param data: read-only, 1 byte or more, lent until the returned output is exhausted. Slices of it may be put out as
            they are (nothing is copied); to keep bytes for later, copy them with C{bytes(data)}.
        """

    def ended() -> FilterOutput:
        """The clean end of the stream: the last output. Not called when the stream broke off."""

    def stopped(reason: BaseException | None) -> None:
        """
        The end of this filter's life: release what it holds. What it raises is logged and changes nothing.

        @param reason: None after a clean end, else why the stream broke off.
        """


@attrs.frozen
class NamedFilter:
    """
    A filter in its place in a pipe.

    @ivar name: for errors and logs.
    @ivar filter: an C{IPipeFilter}; of a message, an C{IMessageFilter}.
    @ivar on_failure: what its failure does.
    @ivar timeout: seconds that it may wait for one Deferred, 0 for ever.
    """

    name: str
    filter: Any
    on_failure: OnFailure = OnFailure.ABORT
    timeout: float = 60.0


class IPipeFilterFactory(Interface):
    """
    The plugin: an object in a C{twisted.plugins} drop-in or an entry point C{twisted_pipe.filters}, immutable and shared by all
    connections.

    In a drop-in, C{twisted.plugin.IPlugin} is provided beside this interface (L{twisted_pipe.filters.base.FilterPlugin} does both).
    """

    name = Attribute("The name by which configuration finds it: lower case, digits and dashes.")
    summary = Attribute("One line for C{--help}.")
    on_failure = Attribute("What the failure of one of its filters does: an C{OnFailure}.")
    timeout = Attribute("Seconds that one of its filters may wait for one Deferred, 0 for ever.")

    def configure(options: Mapping[str, Any]) -> IPipeFilterFactory:
        """
        Take the options of C{--filter NAME:key=value:...} (values still as text) or of a configuration file (numbers and booleans
        as such).

        @return: a factory with these options, frozen.
        @raise twisted_pipe.errors.BadConfiguration: which option, which value, and what would be right.
        """

    def build(context: FilterContext) -> IPipeFilter:
        """A new filter for one direction of one connection."""


#: What a message filter's calls may return; what an awaitable gives is nothing or a reply, too.
MessageOutput = Union[Any, Awaitable[Any], None]


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@attrs.frozen(kw_only=True)
class MessageContext:
    """
    What a message filter may know of where it stands.

    @ivar clock: an C{IReactorTime} for filters that need time; the reactor in production, a C{Clock} in tests.
    @ivar folder: what relative paths among its options are relative to: the configuration file's directory; empty: the current one.
    @ivar in_thread: calls a function with arguments and returns an awaitable of what that returns: for what would hold up the
        reactor. In production a thread of the reactor's pool calls it.
    """

    clock: Any = None
    folder: str = ""
    in_thread: Callable[..., Awaitable[Any]] = _at_once

    def path(self, name: str) -> str:
        """C{name}, an option that names a file, as it can be opened."""
        return os.path.join(self.folder, name)


class IMessageFilter(Interface):
    """
    Sees and changes the heads of HTTP requests and their responses, and decides on bodies: one object for all exchanges of the
    place where it is configured. All calls are made in the reactor thread.

    What is to be remembered from a request to its response stands in the request, not in the filter: many requests are under way
    at a time.

    Filters see requests in the order of the configuration and responses in the reverse one, like the skins of an onion: the first
    is nearest to the client, what it sets last is what the client gets, and it sees the answers of all filters behind it. What a
    filter answers is seen by those before it only.

    Each call returns None to let the message go on, as it is now; or a L{Reply<twisted_pipe.messages.reply.Reply>}, which takes its
    place; or an awaitable (Deferred, coroutine) of one of these. While one is waited for the message is held: nothing more is read
    from who has sent it. It is cancelled when the client goes, and when the filter's timeout is over; so each message needs one of
    its own. A Deferred that is given to several comes to the same for each of them, and so does its cancelling: a failure.

    What a call raises, and what it returns that is nothing of these, is a failure of the filter: the client gets 500 and the log
    C{FilterFailed}; or the message goes on as it was before (L{OnFailure}).
    """

    def request(request: Any) -> MessageOutput:
        """
        A request has come, and its route was found. Its body was not read, nor asked for (C{Expect}).

        @param request: a L{RequestMessage<twisted_pipe.messages.request.RequestMessage>}. It may be changed until this is over.
        """

    def response(response: Any) -> MessageOutput:
        """
        A response is about to be sent, the upstream's or our own, to a request that this filter has let go on.

        @param response: a L{ResponseMessage<twisted_pipe.messages.response.ResponseMessage>}. It may be changed until this is over.
        """


class IMessageFilterFactory(Interface):
    """
    The plugin: an object in a C{twisted.plugins} drop-in or an entry point C{twisted_pipe.message_filters}, immutable.
    """

    name = Attribute("The name by which configuration finds it: lower case, digits and dashes.")
    summary = Attribute("One line for C{--help}.")
    on_failure = Attribute("What the failure of one of its filters does: an C{OnFailure}.")
    timeout = Attribute("Seconds that one of its filters may take for one message, 0 for ever.")

    def configure(options: Mapping[str, Any]) -> IMessageFilterFactory:
        """As L{IPipeFilterFactory.configure}."""

    def build(context: MessageContext) -> IMessageFilter:
        """
        A new filter for one place of the configuration. At start-up, and when a configuration is only checked.

        @raise twisted_pipe.errors.BadConfiguration: an option, named alone, that makes no sense: a file that is not there.
        """


class IPipeProtocol(Interface):
    """
    What a listener speaks: made once for each service, and a Twisted C{IProtocolFactory} besides, whose C{buildProtocol} is
    called for each client. A client's protocol picks an upstream, connects to it and joins both with pipes
    (L{twisted_pipe.proxies.context} helps with that). In the reactor thread.
    """

    def statistics() -> Any:
        """What it has counted, an attrs instance."""

    def shutdown() -> None:
        """Close every client's connection at once: the service stops."""


class IPipeProtocolFactory(Interface):
    """The plugin: in a drop-in or an entry point C{twisted_pipe.protocols}."""

    name = Attribute("The name by which C{--protocol} finds it: lower case, digits and dashes.")
    summary = Attribute("One line for C{--help}.")

    def configure(options: Mapping[str, Any]) -> IPipeProtocolFactory:
        """As L{IPipeFilterFactory.configure}, for C{--protocol NAME:key=value:...}."""

    def build(context: Any) -> IPipeProtocol:
        """
        For one service.

        @param context: a L{twisted_pipe.proxies.context.ProxyContext}.
        """


class IUpstreamBalancer(Interface):
    """
    Chooses among the servers of one group. In the reactor thread; called for each connection, so it must not wait for anything.

    Servers are L{twisted_pipe.upstream.peer.Peer}s, which the group changes and the balancer only reads.
    """

    key = Attribute('A template of what it wants to know of a connection: C{"$remote_addr"}; C{""} for nothing.')

    def update(peers: Sequence[Any]) -> None:
        """
        Some have been taken out or have come back, or have another weight now.

        @param peers: those that may be chosen, of those that it was built with, in the same order; perhaps none.
        """

    def pick(key: bytes | None, tried: Collection[Any]) -> Any:
        """
        The server for one more connection, which is none of C{tried} and C{available}.

        @param key: what the connection is about, for balancers that send the same to the same server; None if the protocol
            knows nothing of the kind.
        @param tried: servers that the connection was refused by; mostly none.
        @return: a peer, or None if there is no such one.
        """

    def release(peer: Any) -> None:
        """
        A connection to C{peer}, which L{pick} has returned, is over, or could not be made; C{peer.active} has been lowered. It need
        not be one that may be chosen now.
        """

    def statistics() -> Any:
        """Its state, an attrs instance or a mapping."""


class IUpstreamBalancerFactory(Interface):
    """The plugin: in a drop-in or an entry point C{twisted_pipe.balancers}."""

    name = Attribute("The name by which C{--balancer} finds it: lower case, digits and dashes.")
    summary = Attribute("One line for C{--help}.")

    def configure(options: Mapping[str, Any]) -> IUpstreamBalancerFactory:
        """As L{IPipeFilterFactory.configure}, for C{--balancer NAME:key=value:...}."""

    def build(peers: Sequence[Any]) -> IUpstreamBalancer:
        """
        For one group, or for its backup servers. When the servers of the group are replaced, another one is built.

        @param peers: C{twisted_pipe.upstream.peer.Peer}s, all of them; perhaps none. L{IUpstreamBalancer.update} says which of them
            may be chosen.
        """


class IUpstreamResolver(Interface):
    """Finds the servers that a name stands for. In the reactor thread, in the background."""

    def takes(address: str) -> bool:
        """Whether C{address}, as the configuration has it, is one that it can look up."""

    def resolve(address: str) -> Deferred[Any]:
        """
        Look it up once.

        @return: fires with a L{twisted_pipe.upstream.resolution.Resolution}; fails with L{twisted_pipe.errors.NotResolved}. May be
            cancelled.
        """


class IUpstreamResolverFactory(Interface):
    """The plugin: in a drop-in or an entry point C{twisted_pipe.resolvers}."""

    name = Attribute("The name by which configuration finds it: lower case, digits and dashes.")
    summary = Attribute("One line for C{--help}.")
    bounds = Attribute("A C{twisted_pipe.upstream.resolution.Bounds}: how long answers hold, and how many are taken.")

    def configure(options: Mapping[str, Any]) -> IUpstreamResolverFactory:
        """As L{IPipeFilterFactory.configure}."""

    def build(reactor: Any) -> IUpstreamResolver:
        """
        One for all names that it is configured for.

        @param reactor: the reactor.
        """


class IHealthCheckStream(Interface):
    """A connection to a server that is checked, behind its TLS handshake and PROXY header, if it has them."""

    def send(data: bytes) -> None:
        """Send a few bytes."""

    def receive() -> Deferred[bytes]:
        """
        Some of what the server sends.

        @return: fires with bytes, C{b""} at the end; fails with L{twisted_pipe.errors.CheckFailed} if the connection breaks off.
        """

    def close() -> None:
        """Nothing more is wanted."""


class IHealthCheck(Interface):
    """Finds out whether the servers of one group are well. In the reactor thread, in the background; many servers at a time."""

    def check(server: Any) -> Deferred[None]:
        """
        Ask one server once.

        @param server: a L{twisted_pipe.upstream.server.UpstreamServer}.
        @return: fires if it is well; fails with L{twisted_pipe.errors.CheckFailed}, or anything else, if it is not; with
            L{twisted_pipe.errors.NotChecked} if nothing can be said of it. Cancelled when it takes too long: then nothing of it may
            go on.
        """


class IHealthCheckFactory(Interface):
    """The plugin: in a drop-in or an entry point C{twisted_pipe.checks}."""

    name = Attribute("The name by which configuration finds it: lower case, digits and dashes.")
    summary = Attribute("One line for C{--help}.")
    schedule = Attribute(
        "A C{twisted_pipe.upstream.health_check.CheckSchedule}: how often, and how many make a change."
    )

    def configure(options: Mapping[str, Any]) -> IHealthCheckFactory:
        """As L{IPipeFilterFactory.configure}."""

    def build(connect: Callable[[Any], Deferred[Any]]) -> IHealthCheck:
        """
        For one group.

        @param connect: connects to an C{UpstreamServer}. Fires with an L{IHealthCheckStream}, which has to be closed; fails with
            L{twisted_pipe.errors.CheckFailed}. May be cancelled.
        """


class IBufferedProtocol(Interface):
    """
    A Twisted protocol that has its bytes received into its own memory, on the C{epollet} reactor's transports. The names and
    the contract are asyncio's C{BufferedProtocol}'s; C{dataReceived} is not called. It is still an C{IProtocol} besides.
    """

    def get_buffer(sizehint: int) -> Any:
        """
        Where to receive, before each receive.

        @param sizehint: bytes that would be good to have, -1 for any number.
        @return: a writable buffer of 1 byte or more; only used until L{buffer_updated}.
        """

    def buffer_updated(nbytes: int) -> None:
        """C{nbytes}, at least 1, were received into the start of the buffer."""
