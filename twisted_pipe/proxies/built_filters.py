"""Filters built for one direction of one connection, all or none."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from twisted_pipe.errors import FilterFailed
from twisted_pipe.interfaces import FilterContext, IPipeFilterFactory, NamedFilter, OnFailure

__all__ = ["build_filters"]

_log = Logger()


def build_filters(factories: Iterable[IPipeFilterFactory], context: FilterContext, name: str) -> list[NamedFilter]:
    """
    New filters, in order.

    @param name: what the log calls the connection.
    @raise FilterFailed: one cannot be built, and is not to be bypassed.
    """
    built: list[NamedFilter] = []
    for factory in factories:
        entry = _build(factory, context)
        if isinstance(entry, NamedFilter):
            built.append(entry)
        elif factory.on_failure is OnFailure.BYPASS:
            _log.error("{name}: bypassed: {problem}", name=name, problem=entry.describe())
        else:
            for other in built:
                _stop(other, entry)
            raise entry
    return built


def _build(factory: IPipeFilterFactory, context: FilterContext) -> NamedFilter | FilterFailed:
    try:
        return NamedFilter(factory.name, factory.build(context), factory.on_failure, factory.timeout)
    except BaseException as error:
        failure = FilterFailed(str(factory.name), error)
        failure.__cause__ = error
        return failure


def _stop(entry: NamedFilter, reason: BaseException) -> None:
    """Tell a filter that was built and never started that it will not be."""
    try:
        entry.filter.stopped(reason)
    except BaseException as error:
        _log.error("{problem}", problem=FilterFailed(entry.name, error).describe())
