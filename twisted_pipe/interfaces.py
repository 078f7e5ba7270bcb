"""
The contracts that third parties write against.

A filter sees one direction of one connection. It is I{pulled}: each call returns an iterable, and the pipe advances that
iterable only while there is room for what it yields. So laziness is the back-pressure, nothing re-enters the filter, and
there is no queue between a filter and its neighbours.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Union

import attrs
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = [
    "BytesLike",
    "Direction",
    "FilterContext",
    "FilterOutput",
    "IBufferedProtocol",
    "IPipeFilter",
    "IPipeFilterFactory",
]

BytesLike = Union[bytes, bytearray, memoryview]
#: What a filter's calls return. A Deferred or other awaitable among the items suspends the pipe until it fires.
FilterOutput = Iterable[Union[BytesLike, "Deferred[Any]", Awaitable[Any]]]


class Direction(enum.Enum):
    """Which way the bytes of a filter flow, seen from the proxy."""

    RESPONSE = "response"  #: from the upstream to the client
    REQUEST = "request"  #: from the client to the upstream

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class FilterContext:
    """
    What a filter may know of where it stands.

    @ivar direction: which way its bytes flow.
    @ivar client: the address of the client (an C{IAddress}), or None where there is none (tests).
    @ivar upstream: the address of the upstream server, or None.
    @ivar clock: an C{IReactorTime} for filters that need time; the reactor in production, a C{Clock} in tests.
    """

    direction: Direction = Direction.RESPONSE
    client: Any = None
    upstream: Any = None
    clock: Any = None


class IPipeFilter(Interface):
    """
    One direction of one connection.

    Calls come in this order: C{started}, any number of C{received}, C{ended} if the stream ended cleanly, and C{stopped}
    exactly once, whatever happened. All in the reactor thread, never one inside another. A call is made only when the
    iterable of the call before is exhausted.

    The first three return an iterable of output: bytes-like objects of any length (empty ones are dropped), or Deferreds and
    other awaitables, which suspend the pipe. In a generator the awaited result is the value of the C{yield} expression and
    a failure is raised there; in any other iterable a bytes-like result takes the place of the Deferred.

    What a call raises ends the pipe as C{FilterFailed}, never as a clean end of stream.
    """

    def started() -> FilterOutput:
        """Before the first byte. Returns output to send first; usually C{()}."""

    def received(data: memoryview) -> FilterOutput:
        """
        Some bytes of the stream, cut anywhere.

        @param data: read-only, 1 byte or more, lent until the returned iterable is exhausted. Slices of it may be yielded as
            they are (nothing is copied); to keep bytes for later, copy them with C{bytes(data)}.
        """

    def ended() -> FilterOutput:
        """The clean end of the stream: the last output. Not called when the stream broke off."""

    def stopped(reason: BaseException | None) -> None:
        """
        The end of this filter's life: release what it holds. Must not raise.

        @param reason: None after a clean end, else why the stream broke off.
        """


class IPipeFilterFactory(Interface):
    """
    The plugin: an object in a C{twisted.plugins} drop-in, immutable and shared by all connections.

    The interface C{twisted.plugin.IPlugin} is provided beside this one (L{twisted_pipe.filters.base.FilterPlugin} does both).
    """

    name = Attribute("The name by which configuration finds it: lower case, digits and dashes.")
    summary = Attribute("One line for C{--help}.")

    def configure(options: Mapping[str, str]) -> IPipeFilterFactory:
        """
        Take the options of C{--filter NAME:key=value:...}, values still as text.

        @return: a factory with these options, frozen.
        @raise twisted_pipe.errors.BadConfiguration: which option, which value, and what would be right.
        """

    def build(context: FilterContext) -> IPipeFilter:
        """A new filter for one direction of one connection."""


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
