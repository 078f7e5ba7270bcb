"""Groups beside a naive one, which looks at everything every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_pipe.errors import NoServer
from twisted_pipe.interfaces import IUpstreamBalancerFactory
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import Peer, PeerState
from twisted_pipe.upstream.random_of_two import RandomOfTwo
from twisted_pipe.upstream.server import UpstreamServer
from twisted_pipe.upstream.waiting_line import QueueSettings


@implementer(IUpstreamBalancerFactory)
class Repeatable:
    """The balancer "random" which draws the same each time, as an example has to go the same way each time it is tried."""

    name = "random"
    summary = key = ""

    def configure(self, options: Mapping[str, Any]) -> Repeatable:
        return self

    def build(self, peers: Sequence[Peer]) -> RandomOfTwo:
        return RandomOfTwo(peers, generator=Random(20261122))


SAID = ("round-robin", "least-connections", "ip-hash", "hash:key=$h", "hash:key=$h:consistent=on")
FACTORIES = [*map(BALANCERS.parse, SAID), Repeatable()]
KEYS = st.sampled_from([None, b"", b"10.0.0.1", b"10.9.9.9", b"2001:db8::1"])
REST, TIMEOUT, QUEUE = 10, 7, 3
MEMBER = st.builds(
    UpstreamServer,
    st.sampled_from("abcdef"),
    st.none(),
    weight=st.integers(1, 4),
    max_conns=st.integers(0, 3),
    max_fails=st.integers(0, 2),
    fail_timeout=st.just(REST),
    slow_start=st.sampled_from([0, 5]),
    backup=st.booleans(),
    down=st.sampled_from([False, False, False, True]),
)
MEMBERS = st.lists(MEMBER, max_size=5, unique_by=lambda server: server.name)


class Machine(RuleBasedStateMachine):
    """
    @ivar held: the connections that are not over.
    @ivar waiting: who waits, in order, and what each does not want.
    """

    @initialize(members=MEMBERS, balancer=st.sampled_from(FACTORIES))
    def begin(self, members: list[UpstreamServer], balancer: IUpstreamBalancerFactory) -> None:
        self.clock = Clock()
        self.group = UpstreamGroup(
            members, balancer, clock=self.clock, queue=QueueSettings(size=QUEUE, timeout=TIMEOUT)
        )
        self.held: list[Peer] = []
        self.waiting: list[tuple[Deferred[Peer], tuple[Peer, ...], list[object]]] = []

    # the naive one

    def may_be_chosen(self, peer: Peer) -> bool:
        server = peer.server
        room = not server.max_conns or self.held.count(peer) < server.max_conns
        return room and peer.state in (PeerState.UP, PeerState.TRIAL)

    def choices(self, tried: tuple[Peer, ...]) -> list[Peer]:
        """Who may be chosen: of the backups, if there is no other."""
        allowed = [peer for peer in self.group.peers if self.may_be_chosen(peer) and peer not in tried]
        return [peer for peer in allowed if not peer.server.backup] or allowed

    def some_peer(self, number: int) -> Peer | None:
        peers = self.group.peers
        return peers[number % len(peers)] if peers else None

    def collect(self) -> None:
        """Those who waited and have got something."""
        for entry in list(self.waiting):
            for result in entry[2]:
                self.waiting.remove(entry)
                if isinstance(result, Peer):
                    assert result not in entry[1]
                    self.held.append(result)

    # what happens

    @rule(key=KEYS, mask=st.integers(0, 31), tries=st.booleans())
    def pick(self, key: bytes | None, mask: int, tries: bool) -> None:
        tried = tuple(peer for place, peer in enumerate(self.group.peers) if tries and mask >> place & 1)
        choices = self.choices(tried)
        found = self.group.pick(key, tried)
        assert (found in choices) if choices else (found is None), (found, choices)
        if found is not None:
            self.held.append(found)

    @rule(key=KEYS, number=st.integers(0, 9))
    def wait(self, key: bytes | None, number: int) -> None:
        other = self.some_peer(number)
        tried = (other,) if other is not None and number > 4 else ()
        choices = self.choices(tried)
        hope = any(peer.state is PeerState.UP and peer not in tried for peer in self.group.peers)
        results: list[object] = []
        waiting = self.group.wait(key, tried).addBoth(results.append)
        if choices:
            assert results[0] in choices
            self.held.append(results[0])  # type: ignore[arg-type]
        elif not hope or len(self.waiting) >= QUEUE:
            assert isinstance(results[0].value, NoServer)  # type: ignore[attr-defined]
        else:
            assert not results
            self.waiting.append((waiting, tried, results))  # type: ignore[arg-type]

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 99), verdict=st.sampled_from(["", "failed", "succeeded"]))
    def end(self, number: int, verdict: str) -> None:
        peer = self.held.pop(number % len(self.held))
        if verdict:
            getattr(self.group, verdict)(peer)
        self.group.release(peer)
        self.collect()

    @precondition(lambda self: self.waiting)
    @rule(number=st.integers(0, 9))
    def give_up(self, number: int) -> None:
        self.waiting.pop(number % len(self.waiting))[0].cancel()

    @rule(number=st.integers(0, 9), healthy=st.booleans())
    def check(self, number: int, healthy: bool) -> None:
        peer = self.some_peer(number)
        if peer is not None:
            self.group.mark(peer, healthy)
            self.collect()

    @rule(seconds=st.sampled_from([0.5, 3, REST]))
    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.collect()

    @rule(members=MEMBERS)
    def replace(self, members: list[UpstreamServer]) -> None:
        self.group.replace(members)
        self.collect()

    # what holds at all times

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "group"):
            return
        for peer in self.group.peers:
            assert peer.active == self.held.count(peer)
            assert peer.available == self.may_be_chosen(peer), peer
            assert peer.state is not PeerState.REMOVED
            assert (peer.state is PeerState.DOWN) == peer.server.down
        assert self.group.statistics().waiting == len(self.waiting)
        assert len(self.waiting) <= QUEUE

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        if not hasattr(self, "group"):
            return
        for _, tried, _ in self.waiting:
            assert not self.choices(tried)
            assert any(peer.state is PeerState.UP and peer not in tried for peer in self.group.peers)

    def teardown(self) -> None:
        if not hasattr(self, "group"):
            return
        self.group.stop()
        self.collect()
        assert not self.waiting
        for peer in self.held:
            self.group.release(peer)
        assert not self.clock.getDelayedCalls()


class ModelTests(SynchronousTestCase):
    def test_whatever_happens(self) -> None:
        run_state_machine_as_test(Machine, settings=settings(max_examples=150, stateful_step_count=50))
