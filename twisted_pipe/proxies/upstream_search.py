"""
From a group to a connection: choosing a server, waiting for one if all are full, connecting, and asking the next one if that fails.

For protocols in which nothing was said before the connection stands, so that any other server is as good (nginx stream
C{proxy_next_upstream}).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from twisted_pipe.proxies.connecting import Connecting, Wire
from twisted_pipe.proxies.watch import NEVER
from twisted_pipe.units import format_duration
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import Peer
from twisted_pipe.upstream.tried import Tried

__all__ = ["ANY_SERVER", "NextServer", "UpstreamSearch"]


@attrs.frozen(kw_only=True)
class NextServer:
    """
    Whether another server is asked when one cannot be reached.

    @ivar tries: how many servers are asked at most; 1 for no other; 0, the default, for each once (nginx stream
        C{proxy_next_upstream_tries}).
    @ivar timeout: seconds from the first attempt after which no other one begins; 0, the default, for no limit (nginx stream
        C{proxy_next_upstream_timeout}).
    """

    tries: int = 0
    timeout: float = 0.0


#: Each server once.
ANY_SERVER = NextServer()


class UpstreamSearch:
    """
    One search. Exactly one of its callbacks is called, once: from C{begin} or later; none after C{cancel}. Its owner asks it when
    it is due.

    @ivar peer: the server that is being asked, None between two.
    @ivar told: whether the group has logged why there is no connection: no server is up.
    """

    __slots__ = (
        "_began",
        "_beginning",
        "_clock",
        "_connecting",
        "_failed",
        "_found",
        "_group",
        "_key",
        "_next",
        "_preface",
        "_refusal",
        "_started",
        "_timeout",
        "_tried",
        "_waiting",
        "peer",
        "told",
    )

    def __init__(
        self,
        clock: Any,
        group: UpstreamGroup,
        found: Callable[[Wire, Peer], object],
        failed: Callable[[str], object],
        *,
        key: bytes | None = None,
        timeout: float = 60.0,
        next_server: NextServer = ANY_SERVER,
        preface: bytes = b"",
    ) -> None:
        """
        @param clock: the reactor.
        @param found: called with the connection, and its server, for which C{group.release} has to be called in the end.
        @param failed: called with why there is none, in words.
        @param key: what the group's balancer wants to know.
        @param timeout: seconds for each attempt; 0 for the system's own.
        @param preface: sent first.
        """
        self._clock = clock
        self._group = group
        self._found = found
        self._failed = failed
        self._key = key
        self._timeout = timeout
        self._next = next_server
        self._preface = preface
        self._tried = Tried()
        self._connecting: Connecting | None = None
        self._waiting: Deferred[Peer] | None = None
        self._began = self._started = 0.0
        self._beginning = False
        self._refusal = ""
        self.peer: Peer | None = None
        self.told = False

    def __repr__(self) -> str:
        what = f"connecting to {self.peer.name}" if self.peer is not None else "waiting"
        return f"<UpstreamSearch {self._group.name} {what}>"

    def begin(self) -> None:
        """Ask the first server."""
        self._began = self._clock.seconds()
        self._ask("")

    def cancel(self) -> None:
        """Nobody wants it any more. A second call, or one when it is over, does nothing."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            self._group.release(self._leave())

    # timeouts: the owner's watch asks

    def due(self) -> float:
        """When the attempt has lasted long enough. Waiting for a full server has a timeout of its own."""
        return self._started + self._timeout if self._timeout and self._connecting is not None else NEVER

    def expire(self) -> None:
        """The attempt has."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._refused(f"no connection within {format_duration(self._timeout)}")

    # one server after another

    def _ask(self, why: str) -> None:
        """
        Ask one server after another until an attempt is under way. Those that fail at once are many, perhaps: so this is a loop.

        @param why: the last one could not be reached; empty for the first.
        """
        group = self._group
        while not why or self._may_go_on():
            peer = group.pick(self._key, self._tried or ())
            if peer is None:
                waiting = self._waiting = group.wait(self._key, self._tried)
                waiting.addCallbacks(self._served, self._nobody, errbackArgs=(why,))
                return
            self._connect(peer)
            if not self._refusal:
                return
            why = self._refusal
        self._failed(why)

    def _connect(self, peer: Peer) -> None:
        """Begin an attempt. C{_refusal} says why it has failed, if that happened at once."""
        self.peer = peer
        self._started = self._clock.seconds()
        connecting = self._connecting = Connecting(
            self._clock, peer.server, self._group.connect, self._opened, self._refused, self._preface
        )
        self._refusal, self._beginning = "", True
        connecting.begin()
        self._beginning = False

    def _served(self, peer: Peer) -> None:
        """It was waited for."""
        self._waiting = None
        self._connect(peer)
        if self._refusal:
            self._ask(self._refusal)

    def _opened(self, wire: Wire) -> None:
        peer = self._leave()
        self._group.succeeded(peer)
        self._found(wire, peer)

    def _refused(self, why: str) -> None:
        assert self._connecting is not None
        blamed = not self._connecting.own_fault
        peer = self._leave()
        if blamed:
            self._group.failed(peer, why)
        self._group.release(peer)  # then only: who waits for a place does not get one there
        self._tried.append(peer)
        self._refusal = f"upstream {peer.name} cannot be reached: {why}"
        if not self._beginning:
            self._ask(self._refusal)

    def _may_go_on(self) -> bool:
        tries, timeout = self._next.tries, self._next.timeout
        if tries and len(self._tried) >= tries:
            return False
        return not timeout or self._clock.seconds() - self._began < timeout

    def _nobody(self, failure: Failure, why: str) -> None:
        self._waiting = None
        if not failure.check(CancelledError):
            self.told = not why and not self._group.live
            self._failed(why or f"upstream {self._group.name}: {failure.getErrorMessage()}")

    def _leave(self) -> Peer:
        """The server that was being asked, which is not any more; it has yet to be released, or to be passed on."""
        peer, self.peer, self._connecting = self.peer, None, None
        assert peer is not None
        return peer
