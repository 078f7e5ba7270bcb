"""
Twisted's own reactor tests (C{ReactorBuilder}), run against L{EpollETReactor}.

Every builder of C{twisted.internet.test} is asked to make its test cases anew, for our reactor only. Nothing is skipped
but what L{EXEMPTIONS} names, and their number is asserted, so that a builder that vanishes or an import that fails cannot
pass for a success.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from unittest import TestCase

from twisted.internet import test as twisted_tests
from twisted.internet.test import reactormixins
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.net.reactor import EpollETReactor

REACTOR = "twisted_pipe.net.reactor.EpollETReactor"
EXPECTED_TESTS = 300

#: builder and test -> why it is not run
EXEMPTIONS: dict[str, str] = {}
if os.getuid() == 0:
    for _builder in ("ProcessTestsBuilder", "PTYProcessTestsBuilder"):
        EXEMPTIONS[f"{_builder}.test_changeUID"] = "fails for root on every reactor"

reactormixins.DEFAULT_TIMEOUT_DURATION = 10.0  # a hang costs 10 s instead of 120


def _builders() -> list[type[ReactorBuilder]]:
    """Each builder once, found through the test cases that Twisted's modules made with it."""
    found: dict[type[ReactorBuilder], None] = {}
    for module_info in iter_modules(twisted_tests.__path__):
        if not module_info.name.startswith("test_"):
            continue
        module = import_module(f"twisted.internet.test.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, ReactorBuilder) and issubclass(value, SynchronousTestCase):
                found[value.__bases__[0]] = None
    return [builder for builder in found if _concerns_us(builder)]


def _concerns_us(builder: type[ReactorBuilder]) -> bool:
    """Not the tests of one other reactor, nor those of interfaces that only Windows has."""
    required = builder.requiredInterfaces or ()
    return "_reactors" not in vars(builder) and all(face.implementedBy(EpollETReactor) for face in required)


def _make() -> dict[str, type[TestCase]]:
    saved, ReactorBuilder._reactors = ReactorBuilder._reactors, [REACTOR]
    try:
        made: dict[str, type[TestCase]] = {}
        for builder in _builders():
            for name, case in builder.makeTestCaseClasses().items():
                case.__module__ = __name__
                case.__name__ = case.__qualname__ = f"{builder.__module__.rpartition('.')[2]}_{name}"
                for exempt, why in EXEMPTIONS.items():
                    builder_name, method = exempt.split(".")
                    if builder.__name__ == builder_name:
                        setattr(case, method, _skipping(method, why))
                made[case.__name__] = case
        return made
    finally:
        ReactorBuilder._reactors = saved


def _skipping(name: str, why: str) -> Callable[[object], None]:
    def skipped(self: object) -> None:
        raise AssertionError("a skipped test was run")

    skipped.skip = why  # type: ignore[attr-defined]
    skipped.__name__ = name
    return skipped


_MADE = _make()
globals().update(_MADE)


class CompletenessTests(SynchronousTestCase):
    """The tests above are all there and really run on our reactor."""

    def test_count(self) -> None:
        names = [name for case in _MADE.values() for name in dir(case) if name.startswith("test")]
        self.assertEqual(len(names), EXPECTED_TESTS)

    def test_reactor(self) -> None:
        for case in _MADE.values():
            self.assertIs(case.reactorFactory, EpollETReactor)
            self.assertFalse(getattr(case, "skip", None), f"{case.__name__} is skipped")
