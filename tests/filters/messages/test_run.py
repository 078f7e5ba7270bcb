"""Message filters at work, one after the other, as the harness and the proxy run them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.filters.messages.base import MessageFilter
from twisted_pipe.interfaces import MessageContext, OnFailure
from twisted_pipe.messages.reply import Reply
from twisted_pipe.testing import MessageHarness
from twisted_pipe.testing.messages import PlayedExchange


class Noting(MessageFilter):
    """Notes what it sees, and does as it is told."""

    def __init__(
        self,
        name: str = "",
        journal: list[str] | None = None,
        request: Callable[[Any], Any] = lambda _: None,
        response: Callable[[Any], Any] = lambda _: None,
    ) -> None:
        MessageFilter.__init__(self, MessageContext())
        self.name = name
        self.journal = [] if journal is None else journal
        self._on_request, self._on_response = request, response

    def request(self, request: Any) -> Any:
        self.journal.append(f"{self.name} request")
        return self._on_request(request)

    def response(self, response: Any) -> Any:
        self.journal.append(f"{self.name} {response.status}")
        return self._on_response(response)


def raising(error: BaseException) -> Callable[[Any], Any]:
    def call(_: Any) -> Any:
        raise error

    return call


class RunCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal: list[str] = []
        self.clock = Clock()

    def harness(self, *others: dict[str, Any], **more: Any) -> MessageHarness:
        """Filters a, b, c… that do as C{others} say."""
        named = zip("abcdefgh", others, strict=False)
        filters = [Noting(name, self.journal, **calls) for name, calls in named]
        return MessageHarness(*filters, clock=self.clock, **more)

    def exchange(self, *others: dict[str, Any], **more: Any) -> PlayedExchange:
        return self.harness(*others, **more).request()

    def status(self, exchange: PlayedExchange) -> int:
        assert exchange.client_gets is not None
        return exchange.client_gets.status


class OrderTests(RunCase):
    def test_requests_in_order_and_responses_in_the_reverse_one(self) -> None:
        exchange = self.exchange({}, {}, {})
        self.assertEqual(self.journal, ["a request", "b request", "c request"])
        exchange.respond()
        self.assertEqual(self.journal[3:], ["c 200", "b 200", "a 200"])
        self.assertEqual(self.status(exchange), 200)

    def test_a_reply_is_seen_by_those_before_only(self) -> None:
        exchange = self.exchange({}, {}, {"request": lambda _: Reply(403)}, {})
        self.assertEqual(self.journal, ["a request", "b request", "c request", "b 403", "a 403"])
        self.assertIsNone(exchange.upstream_gets)
        self.assertEqual(self.status(exchange), 403)

    def test_a_reply_to_a_response_takes_its_place_for_those_before(self) -> None:
        exchange = self.exchange({}, {"response": lambda _: Reply(410, {"A": "b"}, b"gone")}, {}).respond()
        self.assertEqual(self.journal[3:], ["c 200", "b 200", "a 410"])
        assert exchange.client_gets is not None
        self.assertEqual((exchange.client_gets.status, exchange.client_gets.body), (410, b"gone"))
        self.assertEqual(exchange.client_gets.headers.lines, [b"A: b"])

    def test_each_sees_what_those_before_it_made(self) -> None:
        seen = []

        def note(message: Any) -> None:
            seen.append((message.headers.get("a"), message.request.headers.get("a")))

        exchange = self.exchange(
            {"request": lambda request: request.headers.set("A", "1"), "response": note},
            {
                "request": lambda request: request.headers.set("A", request.headers.get("a") + b"2"),
                "response": lambda response: response.headers.set("A", "3"),
            },
        ).respond()
        assert exchange.upstream_gets is not None
        self.assertEqual(exchange.upstream_gets.headers.get("a"), b"12")
        self.assertEqual(seen, [(b"3", b"12")])

    def test_our_own_pages_are_seen_by_all_that_let_the_request_go_on(self) -> None:
        exchange = self.exchange({}, {}).fail(502)
        self.assertEqual(self.journal[2:], ["b 502", "a 502"])
        self.assertEqual(self.status(exchange), 502)


class WaitTests(RunCase):
    def waiting(self, **more: Any) -> tuple[PlayedExchange, Deferred[Any], list[Deferred[Any]]]:
        cancelled: list[Deferred[Any]] = []
        waited: Deferred[Any] = Deferred(cancelled.append)
        return self.exchange({"request": lambda _: waited}, {}, **more), waited, cancelled

    def test_the_message_is_held(self) -> None:
        exchange, waited, _ = self.waiting()
        self.assertTrue(exchange.waiting)
        self.assertEqual((exchange.upstream_gets, exchange.client_gets), (None, None))
        self.assertEqual(self.journal, ["a request"])
        waited.callback(None)
        self.assertFalse(exchange.waiting)
        self.assertIsNotNone(exchange.upstream_gets)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_it_fires_with_is_what_the_filter_says(self) -> None:
        exchange, waited, _ = self.waiting()
        waited.callback(Reply(401))
        self.assertEqual(self.status(exchange), 401)

    def test_what_has_come_already_is_not_waited_for(self) -> None:
        exchange = self.exchange(*[{"request": lambda _: succeed(None)}] * 8).respond()
        self.assertEqual(self.status(exchange), 200)

    def test_thousands_that_have_come_need_no_stack(self) -> None:
        filters = [Noting(request=lambda _: succeed(None), response=lambda _: succeed(None)) for _ in range(3000)]
        exchange = MessageHarness(*filters).request().respond()
        self.assertEqual(self.status(exchange), 200)

    def test_coroutines_are_waited_for(self) -> None:
        async def ask(request: Any) -> Reply | None:
            await deferLater(self.clock, 2)
            request.headers.set("A", "b")
            return None

        exchange = self.exchange({"request": ask, "response": ask})
        self.assertTrue(exchange.waiting)
        exchange.wait().respond()
        self.assertTrue(exchange.waiting)
        exchange.wait()
        assert exchange.client_gets is not None
        self.assertEqual(exchange.client_gets.headers.get("a"), b"b")

    def test_a_failure_that_comes_is_the_filters(self) -> None:
        exchange, waited, _ = self.waiting()
        waited.errback(KeyError("k"))
        self.assertEqual(str(exchange.failure), "filter 'Noting': KeyError: 'k'")
        self.assertEqual(self.status(exchange), 500)

    def test_in_time_or_not_at_all(self) -> None:
        exchange, _, cancelled = self.waiting(timeout=3)
        self.clock.advance(2.9)
        self.assertTrue(exchange.waiting)
        self.clock.advance(0.2)
        self.assertEqual(len(cancelled), 1)
        self.assertIn("has not come within 3 s", str(exchange.failure))
        self.assertEqual(self.status(exchange), 500)

    def test_without_a_timeout_it_waits_for_ever(self) -> None:
        exchange, _, _ = self.waiting(timeout=0)
        self.clock.advance(1e6)
        self.assertTrue(exchange.waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_goes_cancels_it_and_nobody_is_told(self) -> None:
        exchange, _, cancelled = self.waiting()
        exchange.go_away()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual((exchange.waiting, exchange.failure, exchange.client_gets), (False, None, None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_coroutine_that_is_cancelled_ends(self) -> None:
        ends: list[str] = []

        async def ask(_: Any) -> None:
            try:
                await Deferred()
            except CancelledError:
                ends.append("cancelled")
                raise
            finally:
                ends.append("over")

        self.exchange({"request": ask}).go_away()
        self.assertEqual(ends, ["cancelled", "over"])

    def test_a_coroutine_that_goes_on_all_the_same_changes_nothing(self) -> None:
        async def ask(_: Any) -> Reply:
            with contextlib.suppress(CancelledError):
                await Deferred()
            return Reply(200)

        exchange = self.exchange({"request": ask}, timeout=1)
        self.clock.advance(1)
        self.assertEqual(self.status(exchange), 500)

    def test_a_canceller_that_raises_is_logged(self) -> None:
        exchange = self.exchange({"request": lambda _: Deferred(raising(ValueError("mine")))})
        exchange.go_away()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_one_that_comes_too_late_changes_nothing(self) -> None:
        waited: Deferred[Any] = Deferred(lambda _: None)  # which leaves it to be cancelled by errback
        exchange = self.exchange({"request": lambda _: waited})
        exchange.go_away()
        self.assertTrue(waited.called)
        self.assertIsNone(exchange.upstream_gets)

    def test_a_page_of_ours_gives_up_what_the_response_waited_for(self) -> None:
        cancelled: list[Any] = []
        exchange = self.exchange({}, {"response": lambda _: Deferred(cancelled.append)}).respond()
        self.assertTrue(exchange.waiting)
        exchange.fail(504)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.journal[2:], ["b 200", "a 504"])
        self.assertEqual(self.status(exchange), 504)


class SharedTests(RunCase):
    """A filter gives one Deferred to several requests: what it comes to is so for each of them."""

    def shared(self, **more: Any) -> tuple[list[PlayedExchange], Deferred[Any]]:
        waited: Deferred[Any] = Deferred()
        harness = self.harness({"request": lambda _: waited}, **more)
        return [harness.request() for _ in range(3)], waited

    def statuses(self, exchanges: list[PlayedExchange]) -> list[int]:
        return [self.status(each) for each in exchanges]

    def test_a_reply(self) -> None:
        exchanges, waited = self.shared()
        waited.callback(Reply(401))
        self.assertEqual(self.statuses(exchanges), [401] * 3)

    def test_that_it_may_go_on(self) -> None:
        exchanges, waited = self.shared()
        waited.callback(None)
        self.assertEqual([each.upstream_gets is not None for each in exchanges], [True] * 3)

    def test_what_is_no_answer(self) -> None:
        exchanges, waited = self.shared()
        waited.callback(200)
        self.assertEqual(self.statuses(exchanges), [500] * 3)

    def test_a_failure(self) -> None:
        exchanges, waited = self.shared()
        waited.errback(KeyError("k"))
        self.assertEqual([str(each.failure) for each in exchanges], ["filter 'Noting': KeyError: 'k'"] * 3)
        self.assertEqual(self.statuses(exchanges), [500] * 3)
        self.assertEqual([each.upstream_gets for each in exchanges], [None] * 3)

    def test_one_that_had_come_before(self) -> None:
        for answer, status in ((succeed(Reply(403)), 403), (fail(KeyError("k")), 500)):
            harness = self.harness({"request": lambda _, answer=answer: answer})
            self.assertEqual(self.statuses([harness.request() for _ in range(3)]), [status] * 3)

    def test_the_end_of_one_is_a_failure_of_the_others(self) -> None:
        exchanges, _ = self.shared()
        exchanges[0].go_away()
        self.assertEqual(self.statuses(exchanges[1:]), [500] * 2)
        self.assertIn("CancelledError", str(exchanges[1].failure))
        self.assertIsNone(exchanges[0].client_gets)

    def test_so_is_the_time_of_one(self) -> None:
        exchanges, _ = self.shared(timeout=3)
        self.clock.advance(3)
        self.assertEqual(self.statuses(exchanges), [500] * 3)


class FailureTests(RunCase):
    def test_whatever_it_raises_is_its_failure(self) -> None:
        for error in (ValueError("mine"), SystemExit(3), GeneratorExit(), RecursionError()):
            exchange = self.exchange({"request": raising(error)})
            assert exchange.failure is not None
            self.assertIs(exchange.failure.__cause__, error)
            self.assertEqual(self.status(exchange), 500)

    def test_so_of_a_response(self) -> None:
        exchange = self.exchange({}, {"response": raising(SystemExit(3))}, {}).respond()
        self.assertEqual(str(exchange.failure), "filter 'Noting': SystemExit: 3")
        self.assertEqual(self.journal[3:], ["c 200", "b 200", "a 500"])

    def test_the_page_of_a_failure_is_seen_by_those_before_only(self) -> None:
        self.exchange({}, {"request": raising(ValueError())}, {})
        self.assertEqual(self.journal, ["a request", "b request", "a 500"])

    def test_what_is_no_answer_is_a_failure(self) -> None:
        for answer in (200, "no", b"no", (), object(), Reply, False):
            exchange = self.exchange({"request": lambda _, answer=answer: answer})
            self.assertIn("None, a Reply or an awaitable of one is expected", str(exchange.failure))
            later = self.exchange({"request": lambda _, answer=answer: succeed(answer)})
            self.assertIn("None, a Reply or an awaitable of one is expected", str(later.failure))

    def test_what_only_looks_like_a_deferred_is_one(self) -> None:
        class Fake:
            def addCallbacks(self, *_: Any, **__: Any) -> None:
                raise TypeError("no Deferred")

        exchange = self.exchange({"request": lambda _: Fake()})
        self.assertIn("no Deferred", str(exchange.failure))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_host_that_cannot_be_is_the_filters_failure(self) -> None:
        exchange = self.exchange({"request": lambda request: request.headers.set("Host", "a b")}, {})
        self.assertIn("its host is neither a name nor an address", str(exchange.failure))
        self.assertEqual(self.journal, ["a request"])

    def test_a_path_that_climbs_out_is_the_filters_failure(self) -> None:
        exchange = self.exchange({"request": lambda request: setattr(request, "target", b"/../a")})
        self.assertIn("climbs above the root", str(exchange.failure))

    def test_no_frames_of_it_are_kept(self) -> None:
        def ask(_: Any) -> None:
            secret = object()
            raise ValueError(str(secret is None))

        failure = self.exchange({"request": ask}).failure
        assert failure is not None and failure.__cause__ is not None
        frames = failure.__cause__.__traceback__
        while frames is not None:
            self.assertNotIn("secret", frames.tb_frame.f_locals)
            frames = frames.tb_next


class BypassTests(RunCase):
    def test_the_message_goes_on_as_it_was(self) -> None:
        def half(message: Any) -> None:
            message.headers.set("A", "b")
            raise ValueError("mine")

        exchange = self.exchange({}, {"request": half, "response": half}, {}, on_failure=OnFailure.BYPASS).respond()
        assert exchange.upstream_gets is not None and exchange.client_gets is not None
        self.assertNotIn("a", exchange.upstream_gets.headers)
        self.assertNotIn("a", exchange.client_gets.headers)
        self.assertEqual(self.journal, ["a request", "b request", "c request", "c 200", "b 200", "a 200"])
        self.assertEqual([str(each) for each in exchange.bypassed], ["filter 'Noting': ValueError: mine"] * 2)
        self.assertIsNone(exchange.failure)

    def test_so_when_its_time_is_up_or_what_it_waits_for_fails(self) -> None:
        exchange = self.exchange(
            {"request": lambda _: Deferred()},
            {"request": lambda _: fail(KeyError())},
            on_failure=OnFailure.BYPASS,
            timeout=1,
        )
        self.clock.advance(1)
        self.assertIsNotNone(exchange.upstream_gets)
        self.assertEqual(len(exchange.bypassed), 2)

    def test_what_cannot_be_taken_is_taken_back(self) -> None:
        exchange = self.exchange(
            {"request": lambda request: request.headers.set("Host", "a b")}, on_failure=OnFailure.BYPASS
        )
        assert exchange.upstream_gets is not None
        self.assertEqual(exchange.upstream_gets.headers.lines, [b"Host: example.org"])
