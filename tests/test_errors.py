"""Errors name their side, and read as one line of a log."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import ensureDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe import errors
from twisted_pipe.errors import (
    BadConfiguration,
    BadPreface,
    Cancelled,
    CheckFailed,
    DiskFailed,
    DownstreamFailed,
    FilterFailed,
    NoServer,
    NotChecked,
    NotResolved,
    PipeError,
    PipeFinished,
    Side,
    TimedOut,
    UpstreamFailed,
)
from twisted_pipe.filters.discovery import parse_filter_spec

SAMPLES: dict[PipeError, tuple[Side, str]] = {
    BadConfiguration("buffers", 1, "must be at least 2"): (Side.CONFIGURATION, "buffers: 1: must be at least 2"),
    UpstreamFailed("reset by peer"): (Side.UPSTREAM, "reset by peer"),
    CheckFailed("status 503"): (Side.UPSTREAM, "status 503"),
    NoServer("no server is up"): (Side.UPSTREAM, "no server is up"),
    NotChecked("Too many open files"): (Side.CALLER, "Too many open files"),
    NotResolved("nobody answers"): (Side.UPSTREAM, "nobody answers"),
    BadPreface("it begins with no signature"): (Side.DOWNSTREAM, "it begins with no signature"),
    DownstreamFailed("broken pipe"): (Side.DOWNSTREAM, "broken pipe"),
    TimedOut(Side.UPSTREAM, "read timeout", 60.0): (Side.UPSTREAM, "read timeout of 60 s expired"),
    TimedOut(Side.DOWNSTREAM, "send timeout", 0.25): (Side.DOWNSTREAM, "send timeout of 0.25 s expired"),
    FilterFailed("rot13", ValueError("odd")): (Side.FILTER, "filter 'rot13': ValueError: odd"),
    FilterFailed("rot13", "yielded int"): (Side.FILTER, "filter 'rot13': yielded int"),
    DiskFailed("no space left"): (Side.DISK, "no space left"),
    Cancelled("enough"): (Side.CALLER, "enough"),
    PipeFinished("too late"): (Side.CALLER, "too late"),
}


def raised(function: Callable[[], object]) -> FilterFailed:
    """The failure of a filter that has called C{function}."""
    try:
        function()
    except Exception as error:
        return FilterFailed("mine", error)
    raise AssertionError("it raised nothing")


def without_test(error: BaseException) -> BaseException:
    """C{error} as it is without the test's own frame, in which it was caught."""
    trace = error.__traceback__
    assert trace is not None
    return error.with_traceback(trace.tb_next)


class PlaceTests(SynchronousTestCase):
    """Who has written a filter is told where it has failed."""

    def test_the_line_that_has_raised(self) -> None:
        def mine() -> None:
            raise KeyError("x")

        line = mine.__code__.co_firstlineno + 1
        self.assertEqual(raised(mine).describe(), f"filter 'mine': KeyError: 'x' (at test_errors.py:{line})")
        self.assertEqual(str(raised(mine)), "filter 'mine': KeyError: 'x'")

    def test_not_that_of_the_library_that_it_has_called(self) -> None:
        def mine() -> None:
            json.loads("{")

        self.assertEqual(raised(mine).place, f"test_errors.py:{mine.__code__.co_firstlineno + 1}")

    def test_a_coroutine_has_one_too(self) -> None:
        async def mine() -> None:
            await succeed(None)
            raise KeyError("x")

        failures: list[FilterFailed] = []
        ensureDeferred(mine()).addErrback(lambda failure: failures.append(FilterFailed("mine", failure.value)))
        self.assertEqual(failures[0].place, f"test_errors.py:{mine.__code__.co_firstlineno + 2}")

    def test_a_file_of_plugins_is_its_author_s(self) -> None:
        """C{twisted.plugins} is everybody's."""
        names: dict[str, Any] = {"__name__": "twisted.plugins.mine"}
        exec(compile("def mine():\n    raise KeyError('x')\n", "/home/me/twisted/plugins/mine.py", "exec"), names)
        with self.assertRaises(KeyError) as caught:
            names["mine"]()
        self.assertEqual(FilterFailed("mine", without_test(caught.exception)).place, "mine.py:2")

    def test_what_was_never_raised_has_none(self) -> None:
        self.assertEqual(FilterFailed("mine", TimeoutError("late")).place, "")

    def test_nor_has_what_is_ours(self) -> None:
        with self.assertRaises(BadConfiguration) as caught:
            parse_filter_spec("throttle:rate=x")
        self.assertEqual(FilterFailed("mine", without_test(caught.exception)).place, "")


class ErrorTests(SynchronousTestCase):
    def test_each_names_its_side(self) -> None:
        for error, (side, _) in SAMPLES.items():
            self.assertIs(error.side, side, repr(error))

    def test_each_reads_as_a_line(self) -> None:
        for error, (_, line) in SAMPLES.items():
            self.assertEqual(str(error), line)

    def test_described_with_their_side(self) -> None:
        self.assertEqual(
            [error.describe() for error in SAMPLES],
            [
                "buffers: 1: must be at least 2",
                "upstream: reset by peer",
                "upstream: status 503",
                "upstream: no server is up",
                "Too many open files",
                "upstream: nobody answers",
                "downstream: it begins with no signature",
                "downstream: broken pipe",
                "upstream: read timeout of 60 s expired",
                "downstream: send timeout of 0.25 s expired",
                "filter 'rot13': ValueError: odd",
                "filter 'rot13': yielded int",
                "disk: no space left",
                "enough",
                "too late",
            ],
        )

    def test_described_in_the_readers_words(self) -> None:
        """Of a request, the client is the upstream."""
        words = ("client", "server")
        self.assertEqual(UpstreamFailed("reset by peer").describe(*words), "client: reset by peer")
        self.assertEqual(DownstreamFailed("broken pipe").describe(*words), "server: broken pipe")

    def test_none_is_left_out(self) -> None:
        public = {getattr(errors, name) for name in errors.__all__} - {Side, PipeError}
        self.assertEqual(public, {type(error) for error in SAMPLES})

    def test_one_except_catches_them_all(self) -> None:
        for error in SAMPLES:
            self.assertIsInstance(error, PipeError)

    def test_bad_configuration_is_a_value_error(self) -> None:
        self.assertIsInstance(BadConfiguration("name", 1, "right"), ValueError)

    def test_they_tell_what_they_were_made_of(self) -> None:
        bad = BadConfiguration("buffers", 1, "must be at least 2")
        self.assertEqual((bad.name, bad.value, bad.expected), ("buffers", 1, "must be at least 2"))
        late = TimedOut(Side.UPSTREAM, "read timeout", 60.0)
        self.assertEqual((late.what, late.seconds), ("read timeout", 60.0))
        problem = ValueError("odd")
        self.assertEqual(
            (FilterFailed("rot13", problem).name, FilterFailed("rot13", problem).problem), ("rot13", problem)
        )

    def test_one_timeout_does_not_change_the_side_of_others(self) -> None:
        TimedOut(Side.DOWNSTREAM, "send timeout", 1.0)
        self.assertEqual((TimedOut.side, PipeError.side), (Side.CALLER, Side.CALLER))

    def test_they_survive_pickling(self) -> None:
        """trial's workers and other processes pass them on."""
        for error, (side, line) in SAMPLES.items():
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), again.side, str(again)), (type(error), side, line))

    def test_sides_read_as_words(self) -> None:
        self.assertEqual(
            [str(side) for side in Side], ["upstream", "downstream", "filter", "disk", "configuration", "caller"]
        )
