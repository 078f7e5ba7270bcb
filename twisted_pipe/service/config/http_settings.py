"""How requests are passed on: what route, server and defaults say together, as the proxy needs it at run time."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.body_filters import FilterUse
from twisted_pipe.http.forwarding import ForwardedStyle
from twisted_pipe.http.log_format import log_format
from twisted_pipe.http.template import Template
from twisted_pipe.limits import MIB
from twisted_pipe.messages.headers import FRAMING
from twisted_pipe.proxies.http_settings import ErrorPage, HeadChanges, HttpSettings
from twisted_pipe.proxies.next_upstream import NextUpstream
from twisted_pipe.proxies.upgrade_settings import UpgradeSettings
from twisted_pipe.service.access_log import AccessLogPlace, check_log_path
from twisted_pipe.service.config.filter_value import FilterGiven
from twisted_pipe.service.config.keys import Path
from twisted_pipe.service.config.layers import Layers, pipe_limits
from twisted_pipe.service.config.message_filters import MessageFilterMaker
from twisted_pipe.service.config.model import (
    AccessLogTable,
    ErrorPageTable,
    RequestHeadersTable,
    ResponseHeadersTable,
)
from twisted_pipe.service.config.problems import Problems, Skip
from twisted_pipe.service.refusal import reason_of

__all__ = ["LARGEST_PAGE", "HttpSettingsMaker"]

LARGEST_PAGE = MIB  #: bytes of an error page, which is kept in memory

#: The key of each field of L{HttpSettings} that is made by nothing but taking it.
_TAKEN = {
    name: name
    for name in (
        "connect_timeout",
        "send_timeout",
        "request_buffering",
        "request_body_buffer_size",
        "client_max_body_size",
        "ignore_client_abort",
        "pass_host",
        "intercept_errors",
    )
} | {"header_buffer_size": "buffer_size"}
_DEFAULTS = HttpSettings()


@attrs.frozen
class HttpSettingsMaker:
    """
    @ivar problems: where what is wrong is said.
    @ivar resolve: makes a path of the file absolute.
    @ivar message_filters: makes these.
    """

    problems: Problems
    resolve: Callable[[str], str]
    message_filters: MessageFilterMaker

    def make(self, layers: Layers, captures: Collection[str] = ()) -> HttpSettings:
        """
        @param captures: what templates may use besides variables.
        @raise Skip: something is wrong with them; all of it has been reported.
        """
        attempt = self.problems.attempt
        limits = attempt(pipe_limits, layers, self.problems, "client_send_timeout", _DEFAULTS.limits)
        request_headers = attempt(self._headers, layers.get("request_headers"), captures)
        response_headers = attempt(self._headers, layers.get("response_headers"), captures)
        error_pages = attempt(self._error_pages, layers.get("error_pages") or ())
        logs = attempt(self._logs, layers.get("access_log") or ())
        message_filters = attempt(self.message_filters.make, layers)
        next_upstream = attempt(self._next_upstream, layers)
        if (
            limits is None
            or request_headers is None
            or response_headers is None
            or error_pages is None
            or logs is None
            or message_filters is None
            or next_upstream is None
        ):
            raise Skip
        return HttpSettings(
            limits=limits,
            # a client's silence is client_body_timeout's business
            request_limits=attrs.evolve(
                limits, limit_rate=layers.get("upload_rate") or 0, limit_rate_after=0, read_timeout=0.0
            ),
            request_headers=request_headers,
            response_headers=response_headers,
            error_pages=error_pages,
            response_filters=_filters(layers.get("filters") or ()),
            request_filters=_filters(layers.get("request_filters") or ()),
            message_filters=message_filters.filters,
            upstreams=message_filters.upstreams,
            next_upstream=next_upstream,
            upgrade=_upgrade(layers),
            logs=logs,
            **layers.fields(_TAKEN),
            **_converted(layers),
        )

    def template(self, text: str, where: Path, captures: Collection[str]) -> Template:
        """
        @raise Skip: it is none.
        """
        return self.problems.checked(where, Template.compile, "", text, captures)

    def _headers(
        self, table: RequestHeadersTable | ResponseHeadersTable | None, captures: Collection[str]
    ) -> HeadChanges:
        if table is None:
            return HeadChanges()

        def field(kind: str, name: str, text: str) -> tuple[bytes, Template] | None:
            where = (*table.where, kind, name)
            if text and name.lower().encode() in FRAMING:
                self.problems.add(where, "must be left out, or empty: it is the proxy's, which frames the body")
                return None
            template = self.problems.attempt(self.template, text, where, captures)
            return None if template is None else (name.encode(), template)

        put = [field("set", name, text) for name, text in table.set.items()]
        added = [field("add", name, text) for name, texts in table.add.items() for text in texts]
        if None in put or None in added:
            raise Skip
        return HeadChanges(
            set=tuple(each for each in put if each),
            add=tuple(each for each in added if each),
            remove=frozenset(name.lower().encode() for name in table.remove),
            always=bool(getattr(table, "always", None)),
        )

    def _next_upstream(self, layers: Layers) -> NextUpstream:
        given = layers.fields({"tries": "next_upstream_tries", "timeout": "next_upstream_timeout"})
        words = layers.get("next_upstream")
        if words is None:
            return NextUpstream(**given)
        where = layers.where("next_upstream")
        return self.problems.checked(where, partial(NextUpstream.of_words, words, **given))

    def _error_pages(self, tables: Sequence[ErrorPageTable]) -> Mapping[int, ErrorPage]:
        pages: dict[int, ErrorPage] = {}
        for table in tables:
            page = self.problems.attempt(self._error_page, table)
            if page is None:
                continue
            for status in table.statuses:
                if status in pages:
                    self.problems.add((*table.where, "statuses"), f"{status} has a page already")
                pages[status] = page
        return pages

    def _error_page(self, table: ErrorPageTable) -> ErrorPage:
        if (table.body is None) is (table.file is None):
            raise Skip  # that has been reported
        if table.file is not None:
            body = self.problems.checked((*table.where, "file"), _read, self.resolve(table.file))
        else:
            body = str(table.body).encode()
        content_type = {} if table.content_type is None else {"content_type": table.content_type.encode()}
        return ErrorPage(body=body, status=table.status, **content_type)

    def _logs(self, tables: Sequence[AccessLogTable]) -> tuple[AccessLogPlace, ...]:
        places = []
        for table in tables:
            if table.path is None or table.path == "off":
                continue
            path_key, format_key = (*table.where, "path"), (*table.where, "format")
            path = table.path if table.path in ("-", "stdout", "stderr") else self.resolve(table.path)
            self.problems.checked(path_key, check_log_path, path)
            form = self.problems.checked(format_key, log_format, table.format or "combined", "")
            places.append(AccessLogPlace(path, form, self.problems.name_of(path_key)))
        return tuple(places)


def _converted(layers: Layers) -> dict[str, Any]:
    """What takes one step more than being taken."""
    steps: dict[str, Callable[[str], object]] = {
        "forwarded": ForwardedStyle,
        "via": str.encode,
        "bare_lf": "accept".__eq__,
    }
    return {name: step(layers.get(name)) for name, step in steps.items() if layers.get(name) is not None}


def _upgrade(layers: Layers) -> UpgradeSettings:
    given = layers.fields({"timeout": "upgrade_timeout"})
    protocols = layers.get("upgrade")
    if protocols is not None:
        given["protocols"] = frozenset(each.encode() for each in protocols)
    for field, name in (("response_filters", "upgrade_filters"), ("request_filters", "upgrade_request_filters")):
        given[field] = tuple(each.factory for each in layers.get(name) or ())
    return UpgradeSettings(**given)


def _filters(given: Sequence[FilterGiven]) -> tuple[FilterUse, ...]:
    return tuple(FilterUse(factory=each.factory, types=each.types or ()) for each in given)


def _read(path: str) -> bytes:
    """
    @raise BadConfiguration: the file cannot be read, or is too large for a page.
    """
    try:
        if os.path.getsize(path) > LARGEST_PAGE:
            raise BadConfiguration("file", path, f"must be a file of at most {LARGEST_PAGE} bytes")
        with open(path, "rb") as file:
            return file.read(LARGEST_PAGE)
    except OSError as error:
        raise BadConfiguration("file", path, f"must be a file that can be read: {reason_of(error)}") from error
