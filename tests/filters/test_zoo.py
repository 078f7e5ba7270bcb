"""
A zoo of hostile filters.

Each test says what becomes of the pipe that an animal stands in: which error, of which filter. And whatever it does, the same
holds after each test: no buffer and no timer is left, and a bystander, a pipe with a filter of its own on the same clock, goes on
as if nothing had been.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import attrs
from twisted.internet.defer import AlreadyCalledError, CancelledError, Deferred, fail, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.fakes import SMALL, Engine, MemoryTransport, PipeCase
from tests.proxies.test_tcp import SETTINGS, ProxyCase
from twisted_pipe.errors import Cancelled, FilterFailed, PipeFinished
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext, IPipeFilterFactory, NamedFilter, OnFailure
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.driver import EventPipe, slab_pool

NO_SPILL = attrs.evolve(SMALL, max_temp_file_size=0)
CALLS = ("started", "received", "ended")


class Escaped(BaseException):
    """No C{Exception}, and none that Python knows."""


class Mute(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no comment")


def recurse(*arguments: object) -> Any:
    return recurse(*arguments)


def raising(error: type[BaseException]) -> Callable[..., Any]:
    """What raises C{error}; a C{RecursionError} in the usual way."""

    def boom(*arguments: object) -> Any:
        if error is RecursionError:
            recurse()
        raise error("boom")

    return boom


#: What a filter may raise. None of them ends the process, or is taken for the end of its output.
ERRORS: list[type[BaseException]] = [
    ZeroDivisionError,
    RecursionError,
    MemoryError,
    StopIteration,
    StopAsyncIteration,
    CancelledError,
    asyncio.CancelledError,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
    Escaped,
]


class Animal(PipeFilter):
    """
    Does as it is told in the calls that are named, and passes everything on in the others.

    @ivar stops: what C{stopped} was called with.
    """

    def __init__(self, **behaviour: Callable[..., Any]) -> None:
        PipeFilter.__init__(self, FilterContext())
        self.behaviour = behaviour
        self.stops: list[BaseException | None] = []

    def started(self) -> Any:
        return self.behaviour.get("started", lambda: ())()

    def received(self, data: memoryview) -> Any:
        return self.behaviour.get("received", lambda data: (data,))(data)

    def ended(self) -> Any:
        return self.behaviour.get("ended", lambda: ())()

    def stopped(self, reason: BaseException | None) -> None:
        self.stops.append(reason)
        self.behaviour.get("stopped", lambda reason: None)(reason)


def plainly(boom: Callable[..., Any]) -> Callable[..., Any]:
    """In the call itself."""
    return boom


def in_a_generator(boom: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Iterator[Any]:
        boom()
        yield b""

    return call


def after_output(boom: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Iterator[Any]:
        yield b"out"
        boom()

    return call


def after_what_has_fired(boom: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Iterator[Any]:
        yield succeed(1)
        boom()

    return call


def in_a_coroutine(boom: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*arguments: Any) -> None:
        boom()

    return call


def in_an_asynchronous_generator(boom: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*arguments: Any) -> AsyncIterator[bytes]:
        yield b"out"
        boom()

    return call


def in_what_it_waits_for(boom: Callable[..., Any]) -> Callable[..., Any]:
    async def answer() -> None:
        boom()

    return lambda *arguments: iter([answer()])


def in_a_list_of_one_that_fired(thing: Any) -> Callable[..., Any]:
    """What a Deferred fires with, before C{thing} itself."""
    return lambda *arguments: [succeed(thing), thing]


def while_it_is_iterated(boom: Callable[..., Any]) -> Callable[..., Any]:
    class Output:
        def __iter__(self) -> Iterator[Any]:
            boom()
            return iter(())

    return lambda *arguments: Output()


FORMS = [
    plainly,
    in_a_generator,
    after_output,
    after_what_has_fired,
    in_a_coroutine,
    in_an_asynchronous_generator,
    in_what_it_waits_for,
    while_it_is_iterated,
]


class ZooCase(PipeCase):
    """
    @ivar downstream: of the pipe with the animal that was let in last; likewise C{upstream}.
    @ivar bystander: another pipe.
    """

    def setUp(self) -> None:
        PipeCase.setUp(self)
        self.upstream = self.downstream = MemoryTransport()
        self.seen = MemoryTransport()
        patient = attrs.evolve(SMALL, read_timeout=0.0)
        self.bystander = self.pipe(MemoryTransport(), self.seen, [NamedFilter("bystander", Animal())], patient)
        self.addCleanup(self.assert_bystander_unharmed)

    def assert_bystander_unharmed(self) -> None:
        self.bystander.write(b"still here")
        self.assertEqual(self.seen.take(), b"still here")
        self.bystander.upstream_ended()
        self.assertTrue(self.outcome(self.bystander).clean)
        self.assertEqual(self.seen.ends, ["half"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def let_in(
        self, animal: Any, limits: PipeLimits = SMALL, room: int = 1 << 30, alone: bool = False, **more: Any
    ) -> EventPipe:
        """A pipe with C{animal}, called C{hostile}, between two innocent neighbours unless it is to be alone."""
        self.upstream, self.downstream = MemoryTransport(), MemoryTransport(room)
        filters = [NamedFilter("hostile", animal, **more)]
        if not alone:
            filters = [NamedFilter("before", Animal()), *filters, NamedFilter("behind", Animal())]
        return self.pipe(self.upstream, self.downstream, filters, limits)

    def live(self, animal: Any, data: bytes = b"data", **more: Any) -> EventPipe:
        """A whole life, as far as it goes."""
        pipe = self.let_in(animal, **more)
        if pipe not in self.outcomes:
            pipe.write(data)
        if pipe not in self.outcomes:
            pipe.upstream_ended()
        return pipe

    def assert_failed(self, pipe: EventPipe, why: str = "", message: object = "") -> FilterFailed:
        """It has ended uncleanly, and it was the animal."""
        outcome = self.outcome(pipe)
        error = outcome.error
        assert isinstance(error, FilterFailed), (message, error)
        self.assertEqual((error.name, str(outcome.side)), ("hostile", "filter"), message)
        self.assertTrue(str(error).startswith("filter 'hostile': "), (message, str(error)))
        self.assertIn(why, str(error), message)
        self.assertEqual(self.downstream.ends, ["abort"], f"{message}: never a clean end")
        self.assertEqual(self.upstream.calls[-1], "stop", message)
        self.assertEqual(self.in_use(), 0, message)
        return error

    def turn(self, count: int = 1) -> None:
        """What is due, but not yet what that makes due: a C{Clock} would do both."""
        for _ in range(count):
            due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
            for call in due:
                self.clock.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class RaisesTests(ZooCase):
    def test_anything_anywhere(self) -> None:
        """In each call, in each form of it: that pipe fails, and says why."""
        for error in ERRORS:
            for form in FORMS:
                for where in CALLS:
                    message = (error.__name__, form.__name__, where)
                    animal = Animal(**{where: form(raising(error))})
                    pipe = self.live(animal)
                    failed = self.assert_failed(pipe, message=message)
                    self.assertEqual(animal.stops, [failed], message)
                    if error not in (
                        StopIteration,
                        StopAsyncIteration,
                    ):  # which Python turns into a RuntimeError here and there
                        self.assertIn(error.__name__, str(failed), message)

    def test_what_it_waits_for_fails(self) -> None:
        """At once or later, whatever the error."""
        for error in ERRORS:
            for later in (False, True):
                message = (error.__name__, later)
                gate: Deferred[bytes] = Deferred()
                pipe = self.let_in(Animal(received=lambda data, gate=gate: (item for item in [gate])))
                if not later:
                    gate.errback(error("boom"))
                pipe.write(b"data")
                if later:
                    self.assert_running(pipe)
                    gate.errback(error("boom"))
                self.assert_failed(pipe, message=message)

    def test_what_a_coroutine_waits_for_fails(self) -> None:
        """It is told, whatever the error; what it raises then is its failure."""
        for error in ERRORS:
            for later in (False, True):
                message = (error.__name__, later)
                gate: Deferred[bytes] = Deferred()
                told: list[str] = []

                async def received(data: memoryview, gate: Deferred[bytes] = gate, told: list[str] = told) -> bytes:
                    try:
                        return await gate
                    except BaseException as problem:
                        told.append(type(problem).__name__)
                        raise

                pipe = self.let_in(Animal(received=received))
                if not later:
                    gate.errback(error("boom"))
                pipe.write(b"data")
                if later:
                    self.assert_running(pipe)
                    gate.errback(error("boom"))
                self.assert_failed(pipe, message=message)
                if error is not StopIteration:  # which Python turns into a RuntimeError on its way
                    self.assertEqual(told, [error.__name__], message)

    def test_in_stopped(self) -> None:
        """It is logged with its name and changes nothing: the other filters are stopped, too, and the end is clean."""
        for error in ERRORS:
            with capturedLogs() as logs:
                pipe = self.live(Animal(stopped=raising(error)))
            self.assertTrue(self.outcome(pipe).clean, error)
            self.assertEqual(self.downstream.value(), b"data")
            self.assertEqual(self.downstream.ends, ["half"])
            [line] = [str(formatEvent(event)) for event in logs]
            self.assertIn(f"filter 'hostile': {error.__name__}", line)

    def test_in_stopped_after_a_failure(self) -> None:
        """The error stays the first."""
        for error in ERRORS:
            with capturedLogs() as logs:
                pipe = self.live(Animal(received=raising(KeyError), stopped=raising(error)))
            self.assert_failed(pipe, "KeyError")
            self.assertEqual(len(logs), 1)

    def test_when_it_is_closed(self) -> None:
        """A C{finally} that raises, or goes on as if nothing had been: logged with its name."""
        for error in ERRORS:

            def received(data: memoryview, error: type[BaseException] = error) -> Iterator[Any]:
                try:
                    yield Deferred()
                finally:
                    raising(error)()

            pipe = self.let_in(Animal(received=received))
            pipe.write(b"data")
            with capturedLogs() as logs:
                pipe.abandon(Cancelled("enough"))
            self.assertEqual(str(self.outcome(pipe).error), "enough", error)
            self.assertEqual(self.in_use(), 0, error)
            lines = [str(formatEvent(event)) for event in logs]
            if error is not GeneratorExit:  # which is how a generator is closed
                self.assertEqual(len(lines), 1, error)
                self.assertIn("filter 'hostile': ", lines[0])

    def test_will_not_be_closed(self) -> None:
        """It is asked once, and that it did not obey is logged; the rest is between Python's garbage collector and it."""

        def generator(data: memoryview) -> Iterator[Any]:
            for _ in range(2):
                with contextlib.suppress(GeneratorExit):
                    yield Deferred()

        async def asynchronous(data: memoryview) -> AsyncIterator[bytes]:
            for _ in range(2):
                with contextlib.suppress(GeneratorExit):
                    yield b"x" * 500
            yield b"once only: the collector must not complain"

        async def coroutine(data: memoryview) -> None:
            for _ in range(2):  # what it waits for is cancelled first
                with contextlib.suppress(BaseException):
                    await Deferred()
            await Deferred()

        for received in (generator, asynchronous, coroutine):
            animal = Animal(received=received)
            pipe = self.let_in(animal, room=1)
            pipe.write(b"data")
            with capturedLogs() as logs:
                pipe.abandon(Cancelled("enough"))
                gc.collect()
            self.assertEqual(str(self.outcome(pipe).error), "enough")
            self.assertEqual(len(animal.stops), 1)
            lines = [str(formatEvent(event)) for event in logs]
            self.assertEqual(len(lines), 1, lines)
            self.assertIn("filter 'hostile': RuntimeError: ", lines[0])

    def test_closes_itself(self) -> None:
        """A generator that runs cannot be closed; Python says so."""
        holder: list[Any] = []

        def received(data: memoryview) -> Iterator[bytes]:
            holder[0].close()
            yield b""

        def remember(data: memoryview) -> Any:
            holder[:] = [received(data)]
            return holder[0]

        self.assert_failed(self.live(Animal(received=remember)), "ValueError: generator already executing")

    def test_blames_its_neighbour(self) -> None:
        """It is still its own failure."""
        for form in FORMS:

            def boom(*arguments: object) -> Any:
                raise FilterFailed("behind", "it was not me")

            self.assert_failed(self.live(Animal(received=form(boom))), "it was not me", form.__name__)

    def test_an_error_without_words(self) -> None:
        """An error that cannot even be printed."""
        for where in CALLS:
            pipe = self.live(Animal(**{where: raising(Mute)}))
            self.assert_failed(pipe, "Mute", where)

    def test_an_error_that_is_its_own_cause(self) -> None:
        def received(data: memoryview) -> Any:
            error, other = KeyError("k"), KeyError("other")
            error.__cause__, other.__cause__ = other, error
            raise error

        self.assert_failed(self.live(Animal(received=received)), "KeyError: 'k'")

    def test_bypassed(self) -> None:
        """With C{on_failure=bypass} the stream goes on without it, whatever it raises, and one line says so."""
        for error in ERRORS:
            for form in FORMS:
                if form in (after_output, in_an_asynchronous_generator):
                    continue
                for where in CALLS:
                    message = (error.__name__, form.__name__, where)
                    animal = Animal(**{where: form(raising(error))})
                    with capturedLogs() as logs:
                        pipe = self.live(animal, on_failure=OnFailure.BYPASS)
                    if where == "ended":  # it had output before
                        self.assert_failed(pipe, message=message)
                        continue
                    self.assertTrue(self.outcome(pipe).clean, message)
                    self.assertEqual(self.downstream.value(), b"data", message)
                    self.assertEqual(len(animal.stops), 1, message)
                    [line] = [str(formatEvent(event)) for event in logs]
                    self.assertIn("bypassed: filter 'hostile': ", line, message)

    def test_bypassed_and_it_will_not_be_closed(self) -> None:
        """Two lines: why it is bypassed, and what it does on its way out."""
        for error in ERRORS:

            def received(data: memoryview, error: type[BaseException] = error) -> Iterator[Any]:
                try:
                    yield 5
                finally:
                    raising(error)()

            with capturedLogs() as logs:
                pipe = self.live(Animal(received=received, stopped=raising(error)), on_failure=OnFailure.BYPASS)
            self.assertTrue(self.outcome(pipe).clean, error)
            self.assertEqual(self.downstream.value(), b"data", error)
            self.assertTrue(all("filter 'hostile': " in str(formatEvent(event)) for event in logs), error)

    def test_lacks_a_method(self) -> None:
        class Nothing:
            pass

        with capturedLogs() as logs:
            pipe = self.let_in(Nothing())
        self.assert_failed(pipe, "AttributeError")
        [line] = [str(formatEvent(event)) for event in logs]
        self.assertIn("filter 'hostile': AttributeError: ", line)


class Half:
    """Like a Deferred at first sight: what C{hasattr} finds."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Unlookable:
    """Raises whatever it is asked for."""

    def __init__(self, error: type[BaseException] = RuntimeError) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise self.error(f"do not ask me for {name}")


class Classless(Unlookable):
    """Raises also when it is asked what it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise self.error("do not ask me what I am")


class Unanswerable:
    """Output that can be iterated, and raises when anything else is done with it."""

    def __init__(self, item: Any, error: type[BaseException]) -> None:
        self.item = item
        self.error = error

    def __iter__(self) -> Unanswerable:
        return self

    def __next__(self) -> Any:
        return self.item

    def _raise(self) -> Any:
        raise self.error("do not ask me")

    send = throw = close = property(_raise)


class Liar(bytes):
    """Bytes that say they are of another length."""

    length = 5

    def __len__(self) -> int:
        return self.length


class Convert(bytes):
    """Bytes that turn into something else."""

    def __bytes__(self) -> bytes:
        return b""


class WrongThingsTests(ZooCase):
    def test_yields_what_is_no_bytes(self) -> None:
        things: list[Any] = [
            None,
            5,
            1.5,
            "text",
            [b"a"],
            (b"a",),
            {},
            object(),
            object,
            bytes,
            iter([b"a"]),
            len,
            Ellipsis,
        ]
        for thing in things:
            for where in CALLS:
                pipe = self.live(Animal(**{where: lambda *arguments, thing=thing: iter([thing])}))
                self.assert_failed(pipe, f"{where}() yielded {type(thing).__name__}; bytes", repr(thing))

    def test_yields_what_is_nearly_a_deferred(self) -> None:
        """The class instead of an object of it; what has half of the methods, or wrong ones."""
        things: list[Any] = [
            Deferred,
            Half(addCallbacks=None),
            Half(addCallbacks=len),
            Half(addCallbacks=raising(ZeroDivisionError)),
            Half(addCallbacks=raising(SystemExit)),
            Half(__await__=None),
            Unlookable(),
            type("Awaitable", (), {"__await__": lambda self: 5})(),
            type("Awaitable", (), {"__await__": lambda self: iter([1, 2, 3])})(),
            type("Awaitable", (), {"__await__": lambda self: raising(Escaped)()})(),
        ]
        for number, thing in enumerate(things):
            pipe = self.live(Animal(received=lambda data, thing=thing: iter([thing])))
            self.assert_failed(pipe, message=number)

    def test_what_cannot_even_be_looked_at(self) -> None:
        for error in ERRORS:
            for kind in (Unlookable, Classless):
                thing = kind(error)
                for items in (
                    lambda _, thing=thing: [thing],
                    lambda _, thing=thing: thing,
                    in_a_list_of_one_that_fired(thing),
                ):
                    self.assert_failed(self.live(Animal(received=items)), message=(error, kind))

    def test_output_that_cannot_even_be_looked_at(self) -> None:
        """Which is done when what it waits for comes, or fails, and when it is closed."""
        for error in ERRORS:
            if error is StopIteration:  # from an iterator that is its end
                continue
            for item in (succeed(1), fail(ZeroDivisionError("boom")), 5):
                output = Unanswerable(item, error)
                with capturedLogs():
                    pipe = self.live(Animal(received=lambda _, output=output: output))
                self.assert_failed(pipe, message=(error, item))
            output = Unanswerable(Deferred(), error)
            pipe = self.let_in(Animal(received=lambda _, output=output: output))
            pipe.write(b"data")
            with capturedLogs() as logs:
                pipe.abandon(Cancelled("enough"))
            self.assertEqual(str(self.outcome(pipe).error), "enough", error)
            [line] = [str(formatEvent(event)) for event in logs]
            self.assertIn("filter 'hostile': ", line)

    def test_subscribes_and_then_raises(self) -> None:
        """C{addCallbacks} that answers first and raises then, or answers twice."""

        def both(callback: Any, errback: Any, callbackArgs: Any, errbackArgs: Any) -> None:
            callback(1, *callbackArgs)
            raise ZeroDivisionError("boom")

        def twice(callback: Any, errback: Any, callbackArgs: Any, errbackArgs: Any) -> None:
            callback(1, *callbackArgs)
            callback(2, *callbackArgs)
            errback(Failure(ZeroDivisionError("boom")), *errbackArgs)

        self.assert_failed(self.live(Animal(received=lambda data: iter([Half(addCallbacks=both), data]))))
        pipe = self.live(Animal(received=lambda data: iter([Half(addCallbacks=twice), data])))
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.downstream.value(), b"data")

    def test_an_asynchronous_generator_yields_a_deferred(self) -> None:
        """Which it should have awaited. Before and after a wait."""
        gate: Deferred[None] = Deferred()

        async def before(data: memoryview) -> AsyncIterator[Any]:
            yield Deferred()

        async def after(data: memoryview) -> AsyncIterator[Any]:
            await gate
            yield Deferred()

        for received in (before, after):
            pipe = self.let_in(Animal(received=received), timeout=10)
            pipe.write(b"data")
            if received is after:
                gate.callback(None)
            self.clock.advance(10)
            self.assert_failed(pipe, message=received.__name__)

    def test_a_coroutine_returns_a_deferred(self) -> None:
        gate: Deferred[None] = Deferred()

        async def at_once(data: memoryview) -> Any:
            return Deferred()

        async def after(data: memoryview) -> Any:
            await gate
            return Deferred()

        for received in (at_once, after):
            pipe = self.let_in(Animal(received=received), timeout=10)
            pipe.write(b"data")
            if received is after:
                gate.callback(None)
            self.clock.advance(10)
            self.assert_failed(pipe, message=received.__name__)

    def test_returns_what_is_no_iterable(self) -> None:
        things: list[Any] = [
            None,
            5,
            "text",
            b"bytes",
            memoryview(b"view"),
            Deferred(),
            Deferred,
            object(),
            Animal,
            len,
        ]
        things += [Unlookable(), Half(__iter__=None), type("Endless", (), {"__iter__": lambda self: 5})()]
        for thing in things:
            for where in CALLS:
                pipe = self.live(Animal(**{where: lambda *arguments, thing=thing: thing}))
                self.assert_failed(pipe, "", repr(type(thing)))

    def test_views_of_any_shape(self) -> None:
        """Their bytes, in order; what has been released cannot be sent."""
        released = memoryview(b"gone")
        released.release()
        self.assert_failed(self.live(Animal(received=lambda data: iter([released]))), "ValueError")
        floats = array.array("d", [1.0, 2.0])
        views = {
            "floats": memoryview(floats),
            "no floats": memoryview(array.array("d")),
            "backwards": memoryview(b"abc")[::-1],
            "square": memoryview(b"abcd").cast("B", [2, 2]),
            "a single byte": memoryview(b"a").cast("B", []),
            "nothing": memoryview(b""),
        }
        for name, view in views.items():
            pipe = self.live(Animal(received=lambda data, view=view: iter([view])))
            self.assertTrue(self.outcome(pipe).clean, (name, self.outcome(pipe)))
            self.assertEqual(self.downstream.value(), view.tobytes(), name)

    def test_bytes_that_lie(self) -> None:
        """About their length. What goes out is what is in them, or they are a failure; nothing hangs."""
        for length in (0, 5, -1, 1 << 70):
            for data in (b"", b"abcde"):
                thing = Liar(data)
                Liar.length = length
                pipe = self.live(Animal(received=lambda _, thing=thing: iter([thing, b"!"])))
                if self.outcome(pipe).clean:
                    self.assertIn(self.downstream.value(), (data + b"!", b"!"), (length, data))
                else:
                    self.assert_failed(pipe, message=(length, data))
        pipe = self.live(Animal(received=lambda _: iter([Convert(b"abc"), b"!"])))
        self.assertTrue(self.outcome(pipe).clean)
        self.assertIn(self.downstream.value(), (b"abc!", b"!"))

    def test_no_bytes_that_say_they_are_some(self) -> None:
        """By the last filter, so that they are the pipe's own output: they cannot be delivered, and that is not tried for ever."""

        class Counting(MemoryTransport):
            calls_of_write = 0

            def write(self, data: bytes) -> None:
                self.calls_of_write += 1
                if self.calls_of_write > 100:
                    raise Escaped("written to without end")
                MemoryTransport.write(self, data)

        Liar.length = 5
        self.upstream, self.downstream = MemoryTransport(), Counting()
        animal = NamedFilter("hostile", Animal(received=lambda _: iter([Liar(b"")])))
        pipe = self.pipe(self.upstream, self.downstream, [animal])
        pipe.write(b"data")
        pipe.upstream_ended()
        if self.outcome(pipe).clean:
            self.assertEqual(self.downstream.value(), b"")
        else:
            self.assert_failed(pipe)

    def test_a_bytearray_that_it_goes_on_changing(self) -> None:
        """What was put out stays as it was."""
        scratch = bytearray(b"....")

        def received(data: memoryview) -> Iterator[bytearray]:
            for letter in b"abc":
                scratch[:] = bytes([letter]) * 4
                yield scratch
            scratch[:] = b"!!!!"

        pipe = self.let_in(Animal(received=received), room=1)
        pipe.write(b"data")
        pipe.upstream_ended()
        got = b""
        while self.downstream.value():
            got += self.downstream.take()
        self.assertEqual(got, b"aaaabbbbcccc")
        self.assertTrue(self.outcome(pipe).clean)


class ForEverTests(ZooCase):
    """What never ends. A turn does, and memory is bounded."""

    MOST = 200_000  # pulls in one turn of the reactor; more would be a noticeable part of a second

    def endless(self, item: Callable[[], Any]) -> tuple[Callable[..., Any], Callable[[], int]]:
        """Output for ever, and how often it was pulled since that was asked last."""
        pulled = 0

        def call(*arguments: Any) -> Iterator[Any]:
            nonlocal pulled
            while True:
                pulled += 1
                if pulled > 5 * self.MOST:
                    raise Escaped("pulled without end in one turn")
                yield item()

        def count() -> int:
            nonlocal pulled
            was, pulled = pulled, 0
            return was

        return call, count

    def test_nothing_for_ever(self) -> None:
        for item in (b"", bytearray(), memoryview(b"")):
            call, _ = self.endless(itertools.repeat(item).__next__)
            for where in CALLS:
                pipe = self.live(Animal(**{where: call}))
                count = 1001 + len(b"data") if where == "received" else 1001
                self.assert_failed(pipe, f"{where}() yielded {count} pieces without a byte in a row")

    def test_nothing_for_ever_asynchronously(self) -> None:
        async def received(data: memoryview) -> AsyncIterator[bytes]:
            while True:
                yield b""

        self.assert_failed(self.live(Animal(received=received)), "without a byte in a row")

    def test_nothing_and_deferreds_that_have_fired(self) -> None:
        things = iter(lambda: succeed(None), None)
        call, count = self.endless(lambda: b"" if count_up() % 2 else next(things))
        ups = 0

        def count_up() -> int:
            nonlocal ups
            ups += 1
            return ups

        pipe = self.let_in(Animal(received=call))
        pipe.write(b"data")
        self.assertTrue(count() < self.MOST)
        self.turn(100)
        self.assert_failed(pipe, "without a byte in a row")

    def test_single_bytes_for_ever(self) -> None:
        """To a client that takes them as fast as they come: turn by turn, and each is short."""
        call, count = self.endless(lambda: b"x")
        for where, alone in itertools.product(CALLS, (False, True)):
            pipe = self.let_in(Animal(**{where: call}), alone=alone)
            if where != "started":
                pipe.write(b"data")
            if where == "ended":
                pipe.upstream_ended()
            for _ in range(3):
                self.assertTrue(0 < count() <= self.MOST, where)
                self.assertTrue(len(self.downstream.take()) > 0)
                self.bystander.write(b"x")
                self.assertEqual(self.seen.take(), b"x", "the others have their turn")
                self.turn()
            count()
            pipe.abandon(Cancelled("enough"))

    def test_single_bytes_for_ever_and_a_stuck_client(self) -> None:
        """Back-pressure bounds them."""
        call, count = self.endless(lambda: b"x")
        pipe = self.let_in(Animal(received=call), NO_SPILL, room=1)
        for _ in range(10):
            pipe.write(bytes(100))
        self.turn(10)
        self.assertTrue(count() <= NO_SPILL.memory + NO_SPILL.busy_size + 2)
        self.assertTrue(pipe.memory_bytes <= NO_SPILL.memory)
        self.assertEqual(self.upstream.producerState, "paused")
        pipe.abandon(Cancelled("enough"))
        self.assertTrue(self.outcome(pipe).peak_memory <= 2 * NO_SPILL.memory)

    def test_single_bytes_for_ever_and_a_stuck_client_with_a_disk(self) -> None:
        """No more than the file may hold."""
        call, count = self.endless(lambda: b"x")
        pipe = self.let_in(Animal(received=call), room=1)
        pipe.write(b"data" * 100)
        self.turn(10)
        self.assertTrue(count() <= SMALL.memory + SMALL.busy_size + SMALL.max_temp_file_size + 2)
        self.assertTrue(pipe.disk_bytes <= SMALL.max_temp_file_size)

    def test_large_pieces_for_ever(self) -> None:
        piece = bytes(1 << 16)
        call, count = self.endless(lambda: piece)
        pipe = self.let_in(Animal(received=call))
        pipe.write(b"data")
        self.assertTrue(0 < count() <= 64)
        self.assertTrue(pipe.memory_bytes <= SMALL.memory + len(piece))

    def test_for_ever_before_one_that_swallows_it(self) -> None:
        """A bomb, and behind it a filter that puts nothing out: no output bounds it, so time has to."""
        for swallow in (lambda data: (), lambda data: iter([b""])):
            call, count = self.endless(lambda: b"x" * 100)
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            filters = [NamedFilter("hostile", Animal(received=call)), NamedFilter("sink", Animal(received=swallow))]
            pipe = self.pipe(self.upstream, self.downstream, filters)
            pipe.write(b"data")
            self.assert_running(pipe)
            self.assertTrue(count() <= self.MOST, "it is still in its first turn")
            self.turn()
            self.assertTrue(0 < count() <= self.MOST, "it does not go on")

    def test_large_pieces_before_one_that_swallows_them(self) -> None:
        """A turn is bounded in bytes, too."""
        piece = bytes(1 << 16)
        call, count = self.endless(lambda: piece)
        self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
        filters = [NamedFilter("hostile", Animal(received=call)), NamedFilter("sink", Animal(received=lambda data: ()))]
        pipe = self.pipe(self.upstream, self.downstream, filters)
        pipe.write(b"data")
        self.assert_running(pipe)
        self.assertTrue(0 < count() * len(piece) <= 1 << 25)

    def test_single_bytes_for_ever_and_a_large_disk(self) -> None:
        """To a stuck client, whose upstream sends more: each turn is short, too."""
        limits = attrs.evolve(SMALL, max_temp_file_size=1 << 23)
        call, count = self.endless(lambda: b"x")
        for alone in (False, True):
            pipe = self.let_in(Animal(received=call), limits, room=1, alone=alone)
            pipe.write(bytes(1000))
            for _ in range(3):
                self.assertTrue(0 < count() <= self.MOST, alone)
                self.turn()
            self.assertTrue(pipe.bytes_spilled > 0)
            pipe.abandon(Cancelled("enough"))
            count()

    def test_hardly_anything_for_ever(self) -> None:
        """A byte after every 999 pieces of nothing."""
        number = 0

        def item() -> bytes:
            nonlocal number
            number += 1
            return b"" if number % 1000 else b"x"

        call, count = self.endless(item)
        pipe = self.let_in(Animal(received=call))
        pipe.write(b"data")
        self.assert_running(pipe)
        self.assertTrue(0 < count() <= self.MOST)

    def test_deferreds_that_have_fired_for_ever(self) -> None:
        call, count = self.endless(lambda: succeed(1))
        pipe = self.let_in(Animal(received=call))
        pipe.write(b"data")
        for _ in range(5):
            self.assertTrue(0 < count() < 100, "the others have their turn")
            self.bystander.write(b"x")
            self.assertEqual(self.seen.take(), b"x")
            self.turn()
        self.assert_running(pipe)

    def test_awaitables_that_are_over_for_ever(self) -> None:
        async def answer() -> int:
            return 1

        call, count = self.endless(answer)
        pipe = self.let_in(Animal(received=call))
        pipe.write(b"data")
        for _ in range(5):
            self.assertTrue(0 < count() < 100)
            self.turn()
        self.assert_running(pipe)

    def test_an_endless_coroutine(self) -> None:
        """C{async def} that waits again and again, each time for what comes: the timeout is for the whole of it."""
        gates: list[Deferred[None]] = []

        async def received(data: memoryview) -> None:
            while True:
                gates.append(Deferred())
                await gates[-1]

        pipe = self.let_in(Animal(received=received), timeout=10)
        pipe.write(b"data")
        for _ in range(9):
            gates[-1].callback(None)
            self.clock.advance(1)
            self.assert_running(pipe)
        self.clock.advance(1)
        self.assert_failed(pipe, "TimeoutError: what it waits for has not come within 10 s")

    def test_swallows_for_ever(self) -> None:
        """A filter may put nothing out; that is no failure."""
        pipe = self.let_in(Animal(received=lambda data: ()))
        for _ in range(1000):
            pipe.write(bytes(100))
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.downstream.value(), b"")


class LentMemoryTests(ZooCase):
    def test_keeps_every_view(self) -> None:
        """Each costs the pool a slab, once, and never a byte of anybody's."""
        kept: list[memoryview] = []
        lost = slab_pool(SMALL.buffer_size).statistics().lost

        def received(data: memoryview) -> Any:
            kept.append(data)
            return (data,)

        self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
        pipe = self.pipe(self.upstream, self.downstream, [NamedFilter("hostile", Animal(received=received))])
        sent = [bytes([number]) * 100 for number in range(50)]
        for piece in sent:
            pipe.write(piece)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.downstream.value(), b"".join(sent))
        self.bystander.write(b"z" * 100)
        self.assertEqual(self.seen.take(), b"z" * 100)
        self.assertEqual([bytes(view) for view in kept], sent)
        self.assertEqual(slab_pool(SMALL.buffer_size).statistics().lost - lost, 50)
        self.assertEqual(self.in_use(), 0)

    def test_puts_out_later_what_it_kept(self) -> None:
        """The bytes that it kept, not those that came into their place."""
        kept: list[memoryview] = []

        def received(data: memoryview) -> Any:
            kept.append(data)
            return ()

        self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
        animal = Animal(received=received, ended=lambda: iter(kept))
        pipe = self.pipe(self.upstream, self.downstream, [NamedFilter("hostile", animal)])
        sent = [bytes([number]) * 100 for number in range(10)]
        for piece in sent:
            pipe.write(piece)
        pipe.upstream_ended()
        self.assertEqual(self.downstream.value(), b"".join(sent))
        self.assertTrue(self.outcome(pipe).clean)

    def test_keeps_a_view_and_fails(self) -> None:
        """An error and its traceback keep nothing: the slab comes back. A view that was kept on purpose does."""
        lost = slab_pool(SMALL.buffer_size).statistics().lost
        kept: list[Any] = []

        def fails(data: memoryview) -> Iterator[Any]:
            view = data[1:]
            try:
                raise KeyError(len(view))
            except KeyError as error:
                kept.append(error)
                raise

        self.assert_failed(self.live(Animal(received=fails)), "KeyError")
        self.assertEqual(slab_pool(SMALL.buffer_size).statistics().lost, lost)

        def keeps(data: memoryview) -> Any:
            kept.append(data)
            raise KeyError("k")

        self.assert_failed(self.live(Animal(received=keeps)), "KeyError")
        self.assertEqual(slab_pool(SMALL.buffer_size).statistics().lost, lost + 1)
        self.assertEqual(bytes(kept[-1]), b"data")

    def test_keeps_its_generator(self) -> None:
        """Which is closed at the end, and with it what it holds."""
        lost = slab_pool(SMALL.buffer_size).statistics().lost
        kept: list[Any] = []

        def received(data: memoryview) -> Iterator[Any]:
            yield Deferred()
            yield data

        def remember(data: memoryview) -> Any:
            kept.append(received(data))
            return kept[-1]

        pipe = self.let_in(Animal(received=remember))
        pipe.write(b"data")
        pipe.abandon(Cancelled("enough"))
        self.assertEqual(self.in_use(), 0)
        self.assertEqual(slab_pool(SMALL.buffer_size).statistics().lost, lost)

    def test_changes_what_it_was_lent(self) -> None:
        def sets(data: memoryview) -> Any:
            data[0] = 0

        def deletes(data: memoryview) -> Any:
            del data[0]  # type: ignore[attr-defined]

        def reads_into(data: memoryview) -> Any:
            with open("/dev/zero", "rb", buffering=0) as zero:
                zero.readinto(data)
            return (data,)

        for received in (sets, deletes, reads_into):
            self.assert_failed(self.live(Animal(received=received)), "TypeError", received.__name__)
            self.assertEqual(self.downstream.value(), b"")

    def test_changes_what_it_was_given_by_its_neighbour(self) -> None:
        """Also a C{bytearray} of the filter before is read-only."""

        def sets(data: memoryview) -> Any:
            data[0] = 0

        self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
        filters = [
            NamedFilter("before", Animal(received=lambda data: iter([bytearray(data)]))),
            NamedFilter("hostile", Animal(received=sets)),
        ]
        pipe = self.pipe(self.upstream, self.downstream, filters)
        pipe.write(b"data")
        self.assert_failed(pipe, "TypeError: cannot modify read-only memory")

    def test_releases_what_it_was_lent(self) -> None:
        """Its view, and nobody else's."""

        def received(data: memoryview) -> Iterator[Any]:
            yield data[:2]
            yield data
            data.release()

        pipe = self.live(Animal(received=received))
        self.assertTrue(self.outcome(pipe).clean, self.outcome(pipe))
        self.assertEqual(self.downstream.value(), b"dadata")
        self.assert_failed(self.live(Animal(received=lambda data: data.release() or iter([data]))), "ValueError")


class WaitTests(ZooCase):
    def forms(self, gate: Callable[[], Any]) -> dict[str, Callable[..., Any]]:
        """A wait for C{gate()} before everything is passed on, in every form."""

        def generator(data: memoryview) -> Iterator[Any]:
            yield gate()
            yield data

        async def coroutine(data: memoryview) -> bytes:
            await gate()
            return bytes(data)

        async def asynchronous(data: memoryview) -> AsyncIterator[bytes]:
            await gate()
            yield bytes(data)

        return {
            "list": lambda data: [gate(), data],
            "generator": generator,
            "coroutine": coroutine,
            "asynchronous generator": asynchronous,
        }

    def test_never_fires(self) -> None:
        """It is cancelled when its time is up, whether or not it can be, and C{TimeoutError} is what went wrong."""
        cancellers: list[Any] = [
            None,
            lambda gate: None,
            lambda gate: gate.callback(b"late"),
            raising(ZeroDivisionError),
        ]
        for canceller in cancellers:
            for name, received in self.forms(lambda canceller=canceller: Deferred(canceller)).items():
                animal = Animal(received=received)
                pipe = self.let_in(animal, timeout=10)
                pipe.write(b"data")
                self.clock.advance(9)
                self.assert_running(pipe)
                self.clock.advance(1)
                error = self.assert_failed(pipe, "TimeoutError: what it waits for has not come within 10 s", name)
                self.assertEqual(animal.stops, [error])
                self.assertEqual(self.downstream.value(), b"", name)
                self.flushLoggedErrors(ZeroDivisionError)

    def test_never_fires_and_is_bypassed(self) -> None:
        for name, received in self.forms(Deferred).items():
            with capturedLogs() as logs:
                pipe = self.let_in(Animal(received=received), timeout=10, on_failure=OnFailure.BYPASS)
                pipe.write(b"data")
                pipe.upstream_ended()
                self.clock.advance(10)
            self.assertTrue(self.outcome(pipe).clean, name)
            self.assertEqual(self.downstream.value(), b"data", name)
            [line] = [str(formatEvent(event)) for event in logs]
            self.assertIn("bypassed: filter 'hostile': TimeoutError", line)

    def test_never_fires_and_nobody_wants_to_wait(self) -> None:
        """A pipe may be abandoned at any time."""
        for name, received in self.forms(Deferred).items():
            pipe = self.let_in(Animal(received=received), timeout=0)
            pipe.write(b"data")
            self.clock.advance(10**6)
            self.assert_running(pipe)
            pipe.done.cancel()
            self.assertEqual(str(self.outcome(pipe).side), "caller", name)
            self.assertEqual(self.in_use(), 0)

    def test_waits_anew_each_time(self) -> None:
        """A generator that takes each timeout for a reason to wait again: for others it is one that waits."""

        def received(data: memoryview) -> Iterator[Any]:
            while True:
                with contextlib.suppress(TimeoutError):
                    yield Deferred()

        pipe = self.let_in(Animal(received=received), attrs.evolve(SMALL, total_timeout=100), timeout=10)
        pipe.write(b"data")
        for _ in range(9):
            self.clock.advance(10)
        self.assert_running(pipe)
        self.clock.advance(10)
        self.assertEqual(str(self.outcome(pipe).error), "total timeout of 100 s expired")

    def test_will_not_be_cancelled(self) -> None:
        """C{async def} that goes on waiting when it is cancelled: it has failed all the same, and what comes is nobody's."""
        gates: list[Deferred[None]] = []

        async def stubborn() -> None:
            while True:
                gates.append(Deferred())
                try:
                    await gates[-1]
                    return
                except CancelledError:
                    pass

        async def coroutine(data: memoryview) -> bytes:
            await stubborn()
            return bytes(data)

        async def asynchronous(data: memoryview) -> AsyncIterator[bytes]:
            await stubborn()
            yield bytes(data)

        for received in (coroutine, asynchronous, lambda data: iter([stubborn()])):
            for late in (None, ZeroDivisionError("late")):
                pipe = self.let_in(Animal(received=received), timeout=10)
                pipe.write(b"data")
                with capturedLogs() as logs:
                    self.clock.advance(10)
                self.assert_failed(pipe, "TimeoutError")
                self.assertEqual(len(gates), 2)
                self.assertTrue(all("filter 'hostile'" in str(formatEvent(event)) for event in logs))
                gates[-1].errback(late) if late else gates[-1].callback(None)
                gates.clear()
                gc.collect()

    def test_fires_after_the_end(self) -> None:
        gates: list[Deferred[Any]] = []
        for name, received in self.forms(lambda: gates[0]).items():
            for late in (b"late", ZeroDivisionError("late")):
                gates[:] = [Deferred()]
                pipe = self.let_in(Animal(received=received), timeout=10)
                pipe.write(b"data")
                self.clock.advance(10)
                self.assert_failed(pipe, "TimeoutError", name)
                gates[0].errback(late) if isinstance(late, Exception) else gates[0].callback(late)
                self.assertEqual(self.downstream.value(), b"", name)
                gates.clear()
                gc.collect()  # which is when Deferreds report failures that nobody took
                self.assertEqual(self.flushLoggedErrors(), [], name)

    def test_fires_twice(self) -> None:
        """The second time is an error of who does it."""
        gates: list[Deferred[Any]] = []
        for name, received in self.forms(lambda: gates[0]).items():
            gate: Deferred[Any] = Deferred()
            gates[:] = [gate]
            pipe = self.let_in(Animal(received=received))
            pipe.write(b"data")
            gate.callback(b"")
            self.assertRaises(AlreadyCalledError, gate.callback, b"")
            self.assertEqual(self.downstream.value(), b"data", name)
            pipe.upstream_ended()
            self.assertTrue(self.outcome(pipe).clean)

    def test_fires_twice_itself(self) -> None:
        def received(data: memoryview) -> Iterator[Any]:
            gate = succeed(1)
            yield gate
            gate.callback(2)

        self.assert_failed(self.live(Animal(received=received)), "AlreadyCalledError")

    def test_the_same_again(self) -> None:
        """One Deferred, waited for again and again, and by two pipes."""
        gate: Deferred[int] = Deferred()
        pipes = [self.let_in(Animal(received=lambda data: [gate, gate, data])) for _ in range(2)]
        for pipe in pipes:
            pipe.write(b"data")
        gate.callback(1)
        for pipe in pipes:
            pipe.upstream_ended()
            self.assertTrue(self.outcome(pipe).clean)

    def test_fires_with_what_is_no_bytes(self) -> None:
        """In an iterable, only bytes take its place; in an C{async def} that yields them, anything else is wrong."""
        for wrong in ("text", 5, [b"list"], None):
            pipe = self.live(Animal(received=lambda data, wrong=wrong: [succeed(wrong), data]))
            self.assertTrue(self.outcome(pipe).clean, wrong)
            self.assertEqual(self.downstream.value(), b"data")

            async def received(data: memoryview, wrong: Any = wrong) -> AsyncIterator[Any]:
                yield await succeed(wrong)

            self.assert_failed(self.live(Animal(received=received)), f"yielded {type(wrong).__name__}")

    def test_a_canceller_that_ends_the_pipe(self) -> None:
        """It is called because time is up, and ends the pipe from within."""
        pipe = self.let_in(Animal(received=lambda data: [gate]), timeout=10)
        gate: Deferred[Any] = Deferred(lambda _: pipe.abandon(Cancelled("from the canceller")))
        pipe.write(b"data")
        self.clock.advance(10)
        self.assertEqual(str(self.outcome(pipe).error), "from the canceller")
        self.assertEqual(self.in_use(), 0)

    def test_a_canceller_that_raises_anything(self) -> None:
        for error in ERRORS:
            for expired in (False, True):
                pipe = self.let_in(Animal(received=lambda data, error=error: [Deferred(raising(error))]), timeout=10)
                pipe.write(b"data")
                with capturedLogs() as logs:
                    if expired:
                        self.clock.advance(10)
                        self.assert_failed(pipe, "TimeoutError", error.__name__)
                    else:
                        pipe.done.cancel()
                        self.assertEqual(str(self.outcome(pipe).side), "caller", error.__name__)
                self.assertEqual(len(logs), 1, error.__name__)
                self.assertEqual(self.in_use(), 0)
                self.flushLoggedErrors(error)

    def test_asyncio(self) -> None:
        """What only asyncio can wait for, on a reactor that is not asyncio's."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)

        async def future(data: memoryview) -> None:
            await loop.create_future()

        async def sleep(data: memoryview) -> None:
            await asyncio.sleep(1)

        for received in (future, sleep):
            self.assert_failed(self.live(Animal(received=received)), "RuntimeError", received.__name__)

    def test_the_wait_of_one_is_not_the_wait_of_another(self) -> None:
        """The error names the filter that waited."""
        self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
        filters = [
            NamedFilter("before", Animal(), timeout=1),
            NamedFilter("hostile", Animal(received=lambda data: [Deferred()]), timeout=5),
            NamedFilter("behind", Animal(), timeout=1),
        ]
        pipe = self.pipe(self.upstream, self.downstream, filters)
        pipe.write(b"data")
        self.clock.advance(4)
        self.assert_running(pipe)
        self.clock.advance(1)
        self.assert_failed(pipe, "TimeoutError")


class ReentrancyTests(ZooCase):
    """Filters that get hold of their own pipe."""

    def with_pipe(self, do: Callable[[EventPipe], object], most: int = 1, where: str = "received") -> EventPipe:
        """A filter that does C{do} with its pipe, C{most} times, in the call C{where}, before and after it puts something out."""
        times = 0

        def call(*arguments: Any) -> Iterator[Any]:
            nonlocal times
            times += 1
            if times <= most:
                do(pipe)
            yield from arguments
            if times <= most:
                do(pipe)

        pipe = self.let_in(Animal(**{where: call}))
        return pipe

    def test_writes(self) -> None:
        """What it writes comes after what is under way."""
        pipe = self.with_pipe(lambda pipe: pipe.write(b"more"))
        pipe.write(b"data")
        pipe.upstream_ended()
        self.assertEqual(self.downstream.value(), b"datamoremore")
        self.assertTrue(self.outcome(pipe).clean)

    def test_writes_for_ever(self) -> None:
        """It feeds itself; the others have their turn all the same."""
        fed = 0

        def feed(pipe: EventPipe) -> None:
            nonlocal fed
            fed += 1
            if fed > 200_000:
                raise Escaped("fed without end in one turn")
            pipe.write(b"x" * 100)

        pipe = self.with_pipe(feed, 1 << 60)
        pipe.write(b"data")
        self.assert_running(pipe)
        self.assertTrue(fed < 200_000)
        pipe.abandon(Cancelled("enough"))

    def test_ends_the_stream(self) -> None:
        pipe = self.with_pipe(lambda pipe: pipe.upstream_ended(), 10)
        pipe.write(b"data")
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.downstream.value(), b"data")

    def test_ends_the_stream_and_writes(self) -> None:
        def do(pipe: EventPipe) -> None:
            pipe.upstream_ended()
            pipe.write(b"more")

        pipe = self.with_pipe(do)
        pipe.write(b"data")
        self.assert_failed(pipe, "PipeFinished")

    def test_pauses_and_resumes(self) -> None:
        for do in (
            lambda pipe: pipe.resumeProducing(),
            lambda pipe: (pipe.pauseProducing(), pipe.resumeProducing()),
        ):
            pipe = self.with_pipe(do, 1 << 60)
            pipe.write(b"data")
            pipe.upstream_ended()
            self.assertEqual(self.downstream.value(), b"data")
            self.assertTrue(self.outcome(pipe).clean)

    def test_pauses(self) -> None:
        """Nobody resumes it: the send timeout is for that."""
        pipe = self.with_pipe(lambda pipe: pipe.pauseProducing())
        pipe.write(b"data")
        pipe.write(b"more")
        pipe.upstream_ended()
        self.clock.advance(SMALL.send_timeout)
        self.assertIn("send timeout", str(self.outcome(pipe)))

    def test_abandons(self) -> None:
        """In every call, and with every way to end a pipe; the first reason stays."""
        ways: dict[str, Callable[[EventPipe], object]] = {
            "enough": lambda pipe: pipe.abandon(Cancelled("enough")),
            "pipe was cancelled": lambda pipe: pipe.done.cancel(),
            "the connection was closed": lambda pipe: pipe.stopProducing(),
        }
        for why, do in ways.items():
            for where in ("received", "ended"):
                pipe = self.with_pipe(do, 10, where)
                pipe.write(b"data")
                if where == "ended":
                    pipe.upstream_ended()
                self.assertEqual(str(self.outcome(pipe).error), why, where)
                self.assertEqual(self.in_use(), 0)
                self.assertNotIn("half", self.downstream.ends)

    def test_abandons_and_goes_on_for_ever(self) -> None:
        """It is closed at its next piece."""
        pulled = 0

        def received(data: memoryview) -> Iterator[bytes]:
            nonlocal pulled
            pipe.abandon(Cancelled("enough"))
            while True:
                pulled += 1
                yield b"x"

        pipe = self.let_in(Animal(received=received))
        pipe.write(b"data")
        self.assertEqual(str(self.outcome(pipe).error), "enough")
        self.assertTrue(pulled <= SMALL.memory)

    def test_abandons_and_waits(self) -> None:
        gates: list[Deferred[Any]] = []

        def received(data: memoryview) -> Iterator[Any]:
            pipe.abandon(Cancelled("enough"))
            gates.append(Deferred())
            yield gates[-1]

        pipe = self.let_in(Animal(received=received))
        pipe.write(b"data")
        self.assertEqual(str(self.outcome(pipe).error), "enough")
        del gates[:]
        gc.collect()

    def test_everything_in_stopped(self) -> None:
        """The pipe is over: what makes no sense any more raises there, which is logged."""
        for do in (
            lambda pipe: pipe.write(b"more"),
            lambda pipe: pipe.upstream_ended(),
            lambda pipe: pipe.abandon(Cancelled("again")),
            lambda pipe: pipe.done.cancel(),
            lambda pipe: pipe.resumeProducing(),
            lambda pipe: pipe.stopProducing(),
        ):
            with capturedLogs() as logs:
                animal = Animal()
                pipe = self.let_in(animal)
                animal.behaviour["stopped"] = lambda reason, do=do, pipe=pipe: do(pipe)
                pipe.write(b"data")
                pipe.upstream_ended()
            self.assertTrue(self.outcome(pipe).clean)
            self.assertEqual(self.downstream.value(), b"data")
            for event in logs:
                self.assertIn(f"filter 'hostile': {PipeFinished.__name__}", str(formatEvent(event)))

    def test_ends_the_others_wait(self) -> None:
        """It fires, from within, what another pipe waits for."""
        gate: Deferred[Any] = Deferred()
        waiting = self.let_in(Animal(received=lambda data: [gate, data]))
        downstream = self.downstream
        waiting.write(b"waiting")

        def received(data: memoryview) -> Iterator[Any]:
            gate.callback(None)
            yield data

        pipe = self.live(Animal(received=received))
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(downstream.value(), b"waiting")

    def test_feeds_another_pipe(self) -> None:
        """One filter writes into the pipe of another, which writes back."""
        pipes: list[EventPipe] = []
        left = 100

        def received(number: int, data: memoryview) -> Iterator[Any]:
            nonlocal left
            left -= 1
            if left > 0:
                pipes[1 - number].write(bytes(data))
            yield data

        downstreams: list[MemoryTransport] = []
        for number in range(2):
            pipes.append(self.let_in(Animal(received=lambda data, number=number: received(number, data))))
            downstreams.append(self.downstream)
        pipes[0].write(b"x")
        self.assertEqual(len(b"".join(downstream.value() for downstream in downstreams)), 100)


class SocketTests(SynchronousTestCase):
    """Filters that get hold of a transport whose socket their pipe uses itself."""

    def test_closes_a_connection(self) -> None:
        """From within C{received}: the pipe is broken off, and whose fault it was is said as well as it can be known."""
        for method in ("loseConnection", "abortConnection", "stopProducing"):
            for which in (0, 1):
                engine = Engine(self)
                (upstream, server), (downstream, client) = engine.connect(), engine.connect()
                transport = (upstream, downstream)[which]

                def received(data: memoryview, method: str = method, transport: Any = transport) -> Iterator[Any]:
                    yield data
                    getattr(transport, method)()
                    yield data

                animal = Animal(received=received)
                before = slab_pool(SMALL.buffer_size).statistics().in_use
                pipe = EventPipe(upstream, downstream, [animal], SMALL)
                outcomes: list[Any] = []
                pipe.done.addCallback(outcomes.append)
                server.write(b"data")
                engine.settle()
                with contextlib.suppress(OSError):
                    server.write(b"more")
                server.close()
                engine.settle()
                client.read()
                engine.advance(1)
                message = (method, which)
                self.assertEqual(len(outcomes), 1, message)
                self.assertEqual(len(animal.stops), 1, message)
                self.assertEqual(slab_pool(SMALL.buffer_size).statistics().in_use, before, message)
                self.assertEqual(self.flushLoggedErrors(), [], message)
                self.assertEqual(engine.reactor.getDelayedCalls(), [], message)
                client.read()
                self.assertTrue(client.ended or client.reset, message)


class SlowTests(ZooCase):
    def slow(self, where: str, seconds: float) -> tuple[EventPipe, list[str]]:
        def call(*arguments: Any) -> Any:
            self.clock.rightNow += seconds
            return arguments

        with capturedLogs() as logs:
            pipe = self.let_in(Animal(**{where: call}))
            for _ in range(3):
                pipe.write(b"data")
            pipe.upstream_ended()
        return pipe, [str(formatEvent(event)) for event in logs]

    def test_blocks_for_a_second(self) -> None:
        """One warning that names it, however often it does so."""
        for where in CALLS:
            pipe, lines = self.slow(where, 1.0)
            self.assertTrue(self.outcome(pipe).clean)
            self.assertEqual(self.downstream.value(), b"data" * 3)
            self.assertEqual(len(lines), 1, where)
            self.assertIn("hostile", lines[0])
            self.assertIn("kept every connection waiting for 1.0 s", lines[0])

    def test_a_moment(self) -> None:
        self.assertEqual(self.slow("received", 0.1)[1], [])

    def test_blocks_and_fails(self) -> None:
        """Both are said."""

        def received(data: memoryview) -> Any:
            self.clock.rightNow += 1
            raise KeyError("k")

        with capturedLogs() as logs:
            pipe = self.live(Animal(received=received))
        self.assert_failed(pipe, "KeyError")
        self.assertEqual(len(logs), 1)

    def test_turns_the_clock_itself(self) -> None:
        """As a filter that runs the reactor from within: timers fire inside a call of it, that of its own pipe, too."""
        limits = attrs.evolve(SMALL, total_timeout=10)

        def received(data: memoryview) -> Iterator[Any]:
            self.clock.advance(10)
            yield data

        animal = Animal(received=received)
        pipe = self.let_in(animal, limits)
        pipe.write(b"data")
        self.assertIn("total timeout", str(self.outcome(pipe)))
        self.assertEqual(len(animal.stops), 1)


@implementer(IPipeFilterFactory)
@attrs.define
class Cage:
    """
    A filter plugin whose first filter is an animal, and whose others are tame.

    @ivar catch: makes the animal.
    @ivar built: how many were built.
    """

    catch: Callable[[], Any]
    on_failure: OnFailure = OnFailure.ABORT
    timeout: float = 60.0
    built: int = 0
    name = "hostile"
    summary = "A filter of the zoo."

    def configure(self, options: object) -> Cage:
        return self

    def build(self, context: FilterContext) -> Any:
        self.built += 1
        return self.catch() if self.built == 1 else Animal()


def fails_in(where: str, form: Callable[..., Any], error: type[BaseException]) -> Callable[[], Any]:
    return lambda: Animal(**{where: form(raising(error))})


class SessionTests(ProxyCase):
    """Two clients of one proxy. The filter of the first is hostile, and the second does not notice."""

    def two(self, cage: Cage, request: bool) -> tuple[Any, Any, list[str]]:
        """
        The first session lives as far as it goes, the second from its beginning to its end.

        @return: the first client, its server, and what the log says.
        """
        settings = attrs.evolve(
            SETTINGS, request_filters=(cage,) if request else (), response_filters=() if request else (cage,)
        )
        with capturedLogs() as logs:
            client, server = self.session(settings)
            other_client, other_server = self.session()
            self.exchange(other_client, other_server, b"before")
            for peer in (client, server):
                with contextlib.suppress(OSError):  # closed already
                    peer.write(b"data")
            self.engine.settle()
            self.exchange(other_client, other_server, b"meanwhile")
            for peer in (client, server):
                with contextlib.suppress(OSError):
                    peer.half_close()
            self.engine.advance(0.6, 0.1)
            self.exchange(other_client, other_server, b"after")
            other_client.half_close()
            other_server.half_close()
            self.engine.settle()
            self.assertEqual((other_client.read(), other_server.read()), (b"", b""))
            self.assertTrue(other_client.ended and other_server.ended)
            self.assert_over()
        return client, server, [str(formatEvent(event)) for event in logs]

    def exchange(self, client: Any, server: Any, data: bytes) -> None:
        for one, other in ((client, server), (server, client)):
            one.write(data)
            self.engine.settle()
            self.assertEqual(other.read(), data)

    def test_animals(self) -> None:
        animals: dict[str, Callable[[], Any]] = {
            f"{error.__name__} {where}": fails_in(where, form, error)
            for error in (*ERRORS, Mute)
            for where, form in (("started", plainly), ("received", after_output), ("ended", in_a_coroutine))
        }
        animals["text"] = lambda: Animal(received=lambda data: ["text"])
        animals["no iterable"] = lambda: Animal(received=lambda data: None)
        animals["nothing for ever"] = lambda: Animal(received=lambda data: iter(lambda: b"", None))
        animals["a class"] = lambda: Animal(received=lambda data: [Deferred])
        animals["changes"] = lambda: Animal(received=lambda data: data.__setitem__(0, 0))
        animals["no filter"] = lambda: object()
        for request in (False, True):
            for name, catch in animals.items():
                client, server, lines = self.two(Cage(catch), request)
                message = (name, request, lines)
                self.assertTrue(any("close after" in line and "filter 'hostile': " in line for line in lines), message)
                for peer in (client, server):
                    peer.read()
                    self.assertTrue(peer.ended or peer.reset, message)
                self.assertEqual(self.flushLoggedErrors(), [], message)

    def test_cannot_be_built(self) -> None:
        """The session ends before it has begun, and the log has the traceback and the filter's name."""
        for error in ERRORS:
            for request in (False, True):
                message = (error.__name__, request)
                client, server, lines = self.two(Cage(raising(error)), request)
                for peer in (client, server):
                    peer.read()
                    self.assertTrue(peer.ended or peer.reset, message)
                self.assertEqual(len(self.flushLoggedErrors()), 1, message)
                [line] = [line for line in lines if "close after" in line]
                self.assertIn("not started: ", line)
                self.assertIn(f"filter 'hostile': {error.__name__}", line)

    def test_another_fails(self) -> None:
        """Filters that were built are stopped, whether or not they were started: they may hold something."""
        unbuilt, unstarted = raising(ZeroDivisionError), fails_in("started", plainly, ZeroDivisionError)
        for (first, second), catch in itertools.product(
            (("response", "response"), ("request", "request"), ("response", "request"), ("request", "response")),
            (unbuilt, unstarted),
        ):
            message = (first, second, catch)
            tame = Animal()
            cage = Cage(lambda tame=tame: tame)
            filters: dict[str, tuple[Any, ...]] = {"response": (), "request": ()}
            filters[first] += (cage,)
            filters[second] += (Cage(catch),)
            settings = attrs.evolve(SETTINGS, response_filters=filters["response"], request_filters=filters["request"])
            self.session(settings)
            self.engine.settle()
            self.assertEqual(len(tame.stops), cage.built, message)
            self.assertNotIn(None, tame.stops, message)
            self.assertEqual(len(self.flushLoggedErrors()), 1 if catch is unbuilt else 0, message)
            self.assert_over()

    def test_bypassed(self) -> None:
        """The first session goes on without its filter, and the log says so."""
        for request in (False, True):
            cage = Cage(fails_in("received", plainly, ZeroDivisionError), OnFailure.BYPASS)
            client, server, lines = self.two(cage, request)
            self.assertEqual((client.read(), server.read()), (b"data", b"data"))
            self.assertTrue(client.ended and server.ended)
            [line] = lines
            self.assertIn("bypassed: filter 'hostile': ZeroDivisionError", line)

    def test_never_fires(self) -> None:
        """The first session ends when the filter's time is up."""
        cage = Cage(lambda: Animal(received=lambda data: [Deferred()]), timeout=0.5)
        _client, _server, lines = self.two(cage, False)
        self.assertTrue(any("filter 'hostile': TimeoutError" in line for line in lines), lines)

    def test_closes_everything(self) -> None:
        """A filter that shuts its session down from within."""

        def received(data: memoryview) -> Iterable[Any]:
            for session in list(self.factory.sessions):
                session.abort(Cancelled("from a filter"))
            yield data

        client, server = self.session(
            attrs.evolve(SETTINGS, response_filters=(Cage(lambda: Animal(received=received)),))
        )
        server.write(b"data")
        self.engine.settle()
        for peer in (client, server):
            peer.read()
            self.assertTrue(peer.ended or peer.reset)
        self.assert_over()
