"""
The formats of the access log.

A log is read by programs that believe it. So a line is one line whatever a client sent, and what it sent cannot be taken for
what we say: values are escaped as nginx escapes them, literal text comes from the configuration only, and there is no
C{escape=none}.

=================  ============================================================
C{combined}        nginx's, and Apache's: L{COMBINED}
C{json}            one object a line: L{JSON_FIELDS}
anything else      a template, C{escape=json } may stand before it
=================  ============================================================

Source: nginx C{log_format}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.facts import ExchangeFacts
from twisted_pipe.http.template import Escape, Template
from twisted_pipe.http.variables import (
    basic_user,
    host_of,
    local_second,
    protocol_of,
    time_of,
)

__all__ = ["COMBINED", "JSON_FIELDS", "LogFormat", "escape_for_json", "escape_for_log", "log_format"]

COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
_COMBINED_QUOTES = b'"' * COMBINED.count('"')


@attrs.frozen
class LogFormat:
    """
    Made by L{log_format}.

    @ivar text: what it was made of.
    @ivar line: the line of an exchange. It ends with a newline, and has no other.
    """

    text: str
    line: Callable[[ExchangeFacts], bytes] = attrs.field(eq=False, repr=False)


def log_format(text: str, name_of_option: str = "log_format") -> LogFormat:
    """
    @param text: C{"combined"}, C{"json"} or a template.
    @param name_of_option: where it stands, for the error.
    @raise BadConfiguration: when it is none of these.
    """
    if text == "combined":
        return LogFormat(text, _combined)
    if text == "json":
        return LogFormat(text, _json)
    return LogFormat(text, _template_line(name_of_option, text))


# Escapes


#: All but printable ASCII, and of that the quotation mark and the backslash.
_ESCAPED = re.compile(rb"[^ !#-\[\]-~]")
_ESCAPES = [b"\\x%02X" % byte for byte in range(256)]


def escape_for_log(value: bytes) -> bytes:
    r"""nginx's C{escape=default}: C{\xXX} for quotation marks, backslashes and all that is not printable ASCII."""
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0][0]], value)


def escape_for_json(value: bytes) -> bytes:
    r"""
    What stands between the quotation marks of a JSON string, in ASCII. Bytes that are no UTF-8 are shown as C{\xff} (nginx's
    C{escape=json} lets them through, and the line is no JSON).
    """
    return _to_json(_decoded(value))[1:-1].encode("ascii")


_to_json = json.JSONEncoder(separators=(",", ":")).encode


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


# Templates

#: How values are escaped, and what stands for one that is not there.
_WAYS: dict[str, tuple[Escape, bytes]] = {"default": (escape_for_log, b"-"), "json": (escape_for_json, b"")}
_ESCAPE = re.compile(r"escape=(\S*)\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # a tab separates fields in some formats


def _template_line(option: str, text: str) -> Callable[[ExchangeFacts], bytes]:
    way = _ESCAPE.match(text)
    if way is not None and way[1] not in _WAYS:
        raise BadConfiguration(
            option, text, "escape= must be default or json; without one a client could write lines of its own"
        )
    escape, missing = _WAYS[way[1] if way else "default"]
    template = Template.compile(option, text[way.end() :] if way else text, escape=escape, missing=missing)
    if template.literal is not None:
        raise BadConfiguration(option, text, 'must be "combined", "json" or a template with a variable in it')
    if _CONTROL.search(text):
        raise BadConfiguration(
            option, text, "a line of a log must not have line ends or other control characters in it"
        )
    render = template.render
    return lambda facts: render(facts) + b"\n"


# The combined format, by a shorter way

_combined_template = _template_line("combined", COMBINED)
_UNESCAPED = bytes(byte for byte in range(256) if not _ESCAPED.match(b"%c" % byte))


def _combined(facts: ExchangeFacts) -> bytes:
    """
    What L{COMBINED} says, in less time. The line is put together as text, and if nothing in it needs escaping that is it. That can
    be seen of the whole line at once: without all the bytes that need none, the quotation marks of the format are left.
    """
    authorization, referer, agent = facts.log_headers
    user = None if authorization is None else basic_user(authorization)
    request = facts.request_line
    status = facts.status
    line = (
        f"{facts.client_host} - {'-' if user is None else user.decode('latin-1')} "
        f"[{local_second(int(facts.ended or facts.started)).common}] "
        f'"{request.decode("latin-1") if request else "-"}" {status} {facts.body_bytes_sent} '
        f'"{"-" if referer is None else referer.decode("latin-1")}" '
        f'"{"-" if agent is None else agent.decode("latin-1")}"'
    ).encode("utf-8", "backslashreplace")
    if status < 100 or line.translate(None, _UNESCAPED) != _COMBINED_QUOTES:
        return _combined_template(facts)
    return line + b"\n"


# JSON

#: The fields of a line, in their order, each with what it says. What is said of upstream servers is a list, with one entry for each
#: server tried; what is not known is null.
JSON_FIELDS: dict[str, tuple[str, Callable[[ExchangeFacts], object]]] = {
    "time": ("when it ended, ISO 8601 with milliseconds", lambda facts: _iso8601(time_of(facts))),
    "remote_addr": ("the client's address", lambda facts: facts.client_host),
    "request_id": ("32 hexadecimal digits", lambda facts: facts.request_id),
    "host": ("that was asked for, else the server's name", lambda facts: _decoded(host_of(facts))),
    "method": ("null if the request could not be read", lambda facts: _known(facts.method)),
    "uri": ("the target as it was sent, with the query; null likewise", lambda facts: _known(facts.target)),
    "protocol": ("HTTP/1.1; null likewise", lambda facts: _known(protocol_of(facts))),
    "status": ("of the response", lambda facts: facts.status),
    "bytes": ("sent to the client", lambda facts: facts.bytes_sent),
    "body_bytes": ("of these, without the head", lambda facts: facts.body_bytes_sent),
    "request_time": ("seconds", lambda facts: _rounded(facts.ended - facts.started)),
    "upstream_addr": ("the servers tried", lambda facts: list(facts.upstream_addrs)),
    "upstream_status": ("what they answered", lambda facts: [status or None for status in facts.upstream_statuses]),
    "upstream_connect_time": ("seconds", lambda facts: _all_rounded(facts.upstream_connect_times)),
    "upstream_header_time": ("seconds", lambda facts: _all_rounded(facts.upstream_header_times)),
    "upstream_response_time": ("seconds", lambda facts: _all_rounded(facts.upstream_response_times)),
    "spilled": ("bytes that waited on disk", lambda facts: facts.bytes_spilled),
    "retries": ("how many times another server was tried", lambda facts: facts.retries),
    "referer": ("the header", lambda facts: _shown(facts.request_header(b"referer"))),
    "user_agent": ("the header", lambda facts: _shown(facts.request_header(b"user-agent"))),
    "error": ("why it went wrong; null if it did not", lambda facts: facts.error or None),
}
_JSON_GETTERS = [(name, get) for name, (_, get) in JSON_FIELDS.items()]


def _json(facts: ExchangeFacts) -> bytes:
    return _to_json({name: get(facts) for name, get in _JSON_GETTERS}).encode("ascii") + b"\n"


def _shown(value: bytes | None) -> str | None:
    return None if value is None else _decoded(value)


def _known(value: bytes | None) -> str | None:
    return _decoded(value) if value else None


def _iso8601(time: float) -> str:
    second = int(time)
    text = local_second(second).iso8601
    return f"{text[:19]}.{int((time - second) * 1000):03}{text[19:]}"


def _rounded(seconds: float) -> float:
    return round(max(seconds, 0.0), 3)


def _all_rounded(times: Iterable[float | None]) -> list[float | None]:
    return [None if seconds is None else _rounded(seconds) for seconds in times]
