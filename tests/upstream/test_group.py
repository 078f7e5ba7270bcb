"""A group: what is asked of it for each connection, and what its servers become."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.balancing import group_of, names, picks, servers
from twisted_pipe.errors import BadConfiguration, NoServer, Side
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import Peer, PeerState
from twisted_pipe.upstream.server import UpstreamServer
from twisted_pipe.upstream.waiting_line import QueueSettings


class GroupCase(SynchronousTestCase):
    """
    @ivar logged: what the groups say, with its level.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.logged: list[tuple[LogLevel, str]] = []
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def log(self, event: Any) -> None:
        if event["log_namespace"] == "twisted_pipe.upstream.group":
            self.logged.append((event["log_level"], event["log_format"].format(**event)))

    def group(self, *weights: int, **parameters: Any) -> UpstreamGroup:
        return group_of(*weights, clock=self.clock, **parameters)

    def said(self) -> list[str]:
        """Since it was asked last."""
        said = [text for _, text in self.logged]
        self.logged.clear()
        return said

    def states(self, group: UpstreamGroup) -> list[str]:
        return [str(peer.state) for peer in group.peers]


class ServerTests(SynchronousTestCase):
    def test_defaults_are_those_of_nginx(self) -> None:
        server = UpstreamServer("a:1", None)
        self.assertEqual((server.weight, server.max_conns, server.max_fails, server.fail_timeout), (1, 0, 1, 10.0))
        self.assertEqual((server.slow_start, server.backup, server.down), (0.0, False, False))

    def test_bounds(self) -> None:
        self.assertEqual(UpstreamServer("a:1", None, weight=65535).weight, 65535)
        for name, values, rule in (
            ("weight", (0, -1, 65536, 1.5, True, "2"), "must be a whole number from 1 to 65535"),
            ("max_conns", (-1, 0.5, None), "must be a whole number from 0"),
            ("max_fails", (-1, 1001, "x"), "must be a whole number from 0 to 1000"),
            ("fail_timeout", (-1, True, "x", 1e9, float("nan")), "must be a number of seconds, 0 or more"),
            ("slow_start", (-0.1,), "must be a number of seconds, 0 or more"),
        ):
            for value in values:
                error = self.assertRaises(BadConfiguration, UpstreamServer, "a:1", None, **{name: value})
                self.assertEqual(str(error), f"{name}: {value!r}: {rule}")

    def test_repr(self) -> None:
        self.assertEqual(repr(UpstreamServer("a:1", None, weight=3)), "UpstreamServer(name='a:1')")


class PickTests(GroupCase):
    def test_in_turn(self) -> None:
        self.assertEqual(picks(self.group(1, 1, 1), 7), "abcabca")

    def test_groups_are_independent(self) -> None:
        first, second = self.group(1, 1), self.group(1, 1)
        first.pick()
        self.assertEqual(picks(second, 1), "a")

    def test_the_list_may_change_afterwards(self) -> None:
        configured = servers(2)
        group = UpstreamGroup(configured, clock=self.clock)
        configured.clear()
        self.assertEqual(picks(group, 3), "aba")

    def test_what_is_active(self) -> None:
        group = self.group(1, 1)
        held = [group.pick() for _ in range(5)]
        self.assertEqual([peer.active for peer in group.peers], [3, 2])
        for peer in held:
            group.release(peer)  # type: ignore[arg-type]
        self.assertEqual([(peer.active, peer.picked) for peer in group.peers], [(0, 3), (0, 2)])

    def test_none_that_is_down(self) -> None:
        group = UpstreamGroup([*servers(1, down=True), UpstreamServer("z", None)], clock=self.clock)
        self.assertEqual(picks(group, 3), "zzz")

    def test_none_at_all(self) -> None:
        group = UpstreamGroup([], clock=self.clock)
        self.assertIsNone(group.pick())
        self.assertEqual((repr(group), group.servers, self.said()), ("<UpstreamGroup empty>", (), []))

    def test_all_are_down_from_the_start(self) -> None:
        group = self.group(1, 1, down=True)
        self.assertIsNone(group.pick())
        self.assertEqual(self.said(), ["upstream app: no server is up"])

    def test_backups_only_if_no_other_can_be_had(self) -> None:
        main = servers(2, max_conns=1)
        spare = [UpstreamServer(name, None, backup=True) for name in "yz"]
        group = UpstreamGroup([spare[0], *main, spare[1]], clock=self.clock)
        _, a, b, _ = group.peers
        self.assertEqual(picks(group, 2), "ab")
        self.assertEqual(picks(group, 3), "yzy")  # they are full
        group.release(b)
        self.assertEqual(picks(group, 2), "bz")
        group.release(a)
        self.assertEqual(picks(group, 1, tried=[a]), "y")
        group.mark(b, False)
        group.mark(a, False)
        self.assertEqual(picks(group, 2), "zy")
        group.mark(a, True)
        self.assertEqual(picks(group, 2), "az")

    def test_connections_of_backups_are_released_to_their_balancer(self) -> None:
        spare = [UpstreamServer(name, None, backup=True, max_conns=1) for name in "yz"]
        group = self.group(1, balance="least-connections")
        group.replace([*servers(1, down=True), *spare])
        self.assertEqual(picks(group, 3), "yz-")
        group.release(group.peers[2])
        self.assertEqual(picks(group, 2), "z-")

    def test_which_balancer(self) -> None:
        group = self.group(1, balance="hash:key=$host")
        self.assertEqual((group.balancer, group.key), ("hash", "$host"))
        self.assertEqual((self.group(1).balancer, self.group(1).key), ("round-robin", ""))


class MaxConnsTests(GroupCase):
    def test_never_more(self) -> None:
        group = self.group(1, 1, max_conns=2)
        self.assertEqual(picks(group, 6), "abab--")
        self.assertEqual([peer.full for peer in group.peers], [True, True])
        group.release(group.peers[1])
        self.assertEqual(picks(group, 2), "b-")

    def test_a_change_of_the_limit(self) -> None:
        group = self.group(1, max_conns=2)
        picks(group, 2)
        group.replace(servers(1, max_conns=3))
        self.assertEqual(picks(group, 2), "a-")
        group.replace(servers(1))
        self.assertEqual(picks(group, 2), "aa")
        group.replace(servers(1, max_conns=1))
        (peer,) = group.peers
        for _ in range(4):
            group.release(peer)
            self.assertIsNone(group.pick())
        group.release(peer)
        self.assertIs(group.pick(), peer)


class WaitTests(GroupCase):
    def full(self, queue: QueueSettings = QueueSettings(), count: int = 1) -> UpstreamGroup:  # noqa: B008
        group = UpstreamGroup(servers(count, max_conns=1), name="app", clock=self.clock, queue=queue)
        picks(group, count)
        return group

    def refused(self, waiting: Deferred[Peer]) -> str:
        """Why."""
        failure = self.failureResultOf(waiting, NoServer)
        self.assertIs(failure.value.side, Side.UPSTREAM)
        return str(failure.value)

    def test_at_once_if_there_is_room(self) -> None:
        group = self.group(1)
        self.assertIs(self.successResultOf(group.wait()), group.peers[0])
        self.assertEqual(group.peers[0].active, 1)

    def test_first_come_first_served(self) -> None:
        group = self.full()
        (peer,) = group.peers
        first, second = group.wait(), group.wait()
        self.assertEqual(group.statistics().waiting, 2)
        self.assertNoResult(first)
        group.release(peer)
        self.assertIs(self.successResultOf(first), peer)
        self.assertNoResult(second)
        self.assertEqual(peer.active, 1)
        group.release(peer)
        self.assertIs(self.successResultOf(second), peer)
        self.assertEqual((peer.active, group.statistics().waiting), (1, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_comes_later_does_not_push_in(self) -> None:
        group = self.full()
        waiting = group.wait()
        got: list[Peer | None] = []
        waiting.addCallback(lambda peer: got.append(group.pick()))
        group.release(group.peers[0])
        self.assertEqual(got, [None])

    def test_not_more_than_the_queue_has_room_for(self) -> None:
        group = self.full(QueueSettings(size=2))
        kept = [group.wait(), group.wait()]
        self.assertEqual(self.refused(group.wait()), "all servers are busy, and 2 wait already")
        kept[0].cancel()
        self.failureResultOf(kept[0])
        self.assertNoResult(group.wait())

    def test_no_queue(self) -> None:
        group = self.full(QueueSettings(size=0))
        self.assertEqual(self.refused(group.wait()), "all servers are busy, and 0 wait already")

    def test_not_longer_than_the_timeout(self) -> None:
        group = self.full(QueueSettings(timeout=5))
        first = group.wait()
        self.clock.advance(2)
        second = group.wait()
        self.clock.advance(2.9)
        self.assertNoResult(first)
        self.clock.advance(0.1)
        self.assertEqual(self.refused(first), "all servers were busy for 5 s")
        self.assertNoResult(second)
        self.clock.advance(2)
        self.assertEqual(self.refused(second), "all servers were busy for 5 s")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_for_ever(self) -> None:
        group = self.full(QueueSettings(timeout=0))
        waiting = group.wait()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(10**6)
        group.release(group.peers[0])
        self.successResultOf(waiting)

    def test_who_gives_up_leaves_the_queue(self) -> None:
        group = self.full()
        first, second = group.wait(), group.wait()
        first.cancel()
        self.failureResultOf(first)
        group.release(group.peers[0])
        self.assertIs(self.successResultOf(second), group.peers[0])

    def test_who_has_been_served_gives_up_too_late(self) -> None:
        """The place is his, and he gives it back."""
        group = self.full()
        waiting = group.wait()
        group.release(group.peers[0])
        waiting.cancel()
        self.assertIs(self.successResultOf(waiting), group.peers[0])

    def test_not_a_server_that_was_tried(self) -> None:
        group = self.full(count=2)
        a, b = group.peers
        first, second = group.wait(tried=(a,)), group.wait()
        group.release(a)
        self.assertNoResult(first)
        self.assertIs(self.successResultOf(second), a)
        group.release(b)
        self.assertIs(self.successResultOf(first), b)

    def test_refused_at_once_if_no_server_is_up(self) -> None:
        group = self.group(1, 1)
        for peer in group.peers:
            group.mark(peer, False)
        self.assertEqual(self.refused(group.wait()), "no server is up")
        self.assertEqual(self.refused(UpstreamGroup([], clock=self.clock).wait()), "no server is up")

    def test_a_trial_is_hope(self) -> None:
        """A server on trial comes back only by being asked, also where nobody calls pick()."""
        group = self.group(1, 1)
        a, b = group.peers
        for peer in (a, b, a, b):  # the second time nobody is spared
            group.failed(peer)
        self.assertEqual(self.refused(group.wait()), "no server is up")
        self.clock.advance(10)
        self.assertEqual(self.states(group), ["on trial", "on trial"])
        found = [self.successResultOf(group.wait()), self.successResultOf(group.wait(tried=(a,)))]
        self.assertEqual(found, [a, b])
        self.assertEqual(self.refused(group.wait()), "no server is up")
        group.succeeded(a)
        self.assertIs(self.successResultOf(group.wait()), a)

    def test_refused_at_once_if_all_were_tried(self) -> None:
        group = self.group(1, 1)
        self.assertEqual(self.refused(group.wait(tried=group.peers)), "every server that is up was asked")

    def test_refused_when_the_last_server_goes(self) -> None:
        group = self.full(count=2)
        a, b = group.peers
        both, only_b = group.wait(), group.wait(tried=(a,))
        group.mark(b, False)
        self.assertEqual(self.refused(only_b), "every server that is up was asked")
        self.assertNoResult(both)
        group.mark(a, False)
        self.assertEqual(self.refused(both), "no server is up")

    def test_served_when_a_server_comes_back(self) -> None:
        group = self.full(count=2)
        a, b = group.peers
        group.mark(b, False)
        group.release(b)
        waiting = [group.wait() for _ in range(2)]
        group.mark(b, True)
        self.assertIs(self.successResultOf(waiting[0]), b)
        self.assertNoResult(waiting[1])
        group.replace([a.server, b.server, UpstreamServer("c", None)])
        self.assertEqual(self.successResultOf(waiting[1]).name, "c")

    def test_many_who_are_done_at_once(self) -> None:
        """A thousand whose server refuses at once, each giving the next one its place: no recursion."""
        group = self.full()
        served = []

        def served_and_done(peer: Peer) -> None:
            served.append(peer)
            group.failed(peer)
            group.release(peer)

        for _ in range(1000):
            group.wait().addCallback(served_and_done)
        group.release(group.peers[0])
        self.assertEqual((len(served), group.peers[0].active, group.statistics().waiting), (1000, 0, 0))

    def test_the_service_stops(self) -> None:
        group = self.full(count=2)
        waiting = group.wait()
        group.failed(group.peers[0])
        group.stop()
        self.assertEqual(self.refused(waiting), "the service stops")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_settings(self) -> None:
        for name, wrong in (("queue", {"size": -1}), ("queue_timeout", {"timeout": -0.5})):
            error = self.assertRaises(BadConfiguration, QueueSettings, **wrong)
            self.assertEqual(str(error), f"{name}: {next(iter(wrong.values()))!r}: must be 0 or more")


class ReplaceTests(GroupCase):
    def test_who_stays_is_the_same(self) -> None:
        group = self.group(1, 1, 1)
        a, _, c = group.peers
        held = group.pick()
        group.replace([*servers(1, weight=2), UpstreamServer("d", None), c.server])
        self.assertEqual(names(group.peers), "adc")
        self.assertEqual((group.peers[0], group.peers[2]), (a, c))
        self.assertEqual((a.server.weight, a.active, held), (2, 1, a))
        self.assertEqual(sorted(picks(group, 4)), ["a", "a", "c", "d"])

    def test_failures_of_who_stays_go_on_counting(self) -> None:
        group = self.group(1, 1, max_fails=3)
        a, _ = group.peers
        for others in ("b", "bc"):
            group.failed(a)
            endpoint = object()  # a new one each time, as when a name is looked up
            made = [UpstreamServer(name, endpoint, max_fails=3) for name in f"a{others}"]
            group.replace(made)
            self.assertEqual((a.server, a.available), (made[0], True))
        group.failed(a)
        self.assertFalse(a.available)

    def test_of_its_failures_as_many_as_count_now(self) -> None:
        group = self.group(1, 1, max_fails=5)
        a, _ = group.peers
        for _ in range(4):
            group.failed(a)
        group.replace(servers(2, max_fails=2))
        self.assertEqual((len(a.failures), a.available), (2, True))
        group.failed(a)
        self.assertFalse(a.available)

    def test_failures_are_forgotten_by_who_is_taken_down(self) -> None:
        group = self.group(1, 1, max_fails=2)
        a, _ = group.peers
        group.failed(a)
        group.replace(servers(2, max_fails=2, down=True))
        group.replace(servers(2, max_fails=2))
        group.failed(a)
        self.assertTrue(a.available)

    def test_the_same_name_at_another_address_is_another(self) -> None:
        group = UpstreamGroup([UpstreamServer("a", None, ("10.0.0.1", 80))], clock=self.clock)
        (before,) = group.peers
        group.replace([UpstreamServer("a", None, ("10.0.0.2", 80))])
        self.assertIsNot(group.peers[0], before)
        self.assertIs(before.state, PeerState.REMOVED)

    def test_who_goes_finishes_what_it_has(self) -> None:
        group = self.group(1, 1)
        b = group.peers[1]
        removed: list[Peer] = []
        group.on_removed(removed.append)
        picks(group, 2)
        group.replace(servers(1))
        self.assertEqual(removed, [b])
        self.assertEqual((picks(group, 2), str(b.state)), ("aa", "removed"))
        group.failed(b)
        group.succeeded(b)
        group.mark(b, True)
        group.release(b)
        self.assertEqual((b.active, picks(group, 1)), (0, "a"))

    def test_who_rests_goes_on_resting(self) -> None:
        group = self.group(1, 1)
        a, _ = group.peers
        group.failed(a)
        group.replace(group.servers)
        self.assertEqual(picks(group, 2), "bb")
        self.clock.advance(10)
        self.assertEqual(picks(group, 2), "ab")

    def test_down_and_up_again_by_configuration(self) -> None:
        group = self.group(1, 1)
        group.replace([attrs.evolve(group.servers[0], down=True), group.servers[1]])
        self.assertEqual((self.states(group), picks(group, 2)), (["down", "up"], "bb"))
        group.mark(group.peers[0], True)
        self.assertEqual(self.states(group), ["down", "up"])
        group.replace([attrs.evolve(each, down=False) for each in group.servers])
        self.assertEqual((self.states(group), picks(group, 2)), (["up", "up"], "ab"))

    def test_nobody_is_left(self) -> None:
        group = self.group(1)
        group.replace([])
        self.assertIsNone(group.pick())
        self.assertEqual(self.said(), ["upstream app: no server is up"])
        group.replace(servers(2))
        self.assertEqual((picks(group, 2), self.said()), ("ab", ["upstream app: a server is up again"]))

    def test_twins(self) -> None:
        group = self.group(1)
        group.replace(group.servers * 3)
        self.assertEqual(len(set(group.peers)), 3)
        kept = group.peers
        group.replace(group.servers[:2])
        self.assertEqual(group.peers, kept[:2])

    def test_nobody_is_served_before_all_were_announced(self) -> None:
        """As long as their health checks have not spoken, servers are not asked: those that wait get none of them."""
        group = UpstreamGroup([], name="app", clock=self.clock)
        group.expect(True)
        group.on_added(lambda peer: group.mark(peer, False, "not checked yet"))
        got: list[Peer] = []
        group.wait().addCallback(got.append)
        group.replace(servers(3))
        self.assertEqual((got, self.states(group)), ([], ["unhealthy"] * 3))
        group.mark(group.peers[1], True)
        self.assertEqual(names(got), "b")

    def test_those_that_wait_are_served_by_who_comes(self) -> None:
        group = self.group(1, max_conns=1)
        picks(group, 1)
        got: list[Peer] = []
        group.wait().addCallback(got.append)
        group.replace(servers(2, max_conns=1))
        self.assertEqual(names(got), "b")

    def test_who_announces_may_fail(self) -> None:
        """It is told, and does not keep those that wait from being served for ever."""
        group = self.group(1, max_conns=1)
        (a,) = group.peers
        picks(group, 1)
        got: list[Peer] = []
        group.wait().addCallback(got.append)
        group.on_added(lambda peer: 1 / 0)
        self.assertRaises(ZeroDivisionError, group.replace, servers(2, max_conns=1))
        group.release(a)
        self.assertEqual(len(got), 1)

    def test_who_rests_is_asked_when_the_last_one_that_is_up_goes(self) -> None:
        for count in (2, 3):
            group = self.group(*[1] * count)
            *resting, last = group.peers
            for peer in resting:
                group.failed(peer)
            group.replace([peer.server for peer in resting])
            self.assertEqual(self.states(group), ["up"] * (count - 1))
            self.assertEqual(sum("no server is up" in said for said in self.said()), 0)
            self.assertEqual((last.state, self.clock.getDelayedCalls()), (PeerState.REMOVED, []))

    def test_who_rests_is_asked_when_the_last_one_that_is_up_is_taken_down(self) -> None:
        group = self.group(1, 1)
        a, b = group.peers
        group.failed(a)
        group.replace([a.server, attrs.evolve(b.server, down=True)])
        self.assertEqual(self.states(group), ["up", "down"])

    def test_those_that_wait_get_who_rests(self) -> None:
        group = self.group(1, 1, max_conns=1)
        a, _ = group.peers
        group.failed(a)
        picks(group, 1)
        got: list[Peer] = []
        group.wait().addCallback(got.append)
        group.replace([a.server])
        self.assertEqual(got, [a])

    def test_who_rests_is_asked_so_once(self) -> None:
        """It was asked already when the last one had failed, and has done nothing well since."""
        group = self.group(1, 1, 1)
        a, b, c = group.peers
        for peer in (a, b, c, a, b):
            group.failed(peer)
        self.assertEqual(self.states(group), ["resting", "resting", "up"])
        group.replace([a.server, b.server])
        self.assertEqual((self.states(group), picks(group, 1)), (["resting"] * 2, "-"))

    def test_the_only_server_is_never_out(self) -> None:
        """Whether it rests, is on trial, or is being tried, and though it has been spared already."""
        for seconds, tried in ((0, 0), (10, 0), (10, 2)):
            group = self.group(1, 1)
            a, b = group.peers
            for peer in (b, a, b, a):
                group.failed(peer)
            self.clock.advance(seconds)
            picks(group, tried)
            group.replace([a.server])
            self.assertEqual((self.states(group), picks(group, 2)), (["up"], "aa"))
            self.assertEqual(self.clock.getDelayedCalls(), [])
            group.failed(a)
            self.assertEqual(self.states(group), ["up"])

    def test_the_only_server_may_be_unhealthy_or_down(self) -> None:
        group = self.group(1, 1)
        a, _ = group.peers
        group.mark(a, False)
        group.replace([a.server])
        self.assertEqual(self.states(group), ["unhealthy"])
        group.replace([attrs.evolve(a.server, down=True)])
        self.assertEqual(self.states(group), ["down"])


class StatisticsTests(GroupCase):
    def test_all(self) -> None:
        spare = UpstreamServer("z", None, backup=True)
        group = UpstreamGroup([*servers(2, weight=3), spare], name="app", clock=self.clock)
        picks(group, 2)
        group.failed(group.peers[0])
        found = group.statistics()
        self.assertEqual((found.name, found.balancer, found.live, found.waiting), ("app", "round-robin", 2, 0))
        self.assertEqual((found.choices, found.backup_choices), ({"remembered": 0}, {"remembered": 0}))
        self.assertEqual(
            [(each.name, str(each.state), each.active, each.picked, each.failed, each.weight) for each in found.peers],
            [("a", "resting", 1, 1, 1, 3.0), ("b", "up", 1, 1, 0, 3.0), ("z", "up", 0, 0, 0, 1.0)],
        )

    def test_repr(self) -> None:
        group = self.group(1, 1)
        self.assertEqual(repr(group), "<UpstreamGroup a, b>")
        picks(group, 1)
        self.assertEqual(repr(group.peers[0]), "<Peer a up active=1>")
        group.mark(group.peers[0], False)
        self.assertEqual(
            (repr(group), repr(group.peers[0])), ("<UpstreamGroup a, b (1 up)>", "<Peer a unhealthy active=1>")
        )
