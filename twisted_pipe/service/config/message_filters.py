"""The message filters of a file: built when it is read, so that what they refuse (a file that is not there) is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
from twisted.internet.threads import deferToThreadPool

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IMessageFilter, IMessageFilterFactory, MessageContext, NamedFilter
from twisted_pipe.proxies.http_upstream import HttpUpstream
from twisted_pipe.service.config.keys import Path
from twisted_pipe.service.config.layers import Layers
from twisted_pipe.service.config.problems import Problems, Skip
from twisted_pipe.service.config.upstreams import Upstreams

__all__ = ["MadeMessageFilters", "MessageFilterMaker"]


@attrs.frozen
class MadeMessageFilters:
    """
    @ivar filters: in order.
    @ivar upstreams: which they may choose, by name.
    """

    filters: tuple[NamedFilter, ...] = ()
    upstreams: Mapping[str, HttpUpstream] = attrs.field(factory=dict)


@attrs.define
class MessageFilterMaker:
    """
    @ivar problems: where what is wrong is said.
    @ivar upstreams: those of the file.
    @ivar reactor: the filters' clock.
    @ivar folder: the file's directory.
    """

    problems: Problems
    upstreams: Upstreams
    reactor: Any
    folder: str
    _made: dict[Path, MadeMessageFilters | None] = attrs.field(factory=dict, init=False)

    def make(self, layers: Layers) -> MadeMessageFilters:
        """
        Those of the nearest table that has some: one object for all routes that share it.

        @raise Skip: something is wrong with them; it has been reported.
        """
        if not layers.get("message_filters"):
            return MadeMessageFilters()
        where = layers.where("message_filters")
        if where not in self._made:
            self._made[where] = self.problems.attempt(self._make, layers, where)
        made = self._made[where]
        if made is None:
            raise Skip
        return made

    def _make(self, layers: Layers, where: Path) -> MadeMessageFilters:
        in_thread = partial(_in_thread, self.reactor)
        context = MessageContext(clock=self.reactor, folder=self.folder, in_thread=in_thread)
        attempt = self.problems.attempt
        filters = [
            attempt(self._named, factory, context, (*where, place))
            for place, factory in enumerate(layers.get("message_filters"))
        ]
        upstreams = attempt(self.upstreams.for_http, where)
        if None in filters or upstreams is None:
            raise Skip
        return MadeMessageFilters(tuple(each for each in filters if each), upstreams)

    def _named(self, factory: IMessageFilterFactory, context: MessageContext, where: Path) -> NamedFilter:
        try:
            built: IMessageFilter = factory.build(context)
        except BadConfiguration as error:
            option = (*where, error.name.rpartition(": ")[2])
            if self.problems.given(option):
                self.problems.add(option, error.expected)
                raise Skip from error
            self.problems.checked(where, _raise, error)
        return NamedFilter(factory.name, built, factory.on_failure, factory.timeout)


def _raise(error: BadConfiguration) -> None:
    raise error


def _in_thread(reactor: Any, function: Any, *arguments: Any) -> Any:
    return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)
