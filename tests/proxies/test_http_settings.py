"""What settings know of themselves."""

from __future__ import annotations

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.proxies.http_case import template
from twisted_pipe.filters.base import FilterPlugin
from twisted_pipe.http.routing import RouteTable, SiteTable
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.http import HttpProxy
from twisted_pipe.proxies.http_settings import (
    Answer,
    ErrorPage,
    FilterUse,
    HeadChanges,
    HttpSettings,
    ProxyTo,
    Route,
    Site,
)

CHANGES = HeadChanges(remove=frozenset({b"x"}))


class HeadChangesTests(SynchronousTestCase):
    def test_whether_there_are_any(self) -> None:
        self.assertFalse(HeadChanges())
        self.assertFalse(HeadChanges(always=True))
        for changes in (CHANGES, HeadChanges(set=((b"A", template("b")),)), HeadChanges(add=((b"A", template("b")),))):
            self.assertTrue(changes)


class HttpSettingsTests(SynchronousTestCase):
    def test_a_response_goes_out_as_it_came_unless_something_looks_at_it(self) -> None:
        use = FilterUse(factory=FilterPlugin("upper", "", "twisted_pipe.filters.upper:Upper").configure({}))
        self.assertTrue(HttpSettings().plain_response)
        self.assertTrue(HttpSettings(error_pages={404: ErrorPage(body=b"")}, request_headers=CHANGES).plain_response)
        for settings in (
            HttpSettings(response_headers=CHANGES),
            HttpSettings(response_filters=(use,)),
            HttpSettings(intercept_errors=True),
        ):
            self.assertFalse(settings.plain_response, settings)

    def test_it_is_found_out_anew_for_a_copy(self) -> None:
        settings = attrs.evolve(HttpSettings(), response_headers=CHANGES, header_buffer_size=100)
        self.assertFalse(settings.plain_response)
        self.assertEqual(settings.head_limits.size, 100)

    def test_the_limits_of_a_head(self) -> None:
        self.assertEqual(HttpSettings().head_limits.size, 32 * 1024)
        self.assertFalse(HttpSettings().head_limits.bare_lf)


class RouteTests(SynchronousTestCase):
    def test_a_request_goes_out_as_it_came_unless_something_is_changed(self) -> None:
        to = ProxyTo(upstream=None)
        self.assertTrue(Route(action=to).plain)
        self.assertTrue(Route(action=to, prefix=b"/x", settings=HttpSettings(response_headers=CHANGES)).plain)
        for route in (
            Route(action=ProxyTo(upstream=None, uri=b"/")),
            Route(action=to, settings=HttpSettings(pass_host=False)),
            Route(action=to, settings=HttpSettings(request_headers=CHANGES)),
        ):
            self.assertFalse(route.plain, route)


class AnswerTests(SynchronousTestCase):
    def test_an_answer_without_a_body(self) -> None:
        self.assertIsNone(Answer(status=204).body)


class TimeoutTests(SynchronousTestCase):
    """The timeouts of a route are kept, however long those of its site are."""

    def test_of_a_route(self) -> None:
        short = HttpSettings(limits=PipeLimits(read_timeout=0.5))
        for settings, period in ((HttpSettings(), 1.25), (short, 0.125)):
            route = Route(action=Answer(status=404), settings=settings)
            site = Site(name="", routes=RouteTable(prefixes={b"/": route}))
            proxy = HttpProxy(SiteTable([((), site)]), Clock(), SpillDirectory())
            self.assertEqual(proxy.watch.period, period)
