"""
Where a connection is passed on to by what its client says of TLS before it is encrypted (nginx C{ssl_preread}, and the C{map} that
goes with it): the name of the server it asks for, and the protocols it offers.

Names are looked up as those of virtual servers. Of the routes for the best name the first counts whose protocols the client offers,
then of those without names; then it is the server's own group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.routing import SiteTable
from twisted_pipe.http.target import check_host
from twisted_pipe.preface.client_hello import ClientHello, ClientHelloParser
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["StreamRoute", "StreamRoutes"]


_PARSER = ClientHelloParser()


@attrs.frozen(kw_only=True)
class StreamRoute:
    """
    @ivar group: where to.
    @ivar names: of servers, as for L{SiteTable.add}; none for any, even for no name.
    @ivar alpn: of protocols, one of which the client has to offer; none for any, even for none.
    @raise BadConfiguration: there is neither.
    """

    group: UpstreamGroup
    names: tuple[str, ...] = ()
    alpn: tuple[bytes, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not (self.names or self.alpn):
            raise BadConfiguration("names", self.names, "a route must have names or alpn: it would be for everything")

    def takes(self, offered: Sequence[bytes]) -> bool:
        """Whether a client that offers these protocols is for it."""
        return not self.alpn or any(name in self.alpn for name in offered)


class StreamRoutes:
    """
    @ivar parser: of what clients say.
    @ivar timeout: seconds for them to say it; 0 for ever. Default 30 (nginx C{preread_timeout}).
    """

    def __init__(
        self,
        routes: Iterable[StreamRoute] = (),
        *,
        parser: ClientHelloParser = _PARSER,
        timeout: float = 30.0,
    ) -> None:
        """
        @param routes: in the order in which they are tried. None at all if what clients say is of use for something else.
        @raise BadConfiguration: a name cannot be, or has two routes of which the second could never be reached.
        """
        self.parser = parser
        self.timeout = timeout
        self._routes = tuple(routes)
        by_name: dict[str, list[StreamRoute]] = {}
        anybody: list[StreamRoute] = []
        for route in self._routes:
            for name in route.names:
                _append(by_name.setdefault(name if name.startswith("~") else name.lower(), []), route, name)
            if not route.names:
                anybody.append(route)
        self._table: SiteTable[Sequence[StreamRoute]] = SiteTable()
        self._table.add((), tuple(anybody), default=True)
        for name, same in by_name.items():
            self._table.add((name,), (*same, *anybody))

    def __repr__(self) -> str:
        return f"<StreamRoutes {len(self._routes)}>"

    def __iter__(self) -> Iterator[StreamRoute]:
        return iter(self._routes)

    def find(self, hello: ClientHello) -> UpstreamGroup | None:
        """
        @return: None if no route is for it.
        """
        for route in self._table.find(check_host(hello.server_name.encode())):
            if route.takes(hello.alpn):
                return route.group
        return None


def _append(same: list[StreamRoute], route: StreamRoute, name: str) -> None:
    for each in same:
        if not each.alpn or (route.alpn and set(route.alpn) <= set(each.alpn)):
            raise BadConfiguration("names", name, "must be a name of one route only, or of routes with different alpn")
    same.append(route)
