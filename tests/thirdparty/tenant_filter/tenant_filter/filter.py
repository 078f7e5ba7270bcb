"""The filter."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from contextlib import closing
from typing import Union

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.base import MessageFilter, option
from twisted_pipe.messages.reply import Reply
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.units import parse_duration, parse_text

__all__ = ["Tenant"]

_LONGEST_KEY = 200  # bytes
_MOST_REMEMBERED = 1000

#: Name and upstream, None if there is no such key.
Found = Union[tuple[str, Union[str, None]], None]


def look_up(path: str, key: str) -> Found:
    """In a thread: SQLite may wait for who writes."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        row = database.execute("SELECT name, upstream FROM tenants WHERE key = ?", (key,)).fetchone()
    return None if row is None else (row[0], row[1])


@attrs.define
class Tenant(MessageFilter):
    """
    Sends each tenant, known by its API key, to its upstream.

    @ivar database: an SQLite file with C{tenants (key, name, upstream)}. Has to be given.
    @ivar header: the field with the key. Default C{X-API-Key}.
    @ivar remember: seconds that what was looked up is not looked up again. Default 10.
    """

    database: str = option(parse_text, help="an SQLite file with a table tenants (key, name, upstream)")
    header: str = option(parse_text, default="X-API-Key", help="the field with the key")
    remember: float = option(
        parse_duration, default=10.0, help="what was looked up is not looked up again", unit="seconds"
    )
    _path: str = attrs.field(init=False, repr=False)
    _known: OrderedDict[str, tuple[float, Found]] = attrs.field(init=False, factory=OrderedDict, repr=False)

    def __attrs_post_init__(self) -> None:
        self._path = self.context.path(self.database)
        try:
            look_up(self._path, "")
        except sqlite3.Error as error:
            raise BadConfiguration(
                "database", self.database, f"must be an SQLite file with tenants: {error}"
            ) from error

    async def request(self, request: RequestMessage) -> Reply | None:
        given = request.headers.get(self.header)
        if given is None:
            return Reply(401, {"WWW-Authenticate": f'ApiKey header="{self.header}"'})
        request.headers.remove(self.header)
        found = await self._find(given.decode("latin-1")) if len(given) <= _LONGEST_KEY else None
        if found is None:
            return Reply(403)
        name, upstream = found
        request.headers.set("X-Tenant", name)
        request.set_variable("tenant", name)
        if upstream is not None:
            request.upstream = upstream
        return None

    async def _find(self, key: str) -> Found:
        now = self.context.clock.seconds()
        until, found = self._known.get(key, (0.0, None))
        if until > now:
            return found
        found = await self.context.in_thread(look_up, self._path, key)
        self._known[key] = (now + self.remember, found)
        self._known.move_to_end(key)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return found
