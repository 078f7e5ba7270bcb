"""
What a group learns of its servers from the requests that they get (nginx C{max_fails}, C{fail_timeout}).

A server that fails C{max_fails} times within C{fail_timeout} rests for as long. Then one request, and no second one beside it, may
show how it is. In a group of one server, not counting those that are down, all this does not happen: there is nobody else to ask.

Unlike nginx's, a rest is cut short if no other server is up: where servers are restarted one after the other, all of them would
rest at some time though most of them are well. That is done once for each; a server that fails again before it has done anything
well rests its time, and when all do, there is nobody to ask.

A trial is one request of several, perhaps, and which of them is not known. So it is over, without having shown anything, when the
last of them is; if a server always has others, C{fail_timeout} after the end of any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted_pipe.upstream.peer import FULL_SHARE, Peer, PeerState

__all__ = ["PassiveHealth", "is_alone"]

_SUSPECT = (PeerState.RESTING, PeerState.TRIAL)


def is_alone(peers: Sequence[Peer]) -> bool:
    """Whether the configuration allows one of C{peers} only to be asked."""
    return sum(not peer.server.down for peer in peers) == 1


class PassiveHealth:
    """
    The rests and slow starts of a group's servers.

    @ivar clock: an C{IReactorTime}.
    @ivar changed: called when a server is something else now, or has another weight, with the server and what it was.
    """

    def __init__(self, clock: Any, changed: Callable[[Peer, PeerState], object]) -> None:
        self.clock = clock
        self.changed = changed
        self._stopped = False

    def stop(self, peers: Sequence[Peer]) -> None:
        """The service stops: nothing is done later to any of C{peers}."""
        self._stopped = True
        for peer in peers:
            peer.stop_timer()

    def start(self, peers: Sequence[Peer]) -> None:
        """The service starts again: those that rested have done so, and those that start slowly have started."""
        if not self._stopped:
            return
        self._stopped = False
        for peer in peers:
            peer.share = FULL_SHARE
            if peer.state in (PeerState.RESTING, PeerState.TRIED):
                self._begin_trial(peer)
            else:
                self.changed(peer, peer.state)

    def failed(self, peer: Peer) -> None:
        """An attempt at C{peer} failed."""
        server = peer.server
        if peer.state in (PeerState.TRIAL, PeerState.TRIED):
            self._rest(peer)
        elif peer.state is PeerState.UP and server.max_fails:
            now, failures = self.clock.seconds(), peer.failures
            failures.append(now)
            if len(failures) == server.max_fails and now - failures[0] <= server.fail_timeout:
                self._rest(peer)

    def recover(self, peer: Peer) -> None:
        """It is well, and was not, or was not known to be."""
        was = peer.state
        peer.suspect = peer.spared = False
        peer.failures.clear()
        if was is not PeerState.UP:
            peer.stop_timer()
            self._start_slowly(peer)
            peer.become(PeerState.UP)
        self.changed(peer, was)

    def leave(self, peer: Peer, state: PeerState) -> None:
        """Something else than its requests says that it is not to be asked."""
        was = peer.state
        peer.stop_timer()
        peer.share = FULL_SHARE
        peer.failures.clear()
        peer.spared = False
        peer.become(state)
        self.changed(peer, was)

    def spare(self, peers: Sequence[Peer], last: Peer | None) -> None:
        """
        No server is up any more: those that rest and have not been spared yet are up again, perhaps. An only one always is.

        @param last: was up until now, and rests; None if that is not of the group any more.
        """
        alone = is_alone(peers)
        for peer in [each for each in peers if each is not last and (alone or not each.spared)]:
            was = peer.state
            if was in _SUSPECT or (alone and was is PeerState.TRIED):
                peer.stop_timer()
                peer.spared = True
                peer.become(PeerState.UP)
                self.changed(peer, was)

    def _rest(self, peer: Peer) -> None:
        was = peer.state
        peer.stop_timer()
        peer.share = FULL_SHARE
        peer.failures.clear()
        self._later(peer, peer.server.fail_timeout, self._begin_trial)
        peer.become(PeerState.RESTING)
        self.changed(peer, was)

    def _begin_trial(self, peer: Peer) -> None:
        was = peer.state
        peer.timer = None
        peer.become(PeerState.TRIAL)
        self.changed(peer, was)

    def trial_perhaps_over(self, peer: Peer) -> None:
        """C{peer} is being tried, and one of its requests is over."""
        if not peer.active:
            peer.stop_timer()
            peer.become(PeerState.TRIAL)
        elif peer.timer is None:
            self._later(peer, peer.server.fail_timeout, self._begin_trial)

    def _later(self, peer: Peer, seconds: float, call: Callable[[Peer], None]) -> None:
        if not self._stopped:
            peer.timer = self.clock.callLater(seconds, call, peer)

    # slow start (nginx C{slow_start}): a tenth of the weight more at each tenth of the time

    def _start_slowly(self, peer: Peer) -> None:
        if peer.server.slow_start:
            peer.share = 1
            self._next_share(peer)

    def _next_share(self, peer: Peer) -> None:
        self._later(peer, peer.server.slow_start / FULL_SHARE, self._grow)

    def _grow(self, peer: Peer) -> None:
        peer.timer = None
        peer.share += 1
        if peer.share < FULL_SHARE:
            self._next_share(peer)
        self.changed(peer, peer.state)
