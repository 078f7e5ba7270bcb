"""What the class of a plugin raises when it is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import FilterPlugin, PipeFilter
from twisted_pipe.filters.messages.base import MessageFilter, MessageFilterPlugin
from twisted_pipe.interfaces import (
    FilterContext,
    IHealthCheck,
    IPipeProtocol,
    IUpstreamBalancer,
    IUpstreamResolver,
    MessageContext,
)
from twisted_pipe.plugin.declared import DeclaredPlugin
from twisted_pipe.proxies.protocol import ProtocolPlugin
from twisted_pipe.upstream.balancer import BalancerPlugin
from twisted_pipe.upstream.health_check import CheckPlugin
from twisted_pipe.upstream.resolver import ResolverPlugin


def misspelt() -> None:
    with open("/nowhere/of\nall"):
        pass


def senseless() -> None:
    raise BadConfiguration("rate", "1", "must be more")


@implementer(IHealthCheck, IPipeProtocol, IUpstreamBalancer, IUpstreamResolver)
class Raising:
    raises: ClassVar[Callable[[], None]] = misspelt

    def __init__(self, argument: object) -> None:
        type(self).raises()


@attrs.define
class RaisingFilter(PipeFilter):
    raises: ClassVar[Callable[[], None]] = misspelt

    def __attrs_post_init__(self) -> None:
        type(self).raises()


@attrs.define
class JudgingFilter(RaisingFilter):
    judges_options: ClassVar[bool] = True


@attrs.define
class RaisingMessageFilter(MessageFilter):
    raises: ClassVar[Callable[[], None]] = misspelt

    def __attrs_post_init__(self) -> None:
        type(self).raises()


def plugin(kind: Any, name: str) -> Any:
    return kind("sample", "A sample.", f"{__name__}:{name}")


class ConstructorTests(SynchronousTestCase):
    def refused(self, kind: type[DeclaredPlugin], name: str, argument: object = None) -> str:
        """As its configuration, or building the first one, refuses it."""
        error = self.assertRaises(BadConfiguration, lambda: plugin(kind, name).configure({}).build(argument))
        self.assertTrue(error.__cause__ is not None)
        return str(error)

    def test_anything_is_an_error_of_the_configuration(self) -> None:
        for kind, name, argument in (
            (BalancerPlugin, "Raising", ()),
            (ResolverPlugin, "Raising", None),
            (CheckPlugin, "Raising", None),
            (ProtocolPlugin, "Raising", None),
            (FilterPlugin, "JudgingFilter", None),
            (MessageFilterPlugin, "RaisingMessageFilter", MessageContext()),
        ):
            self.assertEqual(
                self.refused(kind, name, argument),
                f"{kind.noun} sample: '{__name__}:{name}': cannot be built: "
                "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/of\\nall'",
            )

    def test_an_option_is_named_once(self) -> None:
        for each in (Raising, RaisingFilter, RaisingMessageFilter):
            self.patch(each, "raises", senseless)
        for kind, name, argument in (
            (CheckPlugin, "Raising", None),
            (FilterPlugin, "JudgingFilter", None),
            (MessageFilterPlugin, "RaisingMessageFilter", MessageContext()),
        ):
            self.assertEqual(self.refused(kind, name, argument), f"{kind.noun} sample: rate: '1': must be more")

    def test_a_byte_filter_fails_its_connection(self) -> None:
        """It is built for each: the log tells what it raised, not the configuration."""
        factory = plugin(FilterPlugin, "RaisingFilter").configure({})
        self.assertRaises(FileNotFoundError, factory.build, FilterContext())
