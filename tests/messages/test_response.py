"""A response as filters change it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.messages.test_request import message
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.filters.upper import Upper
from twisted_pipe.interfaces import FilterContext, OnFailure
from twisted_pipe.messages.response import ResponseMessage


def response(status: int = 200, **more: Any) -> ResponseMessage:
    return ResponseMessage(message(), status, [b"A: b"], variable=lambda name: name.encode(), **more)


class StatusTests(SynchronousTestCase):
    def test_it_can_be_changed(self) -> None:
        found = response()
        found.status = 404
        self.assertEqual(found.status, 404)

    def test_to_one_that_frames_the_body_alike_only(self) -> None:
        for status, other in ((200, 204), (200, 304), (204, 200), (304, 500), (101, 200), (101, 204)):
            self.assertIn(
                "return a Reply", str(self.assertRaises(ValueError, setattr, response(status), "status", other))
            )
        found = response(204)
        found.status = 304
        self.assertEqual(found.status, 304)

    def test_to_a_final_one_only(self) -> None:
        for status in (101, 199, 600, "404"):
            self.assertRaises(ValueError, setattr, response(), "status", status)

    def test_frozen_it_stays(self) -> None:
        found = response()
        found.freeze("too late")
        self.assertRaises(ValueError, setattr, found, "status", 404)

    def test_what_was_saved_can_be_had_back(self) -> None:
        found = response()
        saved = found.saved()
        found.status = 404
        found.headers.remove("A")
        found.filter_body(Upper)
        found.restore(saved)
        self.assertEqual((found.status, found.headers.lines, found.body_filters), (200, [b"A: b"], ()))


class BodyFilterTests(SynchronousTestCase):
    def test_a_plugin_stays_what_it_is(self) -> None:
        found, upper = response(), find_filter("upper")
        found.filter_body(upper)
        self.assertEqual(found.body_filters, (upper,))

    def test_a_class_or_function_becomes_a_factory(self) -> None:
        found = response()
        found.filter_body(Upper)
        found.filter_body(lambda context: Upper(context), name="mine")
        first, second = found.body_filters
        self.assertEqual((first.name, second.name), ("Upper", "mine"))
        self.assertEqual((first.on_failure, first.timeout), (OnFailure.ABORT, 60))
        self.assertIs(first.configure({}), first)
        self.assertIsInstance(second.build(FilterContext()), Upper)

    def test_a_name_or_a_filter_that_is_made_is_neither(self) -> None:
        """It is told where it was asked for, and what would be right."""
        for wrong in ("upper", Upper(FilterContext()), None):
            error = self.assertRaises(TypeError, response().filter_body, wrong)
            self.assertIn("another function of the context is needed, to make one for each body: ", str(error))

    def test_a_page_of_our_own_passes_none(self) -> None:
        self.assertRaises(ValueError, response(own=True).filter_body, Upper)
