"""Servers are checked at their times, and their group is told of changes."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.upstream.checking import FakeConnector
from twisted_pipe.errors import BadConfiguration, CheckFailed, NotChecked
from twisted_pipe.interfaces import IHealthCheck, IHealthCheckFactory
from twisted_pipe.plugin.options import option
from twisted_pipe.units import parse_text
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer
from twisted_pipe.upstream.health_check import CHECKS, CheckPlugin, CheckSchedule, Initially
from twisted_pipe.upstream.health_checks import HealthChecks
from twisted_pipe.upstream.peer import PeerState


def server(name: str, **settings: Any) -> UpstreamServer:
    return UpstreamServer(f"{name}:80", None, (name, 80), **settings)


@implementer(IHealthCheck)
@attrs.define(eq=False)
class Told:
    """A check that does as the test says."""

    connect: Any
    colour: str = option(parse_text, default="red", help="which")
    asked: list[tuple[str, Deferred[None]]] = attrs.field(factory=list, init=False)
    cancelled: list[str] = attrs.field(factory=list, init=False)

    def check(self, server: Any) -> Deferred[None]:
        asked: Deferred[None] = Deferred(lambda _: self.cancelled.append(server.name))
        self.asked.append((server.name, asked))
        return asked

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]

    def passes(self) -> None:
        self.asked.pop(0)[1].callback(None)

    def fails(self, error: Exception | None = None) -> None:
        self.asked.pop(0)[1].errback(error or CheckFailed("it hurts"))


TOLD = CheckPlugin("told", "As the test says.", f"{__name__}:Told")


class ChecksCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.chance = 0.0
        self.lines: list[str] = []

        def observe(event: LogEvent) -> None:
            self.lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def checks(self, *servers: UpstreamServer, **options: Any) -> HealthChecks:
        self.group = UpstreamGroup(servers or [server("a"), server("b")], name="app", clock=self.clock)
        checks = HealthChecks(self.group, TOLD.configure(options), FakeConnector(), self.clock, lambda: self.chance)
        self.told: Told = checks._check  # type: ignore[assignment]
        checks.start()
        self.addCleanup(checks.stop)
        self.clock.advance(0)
        return checks

    def states(self) -> list[PeerState]:
        return [peer.state for peer in self.group.peers]

    def said(self) -> list[str]:
        lines, self.lines[:] = list(self.lines), []
        return lines

    def repeat(self, *passes: bool, interval: float = 5.0) -> None:
        """The results of so many checks of the one server."""
        for each in passes:
            self.assertEqual(len(self.told.asked), 1)
            self.told.passes() if each else self.told.fails()
            self.clock.advance(interval)


class WhenTests(ChecksCase):
    def test_at_once_and_an_interval_after_each_end(self) -> None:
        self.checks(server("a"), interval="5s")
        self.assertEqual(self.told.names, ["a:80"])
        self.clock.advance(1.5)
        self.told.passes()
        self.clock.advance(4.99)
        self.assertEqual(self.told.names, [])
        self.clock.advance(0.02)
        self.assertEqual(self.told.names, ["a:80"])

    def test_jitter_is_added(self) -> None:
        self.chance = 0.5
        self.checks(server("a"), interval="5s", jitter="2s")
        self.assertEqual(self.told.names, [])
        self.clock.advance(1.0)
        self.assertEqual(self.told.names, ["a:80"])
        self.told.passes()
        self.clock.advance(5.99)
        self.assertEqual(self.told.names, [])
        self.clock.advance(0.02)
        self.assertEqual(self.told.names, ["a:80"])

    def test_a_check_that_takes_too_long_has_failed(self) -> None:
        checks = self.checks(server("a"), timeout="2s")
        self.clock.advance(2)
        self.assertEqual(self.told.cancelled, ["a:80"])
        (told,) = checks.statistics()
        self.assertEqual((told.failures, told.why), (1, "no answer within 2 s"))

    def test_stopped(self) -> None:
        checks = self.checks()
        self.told.passes()
        checks.stop()
        checks.stop()
        self.assertEqual(self.told.cancelled, ["b:80"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.said(), [])

    def test_started_again(self) -> None:
        checks = self.checks(server("a"))
        checks.stop()
        self.told.asked.clear()
        checks.start()
        self.clock.advance(0)
        self.assertEqual(self.told.names, ["a:80"])

    def test_started_again_with_a_server_that_was_unhealthy(self) -> None:
        """It is what it was until C{rise} checks were passed."""
        checks = self.checks(server("a"), fall=1, rise=2)
        self.repeat(False)
        checks.stop()
        self.told.asked.clear()
        checks.start()
        self.clock.advance(0)
        self.assertFalse(checks.statistics()[0].healthy)
        self.repeat(True)
        self.assertEqual(self.states(), [PeerState.UNHEALTHY])
        self.repeat(True)
        self.assertEqual(self.states(), [PeerState.UP])

    def test_servers_that_come_are_checked_and_those_that_go_no_more(self) -> None:
        checks = self.checks()
        self.told.asked.clear()
        self.group.replace([server("b"), server("c")])
        self.clock.advance(0)
        self.assertEqual((self.told.cancelled, self.told.names), (["a:80"], ["c:80"]))
        self.assertEqual([each.server for each in checks.statistics()], ["b:80", "c:80"])

    def test_servers_that_come_when_it_is_stopped(self) -> None:
        checks = self.checks()
        checks.stop()
        self.group.replace([server("c")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_servers_that_are_down_are_not_checked(self) -> None:
        self.checks(server("a", down=True), server("b"))
        self.assertEqual(self.told.names, ["b:80"])


class WhatTests(ChecksCase):
    """What follows from a check."""

    def test_fall(self) -> None:
        self.checks(server("a"), fall=3)
        self.repeat(False, False, True, False, False)
        self.assertEqual(self.states(), [PeerState.UP])
        self.repeat(False)
        self.assertEqual(self.states(), [PeerState.UNHEALTHY])

    def test_rise(self) -> None:
        self.checks(server("a"), fall=1, rise=2)
        self.repeat(False, True, False, True)
        self.assertEqual(self.states(), [PeerState.UNHEALTHY])
        self.repeat(True)
        self.assertEqual(self.states(), [PeerState.UP])

    def test_a_check_that_could_not_be_made_says_nothing_of_the_server(self) -> None:
        """It counts for nothing, and is said once."""
        for initially, state in (("healthy", PeerState.UP), ("unhealthy", PeerState.UNHEALTHY)):
            checks = self.checks(server("a"), fall="2", initially=initially)
            self.said()
            for _ in range(3):
                self.told.fails(NotChecked("Too many open files"))
                self.clock.advance(5)
            self.assertEqual(self.states(), [state])
            self.assertEqual(self.said(), [f"warn: a:80 cannot be checked, and stays {initially}: Too many open files"])
            (told,) = checks.statistics()
            self.assertEqual((told.failures, told.why), (0, "Too many open files"))
            self.told.passes()
            self.assertEqual(self.states(), [PeerState.UP])
            checks.stop()

    def test_another_kind_of_failure(self) -> None:
        checks = self.checks(server("a"), fall=1)
        self.told.fails(ZeroDivisionError("oops"))
        (told,) = checks.statistics()
        self.assertEqual((told.healthy, told.why), (False, "ZeroDivisionError: oops"))

    def test_nobody_is_asked_who_is_not_healthy(self) -> None:
        self.checks(fall=1)
        self.told.fails()
        picked = {getattr(self.group.pick(), "name", None) for _ in range(10)}
        self.assertEqual(picked, {"b:80"})

    def test_what_goes_on_at_a_server_goes_on(self) -> None:
        self.checks(server("a"), fall=1)
        peer = self.group.pick()
        assert peer is not None
        self.told.fails()
        self.assertEqual(peer.active, 1)
        self.group.release(peer)

    def test_unhealthy_until_the_first_check_that_is_passed(self) -> None:
        self.checks(server("a"), initially="unhealthy", rise=3)
        self.assertIsNone(self.group.pick())
        self.repeat(False, True)
        self.assertEqual(self.states(), [PeerState.UP])

    def test_rise_counts_the_next_time(self) -> None:
        self.checks(server("a"), initially="unhealthy", rise=2, fall=1)
        self.repeat(True, False, True)
        self.assertEqual(self.states(), [PeerState.UNHEALTHY])
        self.repeat(True)
        self.assertEqual(self.states(), [PeerState.UP])

    def test_a_server_that_comes_is_not_asked_before_its_first_check(self) -> None:
        """Nor is it given to somebody who waits."""
        self.checks(server("a", max_conns=1), initially="unhealthy")
        self.told.passes()
        self.group.pick()
        waiting = self.group.wait()
        self.group.replace([server("a", max_conns=1), server("b")])
        self.assertNoResult(waiting)
        self.clock.advance(0)
        self.told.passes()
        self.assertEqual(self.successResultOf(waiting).name, "b:80")


class SaidTests(ChecksCase):
    def test_a_line_for_each_change_and_none_for_a_check(self) -> None:
        self.checks(fall=2, rise=2)
        for _ in range(5):
            self.told.fails()
            self.told.passes()
            self.clock.advance(5)
        self.assertEqual(self.said(), ["warn: upstream app: a:80 is unhealthy, and not asked: it hurts"])
        for _ in range(5):
            self.told.passes()
            self.told.passes()
            self.clock.advance(5)
        self.assertEqual(self.said(), ["info: upstream app: a:80 is healthy: 2 checks in a row were passed"])

    def test_statistics(self) -> None:
        checks = self.checks(server("a"), fall=2)
        self.repeat(True, False, False)
        (told,) = checks.statistics()
        self.assertEqual((told.server, told.healthy, told.checks, told.failures), ("a:80", False, 4, 2))
        self.assertEqual((told.in_a_row, told.why), (2, "it hurts"))


class PluginTests(SynchronousTestCase):
    def test_bundled(self) -> None:
        self.assertLessEqual({"http", "tcp"}, {each.name for each in CHECKS.all()})
        for name in ("http", "tcp"):
            plugin = CHECKS.find(name)
            self.assertTrue(verifyObject(IHealthCheckFactory, plugin))
            self.assertTrue(verifyObject(IHealthCheckFactory, plugin.configure({})))
            self.assertTrue(verifyObject(IHealthCheck, plugin.build(FakeConnector())))
            self.assertEqual((plugin.schedule, plugin.configure({}).schedule), (CheckSchedule(), CheckSchedule()))

    def test_the_schedule_is_an_option_of_all(self) -> None:
        text = "tcp:interval=1s:jitter=2s:timeout=3s:rise=4:fall=5:port=6:initially=unhealthy"
        expected = CheckSchedule(
            interval=1.0, jitter=2.0, timeout=3.0, rise=4, fall=5, port=6, initially=Initially.UNHEALTHY
        )
        self.assertEqual(CHECKS.parse(text).schedule, expected)

    def test_options_of_its_own(self) -> None:
        self.assertEqual(TOLD.configure({"colour": "blue"}).build(None).colour, "blue")

    def test_errors(self) -> None:
        for text, error in (
            ("htpp", "check: 'htpp': no such check; did you mean \"http\"?"),
            ("tcp:interval=0", "check tcp: interval: 0.0: must be more than 0 s"),
            ("tcp:timeout=0", "check tcp: timeout: 0.0: must be more than 0 s"),
            ("tcp:rise=0", "check tcp: rise: '0': must be from 1 to 1000"),
            ("tcp:port=65536", "check tcp: port: '65536': must be from 0 to 65535"),
            ("tcp:initially=up", "check tcp: initially: 'up': must be healthy or unhealthy"),
            ("tcp:path=/", "check tcp: path: '/': no such option"),
            ("tcp:expect=a:match=b", "check tcp: match: 'b': must be left out: expect is given"),
            ("tcp:match=(", "check tcp: match: '(': must be a regular expression of Python's: "),
            (r"tcp:send=\\q", r"check tcp: send: '\\q': after a backslash comes"),
            ("http:path=x", "check http: path: 'x': must begin with / and be ASCII without spaces"),
            ("http:path=/ x", "check http: path: '/ x': must begin with /"),
            ("http:method=", "check http: method: '': must be a method"),
            ("http:host=a b", "check http: host: 'a b': must be a host, perhaps with a port"),
            ("http:status=100", "check http: status: '100': must be status codes from 200 to 599"),
            ("http:method=HEAD:body=x", "check http: body: 'x': must be left out with HEAD"),
        ):
            self.assertIn(error, str(self.assertRaises(BadConfiguration, CHECKS.parse, text)))
        for wrong in ("", "2", "200-", "300-200", "600", "200-600", "99", "2000", "200;300", "\u0662\u0660\u0660"):
            self.assertRaises(BadConfiguration, CHECKS.find("http").configure, {"status": wrong})
