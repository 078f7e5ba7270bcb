"""Which other protocols clients may change to, and what holds for them then."""

from __future__ import annotations

import re

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.upgrade import NEVER_PASSED, name_of
from twisted_pipe.interfaces import Direction, IPipeFilterFactory
from twisted_pipe.limits import PipeLimits
from twisted_pipe.proxies.tunnel import TunnelSettings

__all__ = ["UpgradeSettings", "check_protocol"]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_protocol(name: str) -> str:
    """
    C{name}, if it is that of a protocol which may be passed on.

    @raise BadConfiguration: it is none, or carries requests that nobody would look at.
    """
    raw = name.encode("latin-1", "replace")
    if not _TOKEN.fullmatch(raw):
        raise BadConfiguration(
            "upgrade", name, 'must be the name of a protocol, without its version, such as "websocket"'
        )
    if name_of(raw) in NEVER_PASSED:
        raise BadConfiguration(
            "upgrade", name, "carries requests past every rule of the proxy's: it is never passed on"
        )
    return name


def _checked(protocols: frozenset[bytes]) -> frozenset[bytes]:
    return frozenset(check_protocol(each.decode("latin-1")).lower().encode("latin-1") for each in protocols)


@attrs.frozen(kw_only=True)
class UpgradeSettings:
    """
    @ivar protocols: names of those passed on, in any case of letters; none for no upgrades. Default C{websocket}.
    @ivar timeout: seconds without a byte either way, then both connections are closed; 0 for never. Default 1 h. (nginx:
        C{proxy_read_timeout}, of the server's bytes only.)
    @ivar response_filters: toward the client, in order.
    @ivar request_filters: toward the upstream, in order.
    @raise BadConfiguration: see L{check_protocol}.
    """

    protocols: frozenset[bytes] = attrs.field(default=frozenset({b"websocket"}), converter=_checked)
    timeout: float = 3600.0
    response_filters: tuple[IPipeFilterFactory, ...] = ()
    request_filters: tuple[IPipeFilterFactory, ...] = ()

    def filters_of(self, direction: Direction) -> tuple[IPipeFilterFactory, ...]:
        """The filters on that direction."""
        return self.response_filters if direction is Direction.RESPONSE else self.request_filters

    def tunnel(self, response: PipeLimits, request: PipeLimits) -> TunnelSettings:
        """
        @param response: the bounds of responses; C{request} those of requests' bodies.
        """
        return TunnelSettings(
            response=_never_on_disk(response),
            request=_never_on_disk(request),
            idle_timeout=self.timeout,
            response_filtered=bool(self.response_filters),
            request_filtered=bool(self.request_filters),
        )


def _never_on_disk(limits: PipeLimits) -> PipeLimits:
    """A side may be silent, and what it says is worth little when it is old."""
    return attrs.evolve(limits, max_temp_file_size=0, read_timeout=0.0)
