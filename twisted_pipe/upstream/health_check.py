"""How a health check is declared, configured and found."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IHealthCheck, IHealthCheckFactory
from twisted_pipe.plugin.declared import ConfiguredPlugin, DeclaredPlugin
from twisted_pipe.plugin.discovery import PluginKind
from twisted_pipe.plugin.options import Option, between, one_of
from twisted_pipe.units import parse_count, parse_duration

__all__ = ["CHECKS", "CheckPlugin", "CheckSchedule", "ConfiguredCheck", "Initially"]

_MOST_IN_A_ROW = 1000


class Initially(enum.Enum):
    """What a server is taken for before its first check."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"  #: until its first check that is passed, be C{rise} what it may

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class CheckSchedule:
    """
    When servers are checked, and what follows from it. The names are those of nginx's and HAProxy's settings.

    @ivar interval: seconds from the end of a check to the next one of the same server. More than 0. Default 5.
    @ivar jitter: up to so many seconds more, at random, so that not all are checked at the same time. Default 0.5.
    @ivar timeout: seconds that a check may take; more are a failure. More than 0. Default 2.
    @ivar rise: how many checks in a row make a server healthy. Default 2.
    @ivar fall: how many failures in a row make it unhealthy. Default 3.
    @ivar port: where checks connect to; 0, the default, for where everybody connects to.
    @ivar initially: what a server is taken for before its first check.
    @raise BadConfiguration: C{interval} or C{timeout} is not more than 0.
    """

    interval: float = 5.0
    jitter: float = 0.5
    timeout: float = 2.0
    rise: int = 2
    fall: int = 3
    port: int = 0
    initially: Initially = Initially.HEALTHY

    def __attrs_post_init__(self) -> None:
        for name in ("interval", "timeout"):
            if getattr(self, name) <= 0:
                raise BadConfiguration(name, getattr(self, name), "must be more than 0 s")


def _initially(name: str, text: str) -> Initially:
    return Initially(one_of(*map(str, Initially))(name, text))


_initially.kind = "|".join(map(str, Initially))  # type: ignore[attr-defined]
_DEFAULTS = CheckSchedule()


def _option(name: str, parse: Any, help: str, unit: str = "") -> tuple[str, Option]:
    return name, Option(parse=parse, default=getattr(_DEFAULTS, name), help=help, unit=unit)


_IN_A_ROW = between(1, _MOST_IN_A_ROW, parse_count)
_COMMON_OPTIONS = dict(
    (
        _option("interval", parse_duration, "from one check of a server to its next", "seconds"),
        _option("jitter", parse_duration, "up to so much longer, at random", "seconds"),
        _option("timeout", parse_duration, "how long a check may take", "seconds"),
        _option("rise", _IN_A_ROW, "how many checks have to be passed in a row for a server to become healthy"),
        _option("fall", _IN_A_ROW, "how many checks have to fail in a row for a server to become unhealthy"),
        _option("port", between(0, 65535, parse_count), "where to connect; 0: to the server's own port"),
        _option("initially", _initially, "what a server is taken for before its first check"),
    )
)


@implementer(IHealthCheckFactory)
@attrs.frozen
class ConfiguredCheck(ConfiguredPlugin):
    """
    What groups build their checks from.

    @ivar schedule: when servers are checked, and what follows from it.
    """

    schedule: CheckSchedule = _DEFAULTS


@implementer(IPlugin, IHealthCheckFactory)
@attrs.frozen
class CheckPlugin(DeclaredPlugin):
    """A health check by name, as a drop-in declares it. Its class is built with what connects, and its options."""

    noun: ClassVar[str] = "check"
    product: ClassVar[Any] = IHealthCheck
    common: ClassVar[Mapping[str, Option]] = _COMMON_OPTIONS
    configured: ClassVar[Any] = ConfiguredCheck

    def make(
        self, loaded: type[Any], values: tuple[tuple[str, Any], ...], common: Mapping[str, Any]
    ) -> ConfiguredCheck:
        """One is built at once, so that what its constructor refuses is refused now."""
        configured = ConfiguredCheck(self, loaded, values, CheckSchedule(**common))
        configured.instance(None)
        return configured

    @property
    def schedule(self) -> CheckSchedule:
        """What it is by default."""
        return _DEFAULTS


CHECKS = PluginKind(IHealthCheckFactory, CheckPlugin)
