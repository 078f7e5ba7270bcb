"""
The servers that one exchange asks, when the first one is not enough: which one is next, or that there is none.

Each server is asked once. What an attempt came to is told to the group, for the server's health. When no server can be asked now,
but some are only busy, the exchange waits in the group's queue. When none is up the client is answered at once: the group has
logged that, and the exchange does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_pipe.errors import NoServer
from twisted_pipe.proxies.next_upstream import Setback
from twisted_pipe.upstream.peer import Peer
from twisted_pipe.upstream.tried import Tried

if TYPE_CHECKING:
    from twisted_pipe.proxies.http_upstream import HttpUpstream
    from twisted_pipe.proxies.upstream_side import UpstreamSide

__all__ = ["Attempts"]


class Attempts:
    """
    Of one exchange; made when its first attempt fails, or no server can be asked at once.

    @ivar tried: the servers that were asked in vain.
    """

    __slots__ = ("_again", "_exchange", "_finding", "_setback", "_since", "_upstream", "_waiting", "_why", "tried")

    def __init__(self, exchange: UpstreamSide, upstream: HttpUpstream, now: float) -> None:
        self._exchange = exchange
        self._upstream = upstream
        self._since = exchange.began or now
        self._setback = Setback.ERROR  # the last
        self._why = ""
        self._waiting: Deferred[Peer] | None = None
        self._finding = self._again = False
        self.tried = Tried()

    def __repr__(self) -> str:
        return f"<Attempts {len(self.tried)} failed{', waiting' if self._waiting is not None else ''}>"

    def failed(self, peer: Peer, setback: Setback, why: str, sent: bool, own_fault: bool = False) -> None:
        """
        The attempt at C{peer}, which is not released yet, came to nothing: ask another server, or answer that there is none.

        @param sent: whether it may have seen something of the request.
        @param own_fault: whether it is not to be blamed: it was not asked, for want of a descriptor or of memory.
        """
        exchange = self._exchange
        exchange.complain(f"upstream: {why}")
        if not own_fault:
            self._upstream.group.failed(peer, why)
        self._upstream.release(peer)
        exchange.received = exchange.client.proxy.clock.seconds()
        self.tried.append(peer)
        self._setback, self._why = setback, f"upstream: {why}"
        if self._may_go_on(setback, sent):
            self.find()
        else:
            self._give_up()

    def instead(self, peer: Peer, setback: Setback) -> Peer | None:
        """
        C{peer} has answered, by a status that is a C{setback}.

        @return: another server, which can be asked at once; then C{peer} is not released yet. None if the response is to be
            passed on.
        """
        group = self._upstream.group
        if setback.is_failure:
            group.failed(peer, f"it answered {setback.response_status}")
        elif peer.suspect:
            group.succeeded(peer)
        self.tried.append(peer)
        return group.pick(self._key, self.tried) if self._may_go_on(setback, sent=True) else None

    def _may_go_on(self, setback: Setback, sent: bool) -> bool:
        exchange = self._exchange
        rules = exchange.settings.next_upstream
        now = exchange.client.proxy.clock.seconds()
        return (
            rules.allows(setback, exchange.method, sent)
            and (not rules.tries or len(self.tried) < rules.tries)
            and (not rules.timeout or now - self._since < rules.timeout)
            and exchange.repeatable
        )

    @property
    def _key(self) -> bytes | None:
        key_of = self._upstream.key_of
        return None if key_of is None else key_of(self._exchange)

    # the next one

    def find(self) -> None:
        """Ask a server that has not been asked, as soon as one can be."""
        self._again = True
        if self._finding:
            return  # the last one has failed while it was being asked, and there may be many such
        self._finding = True
        try:
            while self._again:
                self._again = False
                self._find()
        finally:
            self._finding = False

    def _find(self) -> None:
        group, key = self._upstream.group, self._key
        peer = group.pick(key, self.tried)
        if peer is not None:
            self._found(peer)
            return
        waiting = self._waiting = group.wait(key, self.tried)
        waiting.addCallbacks(self._found, self._none)
        waiting.addErrback(self._mistaken)

    def _found(self, peer: Peer) -> None:
        self._waiting = None
        exchange = self._exchange
        if exchange.server:
            exchange.note_attempt()
        exchange.ask(peer, exchange.client.proxy.clock.seconds())

    def _none(self, failure: Failure) -> None:
        if self._waiting is None:
            return  # the client is gone
        self._waiting = None
        failure.trap(NoServer)
        if self.tried:
            self._give_up()
        else:
            # RFC 9110, section 15.6: nobody is there, or everybody is busy
            status = 503 if self._upstream.group.live else 502
            self._exchange.refuse(status, f"upstream: {failure.getErrorMessage()}", told=True)

    def _give_up(self) -> None:
        self._exchange.refuse(self._setback.status, self._why, told=True)

    def _mistaken(self, failure: Failure) -> None:
        """What a Deferred calls is nobody else's to look after."""
        self._exchange.mistaken("the request could not be sent", failure)

    def stop(self) -> None:
        """Nobody waits for an answer any more."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
