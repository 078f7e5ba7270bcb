"""
A group of servers that stand for one upstream.

A balancer chooses among the servers that are no backups, and another one of the same kind among the backups, when the first finds
nobody. What changes seldom (a server is out, has recovered, was removed) costs time in proportion to the number of servers; what
every connection asks for (L{UpstreamGroup.pick}, L{UpstreamGroup.release}) is as fast as the balancer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from twisted_pipe.errors import NoServer
from twisted_pipe.interfaces import IUpstreamBalancer, IUpstreamBalancerFactory
from twisted_pipe.upstream.balancer import BalancerPlugin
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.passive_health import PassiveHealth, is_alone
from twisted_pipe.upstream.peer import Peer, PeerState, PeerStatistics
from twisted_pipe.upstream.server import MAX_WEIGHT, UpstreamServer
from twisted_pipe.upstream.waiting_line import QueueSettings, WaitingLine

__all__ = ["MAX_WEIGHT", "ROUND_ROBIN", "UpstreamGroup", "UpstreamServer", "UpstreamStatistics"]

_log = Logger()

_QUEUE = QueueSettings()
_CONNECT = ConnectSettings()

ROUND_ROBIN = BalancerPlugin(
    "round-robin", "One server after the other, by weight.", "twisted_pipe.upstream.round_robin:RoundRobin"
)


@attrs.frozen(kw_only=True)
class UpstreamStatistics:
    """
    @ivar name: of the group.
    @ivar balancer: its name.
    @ivar live: how many servers are up.
    @ivar waiting: who waits for one of them.
    @ivar peers: the servers.
    @ivar choices: what the balancer tells of itself.
    @ivar backup_choices: the same of the one that chooses among the backups; None if there are none.
    """

    name: str
    balancer: str
    live: int
    waiting: int
    peers: Sequence[PeerStatistics]
    choices: Any
    backup_choices: Any = None


class UpstreamGroup:
    """
    Servers, among which a balancer chooses.

    @ivar name: of the group in the configuration; else that of its first server. For logs.
    @ivar peers: its servers, in the order of the configuration.
    @ivar balancer: how they are chosen, for logs: the balancer's name.
    @ivar connect: how connections to them are made.
    @ivar key: a template of what the balancer wants to know of a connection, such as C{"$remote_addr"}; C{""} for nothing.
    """

    def __init__(
        self,
        servers: Iterable[UpstreamServer],
        balancer: IUpstreamBalancerFactory = ROUND_ROBIN,
        *,
        name: str = "",
        clock: Any = None,
        queue: QueueSettings = _QUEUE,
        connect: ConnectSettings = _CONNECT,
    ) -> None:
        """
        @param servers: may be none, until L{replace} says of some.
        @param clock: an C{IReactorTime}; the reactor if it is None.
        @param queue: who may wait when all servers are full.
        """
        if clock is None:
            from twisted.internet import reactor as clock
        self.peers: Sequence[Peer] = tuple(map(Peer, servers))
        self.name = name or (self.peers[0].name if self.peers else "no servers")
        self.balancer: str = balancer.name
        self.connect = connect
        self._factory = balancer
        self._health = PassiveHealth(clock, self._changed)
        self._line = WaitingLine(clock, queue)
        self._on_added: list[Callable[[Peer], object]] = []
        self._on_removed: list[Callable[[Peer], object]] = []
        self._serving = False
        self._expecting = False
        self._absent = ""  # why there are no servers at all
        self._dead = False  # whether it was said that no server is up
        self._build()
        self.key: str = self._first.key
        if self.peers:
            self._tell_life()

    def __repr__(self) -> str:
        names = ", ".join(peer.name for peer in self.peers) or "empty"
        live = self.live
        return f"<UpstreamGroup {names}{'' if live == len(self.peers) else f' ({live} up)'}>"

    @property
    def servers(self) -> Sequence[UpstreamServer]:
        """What is configured, in that order."""
        return tuple(peer.server for peer in self.peers)

    @property
    def live(self) -> int:
        """How many servers are up."""
        return sum(peer.state is PeerState.UP for peer in self.peers)

    # each connection

    def pick(self, key: bytes | None = None, tried: Collection[Peer] = ()) -> Peer | None:
        """
        The server for the next connection or request. Whoever gets one calls L{release} once that is over.

        @param key: what it is about, for balancers that care: L{key}, filled in.
        @param tried: servers that are not wanted.
        @return: None if nobody can be asked now; L{wait} tells whether there is any hope.
        """
        peer: Peer | None = self._pick(key, tried)
        if peer is None:
            if self._spare is None:
                return None
            peer = self._spare.pick(key, tried)
            if peer is None:
                return None
        peer.picked += 1
        peer.active = active = peer.active + 1
        if active >= peer.limit:
            if peer.state is PeerState.TRIAL:
                peer.become(PeerState.TRIED)
            else:
                peer.settle()
        return peer

    def wait(self, key: bytes | None = None, tried: Collection[Peer] = ()) -> Deferred[Peer]:
        """
        A server as soon as one can be asked, in the order of asking: at once if L{pick} gives one.

        @return: fires with a server, for which L{release} has to be called; fails with L{NoServer}, at once if no server is up or
            on trial, or the queue is full. May be cancelled until it fires.
        """
        peer = self.pick(key, tried)
        if peer is not None:
            return succeed(peer)  # perhaps one on trial, of whom there is no other hope
        if not self._hope(tried):
            return fail(NoServer(self._hopeless(tried)))
        return self._line.join(key, tried)

    def release(self, peer: Peer) -> None:
        """What L{pick} was asked for is over, however it went."""
        peer.active -= 1
        (self._release_spare if peer.server.backup else self._release)(peer)
        if not peer.available:
            self._freed(peer)

    def failed(self, peer: Peer, why: str = "") -> None:
        """
        An attempt at C{peer} failed, by what counts as a failure: it cannot be reached, breaks off, is silent.

        @param why: for the log.
        """
        peer.failed += 1
        if self._alone:
            return
        self._health.failed(peer)
        if peer.state is PeerState.RESTING and not peer.suspect:
            server = peer.server
            peer.suspect = True
            _log.warn(
                "upstream {group}: {server} is not asked for {timeout:g} s, after {fails} failed within as much{why}",
                group=self.name,
                server=peer.name,
                timeout=server.fail_timeout,
                fails="an attempt" if server.max_fails == 1 else f"{server.max_fails} attempts",
                why=why and f": {why}",
            )
        self._tell_life()

    def succeeded(self, peer: Peer) -> None:
        """An attempt at C{peer} went well."""
        if peer.suspect and peer.usable:
            self._health.recover(peer)
            _log.info("upstream {group}: {server} is asked again", group=self.name, server=peer.name)
            self._tell_life()

    # what happens seldom

    def mark(self, peer: Peer, healthy: bool, why: str = "") -> None:
        """
        A health check says how C{peer} is now. What it has goes on.

        @param why: for the log.
        """
        if peer.state in (PeerState.DOWN, PeerState.REMOVED):
            return
        if healthy and peer.state is PeerState.UNHEALTHY:
            self._health.recover(peer)
        elif not healthy and peer.state is not PeerState.UNHEALTHY:
            peer.suspect = True
            self._health.leave(peer, PeerState.UNHEALTHY)
        else:
            return
        said = "is healthy" if healthy else "is unhealthy, and not asked"
        if why:
            said += f": {why}"
        say = _log.info if healthy else _log.warn
        say("upstream {group}: {server} {said}", group=self.name, server=peer.name, said=said)
        self._tell_life()

    def replace(self, servers: Iterable[UpstreamServer]) -> None:
        """
        From now on these are the servers. One that was there before, which has the same name and address, stays as it is, with
        its new parameters; those that are not there any more finish what they have.
        """
        known = defaultdict(list)
        kept = self.peers
        for peer in kept:
            known[peer.name, peer.server.address].append(peer)
        peers = []
        for server in servers:
            same = known[server.name, server.address]
            peers.append(_configured(same.pop(0), server) if same else Peer(server))
        self.peers = tuple(peers)
        removed = [peer for each in known.values() for peer in each]
        for peer in removed:
            peer.stop_timer()
            peer.become(PeerState.REMOVED)
        self._build()
        self._announce(removed, [peer for peer in self.peers if peer not in kept])
        if not self.live:
            self._health.spare(self.peers, None)
        self._tell_life()
        self._serve_or_refuse()

    def _announce(self, removed: Iterable[Peer], added: Iterable[Peer]) -> None:
        """Tell of these. Nobody is served meanwhile: he would get one of which it was not told yet."""
        serving, self._serving = self._serving, True
        try:
            for peer in removed:
                for tell in self._on_removed:
                    tell(peer)
            for peer in added:
                for tell in self._on_added:
                    tell(peer)
        finally:
            self._serving = serving

    def expect(self, expecting: bool, absent: str = "") -> None:
        """
        Whether servers may be about to come, because names are looked up for the first time. As long as they may, L{wait} waits.

        @param absent: why there are none, for who waits then.
        """
        self._expecting = expecting
        self._absent = absent
        self._serve_or_refuse()

    def on_added(self, callback: Callable[[Peer], object]) -> None:
        """Have C{callback} called with each server that L{replace} adds, before it is chosen for the first time."""
        self._on_added.append(callback)

    def on_removed(self, callback: Callable[[Peer], object]) -> None:
        """Have C{callback} called with each server that L{replace} removes."""
        self._on_removed.append(callback)

    def start(self) -> None:
        """The service starts, perhaps after L{stop}. Servers that rested then are tried."""
        self._health.start(self.peers)

    def stop(self) -> None:
        """The service stops: nobody waits any more, and nothing is done later."""
        self._health.stop(self.peers)
        self._line.refuse("the service stops", lambda waiter: True)

    def statistics(self) -> UpstreamStatistics:
        """Its state now."""
        return UpstreamStatistics(
            name=self.name,
            balancer=self.balancer,
            live=self.live,
            waiting=len(self._line),
            peers=tuple(peer.statistics() for peer in self.peers),
            choices=self._first.statistics(),
            backup_choices=self._spare.statistics() if self._spare is not None else None,
        )

    # the balancers

    def _build(self) -> None:
        """Make balancers of the peers."""
        backups = [peer for peer in self.peers if peer.server.backup]
        self._first: IUpstreamBalancer = self._factory.build([peer for peer in self.peers if not peer.server.backup])
        self._spare: IUpstreamBalancer | None = self._factory.build(backups) if backups else None
        self._alone = is_alone(self.peers)
        self._pick, self._release = self._first.pick, self._first.release
        self._release_spare = self._release if self._spare is None else self._spare.release
        self._update(backup=False)
        self._update(backup=True)

    def _update(self, backup: bool) -> None:
        balancer = self._spare if backup else self._first
        if balancer is not None:
            balancer.update([peer for peer in self.peers if peer.usable and peer.server.backup == backup])

    def _changed(self, peer: Peer, was: PeerState) -> None:
        """C{peer} was something else, or has another weight."""
        if peer.state is not PeerState.REMOVED:
            self._update(peer.server.backup)
        if was is PeerState.UP is not peer.state and not self.live:
            self._health.spare(self.peers, peer)
        self._serve_or_refuse()

    def _freed(self, peer: Peer) -> None:
        """C{peer} was full, or is not to be asked."""
        if peer.state is PeerState.TRIED:
            self._health.trial_perhaps_over(peer)  # nobody has said how it went
        else:
            peer.settle()
        if peer.available and len(self._line):
            self._serve()

    def _serve(self) -> None:
        """Servers may have become available. Who is served may be done at once, and release: so this is a loop."""
        line = self._line
        if self._serving:
            return
        self._serving = True
        try:
            while len(line) and any(peer.available for peer in self.peers) and line.serve_one(self.pick):
                pass
        finally:
            self._serving = False

    def _serve_or_refuse(self) -> None:
        """Servers may have become available, or hopeless."""
        self._serve()
        if len(self._line):
            self._line.refuse(self._hopeless(()), lambda waiter: not self._hope(waiter.tried))

    # whether any server is up

    def _hope(self, tried: Collection[Peer]) -> bool:
        return self._expecting or any(peer.state is PeerState.UP and peer not in tried for peer in self.peers)

    def _hopeless(self, tried: Collection[Peer]) -> str:
        """Why there is no hope."""
        if not self.peers and self._absent:
            return self._absent
        return "every server that is up was asked" if self.live else "no server is up"

    def _tell_life(self) -> None:
        """Say once that no server is up, and once that one is."""
        dead = not self.live
        if dead is self._dead:
            return
        self._dead = dead
        if dead:
            _log.error("upstream {group}: no server is up", group=self.name)
        else:
            _log.info("upstream {group}: a server is up again", group=self.name)


def _configured(peer: Peer, server: UpstreamServer) -> Peer:
    """C{peer} with other parameters."""
    if server != peer.server:
        peer.configure(server)
        if server.down is not (peer.state is PeerState.DOWN):
            peer.stop_timer()
            peer.failures.clear()
            peer.become(PeerState.DOWN if server.down else PeerState.UP)
        peer.settle()
    return peer
