"""The servers that were asked in vain."""

from __future__ import annotations

from twisted_pipe.upstream.peer import Peer, PeerState

__all__ = ["Tried"]


class Tried(list[Peer]):
    """
    Those that one request or connection has asked, in their order; a balancer chooses none that is C{in} it.

    One whose address leaves the DNS and comes back is another L{Peer}, but the same server, and so it is in it. Else addresses that
    take turns would be asked again and again, and a request that none of them answers would have no end.
    """

    __slots__ = ()

    def __contains__(self, peer: object) -> bool:
        return any(each is peer or _is_back(each, peer) for each in self)


def _is_back(removed: Peer, peer: object) -> bool:
    return (
        removed.state is PeerState.REMOVED
        and isinstance(peer, Peer)
        and (removed.name, removed.server.address) == (peer.name, peer.server.address)
    )
