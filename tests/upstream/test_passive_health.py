"""What a group learns of its servers from the requests that they get; and slow starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
from twisted.logger import LogLevel

from tests.upstream.balancing import names, picks, servers
from tests.upstream.test_group import GroupCase
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import Peer, PeerState
from twisted_pipe.upstream.server import UpstreamServer


class RestTests(GroupCase):
    def test_a_server_that_fails_rests(self) -> None:
        group = self.group(1, 1, 1)
        a, b, _ = group.peers
        group.failed(b, "connect() failed: Connection refused")
        self.assertEqual(picks(group, 4), "acac")
        self.assertEqual(
            self.logged,
            [
                (
                    LogLevel.warn,
                    "upstream app: b is not asked for 10 s, after an attempt failed within as much: "
                    "connect() failed: Connection refused",
                )
            ],
        )
        self.assertEqual((a.failed, b.failed), (0, 1))

    def test_so_many_times(self) -> None:
        group = self.group(1, 1, max_fails=3)
        a, _ = group.peers
        for _ in range(2):
            group.failed(a)
        self.assertTrue(a.available)
        group.failed(a)
        self.assertFalse(a.available)
        self.assertEqual(self.said(), ["upstream app: a is not asked for 10 s, after 3 attempts failed within as much"])

    def test_within_the_time(self) -> None:
        """The time slides: it is the last three that count, whatever went well between them."""
        group = self.group(1, 1, max_fails=3, fail_timeout=10)
        a, _ = group.peers
        for moment in (0, 6, 11, 17):  # no three of them within 10 s
            self.clock.advance(moment - self.clock.seconds())
            group.failed(a)
            group.succeeded(a)
            self.assertTrue(a.available, moment)
        self.clock.advance(4)  # 11, 17, 21
        group.failed(a)
        self.assertFalse(a.available)

    def test_exactly_the_time(self) -> None:
        group = self.group(1, 1, max_fails=2, fail_timeout=10)
        a, _ = group.peers
        group.failed(a)
        self.clock.advance(10)
        group.failed(a)
        self.assertFalse(a.available)

    def test_never(self) -> None:
        group = self.group(1, 1, max_fails=0)
        for _ in range(100):
            group.failed(group.peers[0])
        self.assertEqual((self.states(group), self.said()), (["up", "up"], []))

    def test_not_the_only_server(self) -> None:
        group = self.group(1)
        for _ in range(100):
            group.failed(group.peers[0])
        self.assertEqual((picks(group, 1), self.said(), group.peers[0].failed), ("a", [], 100))

    def test_not_the_only_server_beside_those_that_are_down(self) -> None:
        """By the configuration, for as long as that stands: there is nobody else to ask."""
        down = attrs.evolve(servers(2)[1], down=True)
        group = UpstreamGroup([servers(1)[0], down], name="app", clock=self.clock)
        for _ in range(100):
            group.failed(group.peers[0])
        self.assertEqual((self.states(group), picks(group, 2)), (["up", "down"], "aa"))

    def test_for_no_time(self) -> None:
        """It is on trial in the next turn of the reactor."""
        group = self.group(1, 1, fail_timeout=0)
        group.failed(group.peers[0])
        self.clock.advance(0)
        self.assertEqual(self.states(group), ["on trial", "up"])

    def test_failures_of_connections_that_it_had_already(self) -> None:
        """They make the rest no longer, and say nothing new."""
        group = self.group(1, 1)
        a, _ = group.peers
        group.failed(a)
        self.said()
        self.clock.advance(9)
        group.failed(a)
        group.succeeded(a)  # nor does it become well by an old one
        self.assertEqual(self.states(group), ["resting", "up"])
        self.clock.advance(1)
        self.assertEqual((self.states(group), self.said()), (["on trial", "up"], []))


class TrialTests(GroupCase):
    def rested(self) -> tuple[UpstreamGroup, Peer]:
        """A group whose first server has failed and rested."""
        group = self.group(1, 1)
        group.failed(group.peers[0])
        self.said()
        self.clock.advance(10)
        return group, group.peers[0]

    def test_one_request_only(self) -> None:
        group, a = self.rested()
        self.assertEqual(Counter(picks(group, 10)), {"a": 1, "b": 9})
        self.assertIs(a.state, PeerState.TRIED)

    def test_it_goes_well(self) -> None:
        group, a = self.rested()
        picks(group, 2)
        group.succeeded(a)
        group.release(a)
        self.assertEqual(self.said(), ["upstream app: a is asked again"])
        self.assertEqual(Counter(picks(group, 10)), {"a": 5, "b": 5})

    def test_it_fails(self) -> None:
        """For as long again, and nothing is said that is known."""
        group, a = self.rested()
        picks(group, 2)
        group.failed(a)
        group.release(a)
        self.assertEqual(picks(group, 4), "bbbb")
        self.clock.advance(9.9)
        self.assertEqual(picks(group, 1), "b")
        self.clock.advance(0.1)
        self.assertEqual(Counter(picks(group, 5)), {"a": 1, "b": 4})
        self.assertEqual(self.said(), [])

    def test_one_failure_is_enough(self) -> None:
        group = self.group(1, 1, max_fails=3)
        a, _ = group.peers
        for _ in range(3):
            group.failed(a)
        self.clock.advance(10)
        picks(group, 2)
        group.failed(a)
        self.assertIs(a.state, PeerState.RESTING)

    def test_nobody_says_how_it_went(self) -> None:
        """The client went: another one may show."""
        group, a = self.rested()
        picks(group, 2)
        group.release(a)
        self.assertEqual(Counter(picks(group, 10)), {"a": 1, "b": 9})

    def test_beside_what_it_has_from_before(self) -> None:
        group = self.group(1, 1)
        a, _ = group.peers
        picks(group, 4)
        group.failed(a)
        self.clock.advance(10)
        self.assertEqual(a.active, 2)
        self.assertEqual(Counter(picks(group, 5)), {"a": 1, "b": 4})

    def test_old_sessions_that_end_do_not_end_the_trial(self) -> None:
        """What it has from before says nothing of how it is now: there is no second trial at each of their ends."""
        group = self.group(1, 1)
        a, _ = group.peers
        picks(group, 8)
        group.failed(a)
        self.clock.advance(10)
        self.assertEqual(Counter(picks(group, 3)), {"a": 1, "b": 2})
        for _ in range(3):
            group.release(a)
            self.assertEqual(picks(group, 2), "bb")
        self.assertEqual(a.active, 2)

    def test_nobody_says_how_it_went_beside_what_it_has_from_before(self) -> None:
        """Which of them was the trial is not known, so another one may show after C{fail_timeout}."""
        group = self.group(1, 1)
        a, _ = group.peers
        picks(group, 4)
        group.failed(a)
        self.clock.advance(10)
        picks(group, 2)
        group.release(a)
        self.clock.advance(9.9)
        self.assertEqual(picks(group, 2), "bb")
        self.clock.advance(0.1)
        self.assertEqual(Counter(picks(group, 10)), {"a": 1, "b": 9})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_last_one_is_over(self) -> None:
        """Then the trial is, too, and nobody waits for the time to pass."""
        group = self.group(1, 1)
        a, _ = group.peers
        picks(group, 4)
        group.failed(a)
        self.clock.advance(10)
        picks(group, 2)
        for _ in range(3):
            group.release(a)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(Counter(picks(group, 10)), {"a": 1, "b": 9})

    def test_nothing_is_left_of_a_trial(self) -> None:
        """Whatever ends it while it is not known whether it is over."""
        ends: list[Callable[[UpstreamGroup, Peer], object]] = [
            lambda group, a: group.succeeded(a),
            lambda group, a: group.mark(a, False),
            lambda group, a: group.mark(a, False) or group.mark(a, True),  # type: ignore[func-returns-value]
            lambda group, a: group.replace(group.servers[1:]),
            lambda group, a: group.replace(group.servers[:1]),
            lambda group, a: group.replace([attrs.evolve(each, down=True) for each in group.servers]),
            lambda group, a: group.stop(),
        ]
        for number, end in enumerate(ends):
            group = self.group(1, 1)
            a, _ = group.peers
            picks(group, 6)
            group.failed(a)
            self.clock.advance(10)
            picks(group, 2)
            group.release(a)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1, number)
            end(group, a)
            group.release(a)
            self.assertEqual(self.clock.getDelayedCalls(), [], number)

    def test_after_the_service_has_stopped(self) -> None:
        """Sessions go on: how they end is of no use to anybody."""
        group = self.group(1, 1, slow_start=5)
        a, b = group.peers
        picks(group, 4)
        group.failed(a)
        group.stop()
        group.failed(b)
        group.mark(a, False)
        group.mark(a, True)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_when_the_service_starts_again(self) -> None:
        """A rest has no end otherwise; a trial of that time has shown nothing; a slow start is over."""
        group = self.group(1, 1, 1, 1, slow_start=5)
        a, b, c, _ = group.peers
        group.failed(b)
        self.clock.advance(10)
        picks(group, 4)
        group.failed(a)
        group.mark(c, False)
        group.mark(c, True)
        self.assertEqual(self.states(group), ["resting", "being tried", "up", "up"])
        group.stop()
        group.release(b)
        group.start()
        self.assertEqual(self.states(group), ["on trial", "on trial", "up", "up"])
        self.assertEqual(group.statistics().peers[2].weight, 1)
        self.assertEqual(Counter(picks(group, 12)), {"a": 1, "b": 1, "c": 5, "d": 5})
        group.failed(c)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_started_for_the_first_time(self) -> None:
        """Nothing that was found out before is forgotten."""
        group = self.group(1, 1)
        group.failed(group.peers[0])
        group.start()
        self.assertEqual(self.states(group), ["resting", "up"])

    def test_not_more_than_max_conns(self) -> None:
        group = self.group(1, 1, max_conns=2)
        a, _ = group.peers
        picks(group, 4)
        group.failed(a)
        self.clock.advance(10)
        self.assertEqual(picks(group, 1), "-")
        group.release(a)
        self.assertEqual(picks(group, 2), "a-")


class LastServerTests(GroupCase):
    def test_the_others_are_asked_again_when_the_last_one_goes(self) -> None:
        """Restarted one after the other, all of them would rest at some time."""
        group = self.group(1, 1, 1)
        a, b, c = group.peers
        group.failed(a)
        self.clock.advance(1)
        group.failed(b)
        self.clock.advance(1)
        self.said()
        group.failed(c)
        self.assertEqual(self.states(group), ["up", "up", "resting"])
        self.assertIsNotNone(group.pick(tried=(c,)))
        self.assertEqual(self.said(), ["upstream app: c is not asked for 10 s, after an attempt failed within as much"])
        group.succeeded(a)
        self.assertEqual(self.said(), ["upstream app: a is asked again"])
        group.failed(b)  # it is still not well: nothing that is not known
        self.assertEqual(self.said(), [])

    def test_once(self) -> None:
        """When each of them has failed again nobody is asked, and that is said once."""
        group = self.group(1, 1, 1)
        a, b, c = group.peers
        for peer in (a, b, c, a, b, c):
            self.assertEqual(group.live > 0, True)
            group.failed(peer)
        self.assertEqual((self.states(group), picks(group, 2)), (["resting"] * 3, "--"))
        self.assertEqual(self.said()[-1], "upstream app: no server is up")
        for _ in range(5):
            self.clock.advance(10)
            for _ in range(3):
                peer = group.pick()
                assert peer is not None
                group.failed(peer)
                group.release(peer)
            self.assertEqual(picks(group, 2), "--")
        self.assertEqual(self.said(), [])

    def test_it_is_said_once_that_one_is_up_again(self) -> None:
        group = self.group(1, 1)
        a, b = group.peers
        for peer in (a, b, a, b):
            group.failed(peer)
        self.assertEqual(self.said()[-1], "upstream app: no server is up")
        self.clock.advance(10)
        self.assertEqual(sorted(picks(group, 3)), ["-", "a", "b"])
        self.assertEqual(group.live, 0)
        group.succeeded(b)
        self.assertEqual(self.said(), ["upstream app: b is asked again", "upstream app: a server is up again"])
        group.succeeded(a)
        self.assertEqual(self.said(), ["upstream app: a is asked again"])

    def test_who_has_done_something_well_is_spared_again(self) -> None:
        group = self.group(1, 1)
        a, b = group.peers
        for _ in range(5):
            group.failed(a)
            group.failed(b)
            self.assertEqual(self.states(group), ["up", "resting"])
            group.succeeded(a)
            group.failed(a)
            self.assertEqual(self.states(group), ["resting", "up"])
            group.succeeded(b)
            self.clock.advance(0.5)
            group.succeeded(group.peers[1])
            self.clock.advance(10)
            a_again = group.pick(tried=(b,))
            assert a_again is a
            group.succeeded(a)

    def test_not_those_that_are_unhealthy_or_down(self) -> None:
        group = self.group(1, 1, 1)
        a, b, _ = group.peers
        group.mark(a, False)
        group.replace([*group.servers[:2], UpstreamServer("c", None, down=True)])
        group.failed(b)
        self.assertEqual(self.states(group), ["unhealthy", "resting", "down"])

    def test_backups_are_servers_too(self) -> None:
        group = UpstreamGroup([*servers(1), UpstreamServer("z", None, backup=True)], name="app", clock=self.clock)
        a, z = group.peers
        group.failed(a)
        self.assertEqual(picks(group, 2), "zz")
        group.failed(z)
        self.assertEqual((self.states(group), picks(group, 1)), (["up", "resting"], "a"))


class HealthCheckTests(GroupCase):
    def test_unhealthy_and_healthy(self) -> None:
        group = self.group(1, 1)
        a, _ = group.peers
        group.mark(a, True)
        group.mark(a, False, "HTTP 503")
        group.mark(a, False, "HTTP 500")
        self.assertEqual(picks(group, 2), "bb")
        group.mark(a, True)
        self.assertEqual(
            self.said(),
            ["upstream app: a is unhealthy, and not asked: HTTP 503", "upstream app: a is healthy"],
        )
        self.assertEqual(Counter(picks(group, 2)), {"a": 1, "b": 1})

    def test_the_only_server(self) -> None:
        group = self.group(1)
        group.mark(group.peers[0], False)
        self.assertEqual(picks(group, 1), "-")
        self.assertEqual(self.said()[1:], ["upstream app: no server is up"])
        group.mark(group.peers[0], True)
        self.assertEqual(self.said()[1:], ["upstream app: a server is up again"])

    def test_requests_do_not_make_it_healthy(self) -> None:
        group = self.group(1, 1)
        a, _ = group.peers
        picks(group, 2)
        group.mark(a, False)
        group.succeeded(a)
        group.failed(a)
        group.release(a)
        self.clock.advance(100)
        self.assertEqual(self.states(group), ["unhealthy", "up"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_rest_is_over_when_the_check_speaks(self) -> None:
        """It rests, becomes unhealthy, then healthy: nothing is left of the rest."""
        group = self.group(1, 1)
        a, _ = group.peers
        group.failed(a)
        group.mark(a, False)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        group.mark(a, True)
        self.assertEqual(self.states(group), ["up", "up"])
        self.assertEqual(sum("a is asked again" in said or "a is healthy" in said for said in self.said()), 1)

    def test_while_it_is_tried(self) -> None:
        group = self.group(1, 1)
        a, _ = group.peers
        group.failed(a)
        self.clock.advance(10)
        picks(group, 2)
        group.mark(a, False)
        group.release(a)
        self.assertEqual((self.states(group), picks(group, 1)), (["unhealthy", "up"], "b"))


class SlowStartTests(GroupCase):
    def test_the_weight_grows(self) -> None:
        group = self.group(1, 1, slow_start=20)
        a, _ = group.peers
        group.mark(a, False)
        group.mark(a, True)
        shares = []
        for _ in range(12):
            counts = Counter(picks(group, 220))
            shares.append(counts["a"] / counts["b"])
            self.clock.advance(2)
        for step, share in enumerate(shares):
            self.assertApproximates(share, min(1.0, (step + 1) / 10), 0.06)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_after_a_rest(self) -> None:
        group = self.group(1, 1, slow_start=20)
        a, _ = group.peers
        group.failed(a)
        self.clock.advance(10)
        picks(group, 2)
        group.succeeded(a)
        self.assertEqual((a.share, a.statistics().weight), (1, 0.1))

    def test_not_at_the_beginning(self) -> None:
        self.assertEqual([peer.share for peer in self.group(1, 1, slow_start=20).peers], [10, 10])

    def test_a_failure_ends_it(self) -> None:
        group = self.group(1, 1, slow_start=20)
        a, _ = group.peers
        for stop in (lambda: group.failed(a), lambda: group.mark(a, False), lambda: group.replace(group.servers[1:])):
            group.mark(a, False)
            group.mark(a, True)
            self.clock.pump([1] * 5)
            self.assertEqual(a.share, 3)
            stop()
            self.assertTrue(len(self.clock.getDelayedCalls()) <= 1)  # the end of a rest
            self.clock.advance(3)
            self.assertIn(a.share, (3, 10))

    def test_the_fewest_connections_for_the_weight(self) -> None:
        group = self.group(1, 1, balance="least-connections", slow_start=20)
        a, _ = group.peers
        group.mark(a, False)
        group.mark(a, True)
        self.assertEqual(Counter(picks(group, 110)), {"a": 10, "b": 100})

    def test_the_only_one_that_is_up_gets_everything(self) -> None:
        group = self.group(1, 1, slow_start=20)
        a, b = group.peers
        group.mark(a, False)
        group.mark(a, True)
        group.mark(b, False)
        self.assertEqual(names(group.pick() for _ in range(3)), "aaa")
