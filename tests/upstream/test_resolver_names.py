"""Names that are kept looked up: when they are asked for, what becomes of answers, what is said of it."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.resolving import FakeResolver, made
from twisted_pipe.errors import NoServer, NotResolved
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer
from twisted_pipe.upstream.group_names import GroupNames, NamedServers
from twisted_pipe.upstream.name_watch import NameState
from twisted_pipe.upstream.resolution import Bounds

FIXED = UpstreamServer("192.0.2.1:80", None, ("192.0.2.1", 80))


class NamesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.resolver = FakeResolver()
        self.lines: list[str] = []

        def observe(event: LogEvent) -> None:
            self.lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def names(self, *places: Any, start: bool = True, **bounds: Any) -> GroupNames:
        """Of the group C{app}; text is a name."""
        fixed = [each for each in places if isinstance(each, UpstreamServer)]
        group = UpstreamGroup(fixed, name="app", clock=self.clock)
        servers = [NamedServers(each, made) if isinstance(each, str) else each for each in places]
        names = GroupNames(group, servers, self.resolver, Bounds(**bounds), self.clock)
        if start:
            names.start()
            self.addCleanup(names.stop)
        return names

    def addresses(self, names: GroupNames) -> list[str]:
        return [server.name for server in names.group.servers]

    def said(self) -> list[str]:
        lines, self.lines[:] = list(self.lines), []
        return lines


class WhenTests(NamesCase):
    """When a name is looked up."""

    def asked_after(self, seconds: float) -> None:
        """Not before, and then once."""
        self.clock.advance(seconds - 0.01)
        self.assertEqual(self.resolver.names, [])
        self.clock.advance(0.02)
        self.assertEqual(self.resolver.names, ["app.test:80"])

    def test_at_the_start_and_when_the_answer_holds_no_more(self) -> None:
        self.names("app.test:80")
        for valid in (30.0, 7.0, 300.0):
            self.assertEqual(self.resolver.names, ["app.test:80"])
            self.resolver.answer("10.0.0.1:80", valid=valid)
            self.asked_after(valid)

    def test_not_before_the_answer_to_the_last_question(self) -> None:
        self.names("app.test:80", timeout=100.0)
        self.clock.advance(99)
        self.assertEqual(len(self.resolver.asked), 1)

    def test_not_more_often_than_min_valid(self) -> None:
        self.names("app.test:80", min_valid=2.0)
        self.resolver.answer("10.0.0.1:80", valid=0.0)
        self.asked_after(2.0)

    def test_not_less_often_than_max_valid(self) -> None:
        self.names("app.test:80", max_valid=60.0)
        self.resolver.answer("10.0.0.1:80", valid=86400.0)
        self.asked_after(60.0)

    def test_valid_holds_whatever_the_answer_says(self) -> None:
        for valid in (1.0, 86400.0, None):
            names = self.names("app.test:80", valid=20.0)
            self.resolver.answer("10.0.0.1:80", valid=valid)
            self.asked_after(20.0)
            names.stop()
            self.resolver.asked.clear()

    def test_never_again_if_the_answer_holds_for_ever(self) -> None:
        self.names("app.test:80")
        self.resolver.answer("10.0.0.1:80", valid=None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failures_are_tried_again_with_growing_delays(self) -> None:
        self.names("app.test:80")
        for delay in (1, 2, 4, 8, 16, 32, 60, 60):
            self.resolver.fail()
            self.asked_after(delay)
        self.resolver.answer("10.0.0.1:80", valid=30.0)
        self.asked_after(30.0)
        self.resolver.fail()
        self.asked_after(1)

    def test_an_answer_that_does_not_come_is_a_failure(self) -> None:
        names = self.names("app.test:80", timeout=15.0)
        self.clock.advance(15.01)
        self.assertEqual(self.resolver.cancelled, ["app.test:80"])
        self.resolver.asked.clear()
        (name,) = names.names
        self.assertEqual((name.state, name.problem), (NameState.UNKNOWN, "no answer within 15 s"))
        self.asked_after(0.99)

    def test_stopped_while_it_is_asked(self) -> None:
        names = self.names("app.test:80", "two.test:80")
        names.stop()
        self.assertEqual(self.resolver.cancelled, ["app.test:80", "two.test:80"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.said(), [])

    def test_stopped_while_it_waits(self) -> None:
        names = self.names("app.test:80")
        self.resolver.answer("10.0.0.1:80")
        names.stop()
        names.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.addresses(names), ["10.0.0.1:80"])

    def test_nobody_waits_for_it_when_it_is_stopped(self) -> None:
        names = self.names("app.test:80")
        waiting = names.group.wait()
        names.stop()
        self.failureResultOf(waiting, NoServer)

    def test_started_again(self) -> None:
        names = self.names("app.test:80")
        self.resolver.answer("10.0.0.1:80")
        names.stop()
        names.start()
        self.resolver.answer("10.0.0.2:80")
        self.assertEqual(self.addresses(names), ["10.0.0.2:80"])


class WhatTests(NamesCase):
    """What becomes of an answer."""

    def test_servers_stand_where_their_name_does(self) -> None:
        names = self.names("one.test:80", FIXED, "two.test:80")
        self.assertEqual(self.addresses(names), ["192.0.2.1:80"])
        self.resolver.answer("10.0.0.1:80", "10.0.0.2:80")
        self.resolver.answer("10.0.1.1:80")
        self.assertEqual(self.addresses(names), ["10.0.0.1:80", "10.0.0.2:80", "192.0.2.1:80", "10.0.1.1:80"])

    def test_those_that_stay_are_the_same_and_those_that_go_finish_what_they_have(self) -> None:
        names = self.names("app.test:80")
        removed: list[str] = []
        names.group.on_removed(lambda peer: removed.append(peer.name))
        self.resolver.answer("10.0.0.1:80", "10.0.0.2:80")
        first, second = names.group.peers
        names.group.pick()
        names.group.pick()
        self.clock.advance(30)
        self.resolver.answer("10.0.0.2:80", "10.0.0.3:80")
        self.assertIs(names.group.peers[0], second)
        self.assertEqual((removed, first.active, second.active), (["10.0.0.1:80"], 1, 1))
        names.group.release(first)
        self.assertEqual(first.active, 0)

    def test_the_order_of_the_answer_and_repetitions_do_not_matter(self) -> None:
        names = self.names("app.test:80")
        self.resolver.answer("10.0.0.10:80", "10.0.0.9:80", "[2001:db8::1]:80")
        before = names.group.peers
        self.clock.advance(30)
        self.resolver.answer("[2001:db8::1]:80", "10.0.0.9:80", "10.0.0.9:80", "10.0.0.10:80")
        self.assertEqual(self.addresses(names), ["10.0.0.9:80", "10.0.0.10:80", "[2001:db8::1]:80"])
        self.assertIs(names.group.peers, before)

    def test_a_new_weight_is_a_change_of_the_same_server(self) -> None:
        names = self.names("app.test:80")
        self.resolver.answer("10.0.0.1:80*3")
        (peer,) = names.group.peers
        self.clock.advance(30)
        self.resolver.answer("10.0.0.1:80*5")
        self.assertEqual(([*names.group.peers], peer.server.weight), ([peer], 5))

    def test_no_more_than_max_servers(self) -> None:
        names = self.names("app.test:80", max_servers=2)
        self.resolver.answer("10.0.0.3:80", "10.0.0.2:80", "10.0.0.1:80")
        self.assertEqual(self.addresses(names), ["10.0.0.1:80", "10.0.0.2:80"])
        self.assertIn("it stands for 3 servers, of which max_servers, 2, are used", "".join(self.said()))

    def test_what_was_known_stays_when_it_cannot_be_looked_up(self) -> None:
        names = self.names("app.test:80")
        self.resolver.answer("10.0.0.1:80")
        before = names.group.peers
        self.clock.advance(30)
        for _ in range(3):
            self.resolver.fail()
            self.clock.advance(60)
        self.assertIs(names.group.peers, before)

    def test_an_answer_without_servers_takes_them_away(self) -> None:
        names = self.names("app.test:80")
        self.resolver.answer("10.0.0.1:80")
        self.clock.advance(30)
        self.resolver.answer()
        self.assertEqual(self.addresses(names), [])
        error = self.failureResultOf(names.group.wait(), NoServer).value
        self.assertEqual(str(error), "app.test:80 stands for no server")

    def test_an_answer_that_is_none_is_a_failure(self) -> None:
        names = self.names("app.test:80")
        self.resolver._next().callback("10.0.0.1")
        (name,) = names.names
        self.assertEqual(name.state, NameState.UNKNOWN)
        self.assertIn("AttributeError", name.problem)


class FirstTests(NamesCase):
    """Before anything is known."""

    def test_who_asks_waits_for_the_first_answer(self) -> None:
        names = self.names("app.test:80")
        self.assertIsNone(names.group.pick())
        waiting = names.group.wait()
        self.assertNoResult(waiting)
        self.resolver.answer("10.0.0.1:80")
        self.assertEqual(self.successResultOf(waiting).name, "10.0.0.1:80")

    def test_who_waits_is_told_when_it_cannot_be_had(self) -> None:
        names = self.names("app.test:80")
        waiting: Deferred[Any] = names.group.wait()
        self.resolver.fail()
        for refused in (waiting, names.group.wait()):
            error = self.failureResultOf(refused, NoServer).value
            self.assertEqual(str(error), "app.test:80 cannot be looked up: nobody knows")
        self.clock.advance(1)
        self.resolver.answer("10.0.0.1:80")
        peer = names.group.pick()
        assert peer is not None
        self.assertEqual(peer.name, "10.0.0.1:80")

    def test_one_name_that_cannot_be_had_leaves_hope_for_the_others(self) -> None:
        names = self.names("one.test:80", "two.test:80")
        waiting = names.group.wait()
        self.resolver.fail()
        self.assertNoResult(waiting)
        self.resolver.answer("10.0.0.1:80")
        self.assertEqual(self.successResultOf(waiting).name, "10.0.0.1:80")

    def test_with_a_server_of_one_name_nobody_waits_for_the_others(self) -> None:
        names = self.names("one.test:80", "two.test:80")
        self.resolver.answer("10.0.0.1:80")
        peer = names.group.pick()
        assert peer is not None
        self.failureResultOf(names.group.wait(tried=[peer]), NoServer)

    def test_with_a_server_that_has_no_name_nobody_waits_for_names(self) -> None:
        names = self.names("one.test:80", FIXED)
        peer = names.group.pick()
        assert peer is not None
        self.failureResultOf(names.group.wait(tried=[peer]), NoServer)

    def test_who_asks_after_another_start_is_told_too(self) -> None:
        """Also if the answer is the same as before."""
        for answer in (self.resolver.fail, self.resolver.answer):
            names = self.names("one.test:80", "two.test:80")
            for _ in range(2):
                waiting = names.group.wait()
                answer()
                self.assertNoResult(waiting)
                answer()
                self.failureResultOf(waiting, NoServer)
                self.failureResultOf(names.group.wait(), NoServer)
                names.stop()
                names.start()
            names.stop()
            self.resolver.asked.clear()

    def test_who_asks_is_told_why_there_is_none_now(self) -> None:
        names = self.names("one.test:80")
        self.resolver.answer()
        self.clock.advance(30)
        for problem in ("nobody knows", "nor now"):
            self.resolver.fail(NotResolved(problem))
            error = self.failureResultOf(names.group.wait(), NoServer).value
            self.assertEqual(str(error), f"one.test:80 cannot be looked up: {problem}")
            self.clock.advance(1)

    def test_a_server_that_is_down_is_none_to_be_content_with(self) -> None:
        names = self.names("one.test:80", "two.test:80", attrs.evolve(FIXED, down=True))
        waiting = names.group.wait()
        self.resolver.fail()
        self.assertNoResult(waiting)
        self.resolver.answer("10.0.0.1:80")
        self.assertEqual(self.successResultOf(waiting).name, "10.0.0.1:80")

    def test_nobody_waits_before_the_start_nor_for_ever(self) -> None:
        names = self.names("one.test:80", start=False)
        self.failureResultOf(names.group.wait(), NoServer)


class SaidTests(NamesCase):
    """A line for each change, none for an answer that changes nothing."""

    def test_lines(self) -> None:
        self.names("app.test:80")
        self.resolver.answer("10.0.0.1:80", "10.0.0.2:80")
        self.assertEqual(self.said(), ["info: upstream app: app.test:80: 2 servers; added 10.0.0.1:80, 10.0.0.2:80"])
        self.clock.advance(30)
        self.resolver.answer("10.0.0.2:80", "10.0.0.3:80")
        self.assertEqual(
            self.said(), ["info: upstream app: app.test:80: 2 servers; added 10.0.0.3:80; removed 10.0.0.1:80"]
        )
        self.clock.advance(30)
        self.resolver.answer("10.0.0.3:80", "10.0.0.2:80")
        self.assertEqual(self.said(), [])
        self.clock.advance(30)
        self.resolver.fail()
        self.assertEqual(
            self.said(), ["error: upstream app: app.test:80: cannot be looked up, stays with 2 servers: nobody knows"]
        )
        self.clock.advance(1)
        self.resolver.fail()
        self.assertEqual(self.said(), [])
        self.clock.advance(2)
        self.resolver.answer("10.0.0.3:80", "10.0.0.2:80", problem="AAAA: no answer")
        self.assertEqual(self.said(), ["warn: upstream app: app.test:80: is known in part only: AAAA: no answer"])
        self.clock.advance(30)
        self.resolver.answer("10.0.0.3:80", "10.0.0.2:80")
        self.assertEqual(self.said(), ["info: upstream app: app.test:80: can be looked up again"])

    def test_that_nothing_is_known_from_the_start(self) -> None:
        self.names("app.test:80")
        self.resolver.fail(OSError("no route"))
        self.assertEqual(
            self.said(),
            ["error: upstream app: app.test:80: cannot be looked up, no server is known: OSError: no route"],
        )

    def test_that_a_name_stands_for_nothing_from_the_start(self) -> None:
        """It may be misspelt; and the log is where one looks for the reason of 502s."""
        self.names("app.test:80")
        line = ["error: upstream app: app.test:80: stands for no server"]
        self.resolver.answer()
        self.assertEqual(self.said(), line)
        self.clock.advance(30)
        self.resolver.answer()
        self.assertEqual(self.said(), [])
        self.clock.advance(30)
        self.resolver.fail()
        self.said()
        self.clock.advance(1)
        self.resolver.answer()
        self.assertEqual(self.said(), line)

    def test_a_line_is_no_longer_than_it_has_to_be(self) -> None:
        self.names("app.test:80")
        self.resolver.answer(*(f"10.0.0.{number}:80" for number in range(1, 100)))
        (line,) = self.said()
        self.assertIn("99 servers; added 10.0.0.1:80, ", line)
        self.assertIn("10.0.0.8:80 and 91 more", line)

    def test_statistics(self) -> None:
        names = self.names("app.test:80")
        self.resolver.answer("10.0.0.1:80")
        self.clock.advance(30)
        self.resolver.fail()
        (name,) = names.statistics()
        self.assertEqual((name.address, name.state, name.problem), ("app.test:80", NameState.UNKNOWN, "nobody knows"))
        self.assertEqual((name.servers, name.lookups, name.failures), (("10.0.0.1:80",), 2, 1))
