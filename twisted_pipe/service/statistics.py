"""What a service tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from twisted_pipe.proxies.http_upstream import HttpUpstreamStatistics
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.upstream.group import UpstreamStatistics
from twisted_pipe.upstream.group_names import GroupNames
from twisted_pipe.upstream.health_checks import HealthChecks
from twisted_pipe.upstream.name_watch import NameStatistics
from twisted_pipe.upstream.peer_check import CheckStatistics

__all__ = ["GroupStatistics", "ServiceStatistics", "statistics_of"]


@attrs.frozen(kw_only=True)
class GroupStatistics:
    """
    @ivar group: the group, and its servers.
    @ivar connections: to them, for requests; None if no request is sent there.
    @ivar names: those that are looked up; none without C{resolve}.
    @ivar checks: of its servers; none without C{health}, and while the service is stopped.
    """

    group: UpstreamStatistics
    connections: HttpUpstreamStatistics | None
    names: tuple[NameStatistics, ...]
    checks: tuple[CheckStatistics, ...]


@attrs.frozen(kw_only=True)
class ServiceStatistics:
    """
    @ivar servers: what the protocols have counted, in the order of the servers.
    @ivar groups: every group of servers.
    """

    servers: tuple[Any, ...]
    groups: tuple[GroupStatistics, ...]


def statistics_of(configuration: PipeConfiguration, protocols: Sequence[Any]) -> ServiceStatistics:
    """
    The state now.

    @param protocols: what stands behind the listeners, C{IPipeProtocol}s.
    """
    connections = {each.group: each.statistics() for each in configuration.upstreams}
    names = {each.group: each.statistics() for each in configuration.background if isinstance(each, GroupNames)}
    checks = {each.group: each.statistics() for each in configuration.background if isinstance(each, HealthChecks)}
    return ServiceStatistics(
        servers=tuple(protocol.statistics() for protocol in protocols),
        groups=tuple(
            GroupStatistics(
                group=group.statistics(),
                connections=connections.get(group),
                names=names.get(group, ()),
                checks=checks.get(group, ()),
            )
            for group in dict.fromkeys([*configuration.groups, *names, *checks])
        ),
    )
