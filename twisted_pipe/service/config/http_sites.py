"""Virtual servers and their routes: from the tables of a file to what the HTTP proxy looks requests up in."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TypeVar

import attrs

from twisted_pipe.http.routing import RouteTable, SiteTable
from twisted_pipe.proxies.http_settings import Action, Answer, HttpSettings, ProxyTo, Redirect, Route, Site
from twisted_pipe.service.config import model
from twisted_pipe.service.config.http_settings import HttpSettingsMaker
from twisted_pipe.service.config.keys import keys_of
from twisted_pipe.service.config.layers import Layers
from twisted_pipe.service.config.problems import Problems, Skip, dotted
from twisted_pipe.service.config.upstreams import Upstreams

__all__ = ["MadeSite", "SiteMaker"]

T = TypeVar("T")
_MATCHES, _ = model.RouteTable.alternatives
_SETTINGS = tuple(keys_of(model.HttpKeys))


@attrs.frozen
class MadeSite:
    """
    @ivar table: what it was made of.
    @ivar layers: that and the defaults.
    @ivar site: for the proxy.
    @ivar settings: its own, and those of its routes.
    """

    table: model.HttpServerTable
    layers: Layers
    site: Site
    settings: tuple[HttpSettings, ...]


@attrs.frozen
class SiteMaker:
    """
    @ivar problems: where what is wrong is said.
    @ivar upstreams: what routes pass requests on to.
    @ivar settings: makes the settings.
    @ivar defaults: of the file.
    """

    problems: Problems
    upstreams: Upstreams
    settings: HttpSettingsMaker
    defaults: model.HttpDefaults

    def make(self, table: model.HttpServerTable) -> MadeSite:
        """
        @raise Skip: anything of it is wrong; all of that has been reported.
        """
        layers = Layers((table, self.defaults))
        own = self.problems.attempt(self.settings.make, layers)
        for place, name in enumerate(table.names):
            self.problems.attempt(self.problems.checked, (*table.where, "names", place), SiteTable, [([name], True)])
        routes = [(each, self.problems.attempt(self._route, each, layers, own)) for each in table.routes]
        unique = self._check_unique(table.routes)
        made = [(route, *found) for route, found in routes if found is not None]
        if own is None or not unique or len(made) < len(table.routes):
            raise Skip
        site = Site(
            name=table.names[0] if table.names else "",
            routes=_route_table([(each, route) for each, route, _ in made]),
            settings=own,
        )
        return MadeSite(table, layers, site, (own, *(settings for _, _, settings in made)))

    def _route(self, table: model.RouteTable, layers: Layers, own: HttpSettings | None) -> tuple[Route, HttpSettings]:
        """
        @param layers: the server's.
        @param own: its settings.
        """
        can_be = self._check_keys(table)
        captures = _captures(table.regex)
        settings = own
        if own is None or any(getattr(table, name) is not None for name in _SETTINGS):
            settings = self.problems.attempt(self.settings.make, Layers((table, *layers.tables)), captures)
        action = self.problems.attempt(self._action, table, captures)
        if settings is None or action is None or not can_be:
            raise Skip
        prefix = table.prefix or table.exact or ""
        return Route(action=action, settings=settings, prefix=prefix.encode()), settings

    def _check_keys(self, table: model.RouteTable) -> bool:
        """Which keys go together, and whether there can be such a path."""
        problems = self.problems
        for name, other in (("final", "prefix"), ("ignore_case", "regex"), ("uri", "proxy")):
            if getattr(table, name) is not None and not problems.given((*table.where, other)):
                problems.add(
                    (*table.where, name), f"must be left out: it says something about {other}, which is missing"
                )
        if table.uri is not None and table.regex is not None:
            problems.add((*table.where, "uri"), "must be left out: with regex there is no prefix that it could replace")
        given = [name for name in _MATCHES if getattr(table, name) is not None]
        checks = [
            problems.attempt(problems.checked, (*table.where, name), _route_table, [(table, 0)]) for name in given
        ]
        return None not in checks

    def _action(self, table: model.RouteTable, captures: Collection[str]) -> Action:
        if table.proxy is not None:
            return self._proxy(table, table.proxy)
        if table.answer is not None:
            return self._answer(table.answer, captures)
        if table.redirect is not None and table.redirect.location is not None:
            where = (*table.redirect.where, "location")
            location = self.settings.template(table.redirect.location, where, captures)
            return Redirect(location=location, status=table.redirect.status or 302)
        if table.refuse is not None:
            return Answer(status=table.refuse)
        raise Skip

    def _answer(self, table: model.AnswerTable, captures: Collection[str]) -> Answer:
        body = None
        if table.body is not None:
            body = self.settings.template(table.body, (*table.where, "body"), captures)
        content_type = {} if table.content_type is None else {"content_type": table.content_type.encode()}
        return Answer(status=table.status or 200, body=body, **content_type)

    def _proxy(self, table: model.RouteTable, proxy: str) -> ProxyTo:
        where = (*table.where, "proxy")
        upstream, uri = self.upstreams.target(proxy, where)
        if uri is not None and table.regex is not None:
            self.problems.add(where, f"must be without {uri!r}: with regex there is no prefix that it could replace")
        if uri is not None and table.uri is not None:
            self.problems.add((*table.where, "uri"), f"must be left out: proxy has {uri!r}")
        replacement = uri if uri is not None else table.uri
        return ProxyTo(upstream=upstream, uri=None if replacement is None else replacement.encode())

    def _check_unique(self, routes: Sequence[model.RouteTable]) -> bool:
        """Whether no route stands where another has stood already."""
        unique = True
        seen: dict[tuple[str, str, bool], model.RouteTable] = {}
        for route in routes:
            for name in _MATCHES:
                text = getattr(route, name)
                if text is None:
                    continue
                first = seen.setdefault((name, text, name == "regex" and bool(route.ignore_case)), route)
                if first is not route:
                    unique = False
                    self.problems.add((*route.where, name), f"must be given once: {dotted(first.where)} has it")
        return unique


def _captures(regex: str | None) -> tuple[str, ...]:
    """What a regular expression gives to templates: numbers and names."""
    if regex is None:
        return ()
    pattern = re.compile(regex)
    return (*map(str, range(1, min(pattern.groups, 9) + 1)), *pattern.groupindex)


def _route_table(routes: Sequence[tuple[model.RouteTable, T]]) -> RouteTable[T]:
    """
    @raise BadConfiguration: there can be no such route.
    """
    return RouteTable(
        exact={table.exact.encode(): route for table, route in routes if table.exact is not None},
        prefixes={table.prefix.encode(): route for table, route in routes if table.prefix and not table.final},
        final_prefixes={table.prefix.encode(): route for table, route in routes if table.prefix and table.final},
        patterns=[(table.regex, bool(table.ignore_case), route) for table, route in routes if table.regex is not None],
    )
