"""
The variables of templates and log formats: a fixed vocabulary, in nginx's names (C{http://nginx.org/en/docs/varindex.html}).

A variable reads one fact of an exchange, a request and its response, and never changes it. All of them are in L{VARIABLES}, from
which the reference page is generated. A value that is not there (a header that was not sent, an upstream that was not asked) is
None: the template decides what stands for it, nothing in a header and C{-} in a log.

Bytes that came from a client are given as they came. Whoever writes them where some bytes mean something (a line of a log, a
header) escapes them there.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Iterable
from datetime import datetime, timezone
from functools import lru_cache

import attrs

from twisted_pipe.http.facts import ExchangeFacts
from twisted_pipe.http.proxied_variables import PROXIED_VARIABLES
from twisted_pipe.http.tls_variables import TLS_VARIABLES
from twisted_pipe.http.variable import Getter, Variable, VariableFamily, Vocabulary

__all__ = [
    "VARIABLES",
    "VOCABULARY",
    "Getter",
    "LocalSecond",
    "Variable",
    "VariableFamily",
    "basic_user",
    "find_variable",
    "host_of",
    "local_second",
    "protocol_of",
    "time_of",
]


def basic_user(authorization: bytes) -> bytes | None:
    """
    The user in an C{Authorization} header of the scheme Basic (RFC 7617), the padding of which may be missing.

    @return: None for another scheme, for what cannot be decoded or has no colon, and for an empty name.
    """
    match = _BASIC.fullmatch(authorization)
    if match is None:
        return None
    try:
        user, colon, _ = binascii.a2b_base64(match[1] + b"==").partition(b":")
    except binascii.Error:
        return None
    return user if colon and user else None


_BASIC = re.compile(rb"basic +([a-z0-9+/]+)={0,2}[ \t]*", re.IGNORECASE)


@attrs.frozen
class LocalSecond:
    """
    A second of local time.

    @ivar common: C{"22/Nov/2026:09:00:00 +0000"}, as in the Common Log Format. In English, whatever the locale.
    @ivar iso8601: C{"2026-11-22T09:00:00+00:00"}.
    """

    common: str
    iso8601: str


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=16)
def local_second(second: int) -> LocalSecond:
    """
    The forms of that second, made once.

    @param second: since the epoch.
    """
    time = datetime.fromtimestamp(second, timezone.utc).astimezone()
    common = f"{time.day:02}/{_MONTHS[time.month - 1]}/{time.year:04}:{time:%H:%M:%S %z}"
    return LocalSecond(common, time.isoformat())


def time_of(facts: ExchangeFacts) -> float:
    """When it ended, as far as it has, in seconds since the epoch."""
    return facts.ended or facts.started


def host_of(facts: ExchangeFacts) -> bytes:
    """The host the request asks for, else the site's name."""
    return facts.host or _text(facts.site)


def protocol_of(facts: ExchangeFacts) -> bytes | None:
    """C{b"HTTP/1.1"}; None if the request could not be read."""
    return b"HTTP/1.%d" % facts.minor if facts.method else None


def _text(value: str) -> bytes:
    return value.encode("utf-8", "backslashreplace")  # a lone surrogate, of a file name, is no reason to fail


def _seconds(value: float | None) -> bytes:
    return b"-" if value is None else b"%.3f" % max(value, 0.0)


def _listed(values: Iterable[bytes]) -> bytes | None:
    """One value for each server tried, as nginx writes them; None if none was."""
    return b", ".join(values) or None


def _header_name(name: str) -> bytes:
    return name.lower().replace("_", "-").encode()


def _request_header(name: str) -> Getter:
    header = _header_name(name)
    return lambda facts: facts.request_header(header)


def _response_header(name: str) -> Getter:
    header = _header_name(name)
    return lambda facts: facts.response_header(header)


def _upstream_header(name: str) -> Getter:
    header = _header_name(name)
    return lambda facts: facts.upstream_header(header)


def _filter_variable(name: str) -> Getter:
    return lambda facts: facts.filter_variable(name)


def _cookie(name: str) -> Getter:
    pattern = re.compile(rb"(?:^|;)[ \t]*%b[ \t]*=[ \t]*([^;]*)" % name.encode(), re.IGNORECASE)

    def get(facts: ExchangeFacts) -> bytes | None:
        match = pattern.search(facts.request_header(b"cookie") or b"")
        return match[1] if match else None

    return get


def _argument(name: str) -> Getter:
    pattern = re.compile(rb"(?:^|&)%b=([^&]*)" % name.encode(), re.IGNORECASE)

    def get(facts: ExchangeFacts) -> bytes | None:
        match = pattern.search(facts.args)
        return match[1] if match else None

    return get


def _user(facts: ExchangeFacts) -> bytes | None:
    authorization = facts.request_header(b"authorization")
    return None if authorization is None else basic_user(authorization)


def _arguments(facts: ExchangeFacts) -> bytes | None:
    return facts.args or None


def _statuses(facts: ExchangeFacts) -> bytes | None:
    return _listed(b"%d" % status if status else b"-" for status in facts.upstream_statuses)


def _upstream_bytes(facts: ExchangeFacts) -> bytes | None:
    return b"%d" % facts.upstream_bytes_received if facts.upstream_addrs else None


#: The whole vocabulary, captures excepted, which are named where they are made.
VARIABLES: tuple[Variable | VariableFamily, ...] = (
    Variable("remote_addr", "The client's address.", lambda facts: _text(facts.client_host)),
    Variable(
        "remote_port",
        "The client's port; nothing for a UNIX socket.",
        lambda facts: b"%d" % facts.client_port if facts.client_port else None,
        plain=True,
    ),
    Variable("remote_user", "The user in an Authorization header of the scheme Basic. Nobody has checked it.", _user),
    Variable(
        "server_addr", "The address of ours that the client connected to.", lambda facts: _text(facts.server_host)
    ),
    Variable(
        "server_port",
        "The port of ours that the client connected to; nothing for a UNIX socket.",
        lambda facts: b"%d" % facts.server_port if facts.server_port else None,
        plain=True,
    ),
    Variable("server_name", "The name of the virtual server.", lambda facts: _text(facts.site)),
    Variable("server_protocol", "HTTP/1.0 or HTTP/1.1, as the request says.", protocol_of, plain=True),
    Variable("hostname", "The name of this machine.", lambda facts: _text(facts.hostname)),
    Variable("pid", "The number of this process.", lambda facts: b"%d" % facts.pid, plain=True),
    Variable("scheme", "http or https.", lambda facts: _text(facts.scheme), plain=True),
    Variable(
        "connection", "The client connection's serial number.", lambda facts: b"%d" % facts.connection, plain=True
    ),
    Variable(
        "connection_requests",
        "How many requests came on this connection so far.",
        lambda facts: b"%d" % facts.connection_requests,
        plain=True,
    ),
    Variable("request", "The request's first line as it was sent.", lambda facts: facts.request_line or None),
    Variable("request_method", "GET, POST and so on.", lambda facts: facts.method or None),
    Variable("request_uri", "The request's target as it was sent, with the query.", lambda facts: facts.target or None),
    Variable("uri", "The request's path, decoded and normalised.", lambda facts: facts.uri or None),
    Variable("args", "The query.", _arguments),
    Variable("query_string", "The same as $args.", _arguments),
    Variable(
        "is_args", "A question mark if there is a query, else nothing.", lambda facts: b"?" if facts.args else b""
    ),
    Variable(
        "host", "The host that the request asks for, lower case, without a port; else the server's name.", host_of
    ),
    Variable(
        "request_length",
        "Bytes of the request: its first line, head and body.",
        lambda facts: b"%d" % facts.request_length,
        plain=True,
    ),
    Variable(
        "request_id",
        "32 hexadecimal digits that no other request has.",
        lambda facts: _text(facts.request_id),
        plain=True,
    ),
    Variable(
        "request_time",
        "Seconds, with milliseconds, from the request's first byte to the response's last.",
        lambda facts: _seconds(facts.ended - facts.started),
        plain=True,
    ),
    Variable("status", "The response's status.", lambda facts: b"%03d" % facts.status, plain=True),
    Variable(
        "body_bytes_sent",
        "Bytes sent to the client, without the head.",
        lambda facts: b"%d" % facts.body_bytes_sent,
        plain=True,
    ),
    Variable("bytes_sent", "Bytes sent to the client.", lambda facts: b"%d" % facts.bytes_sent, plain=True),
    Variable(
        "spilled_bytes",
        "Bytes that waited on disk. Not in nginx.",
        lambda facts: b"%d" % facts.bytes_spilled,
        plain=True,
    ),
    Variable(
        "retries",
        "How many times another upstream server was tried. Not in nginx.",
        lambda facts: b"%d" % facts.retries,
        plain=True,
    ),
    Variable(
        "error",
        "Why the exchange went wrong; nothing if it did not. Not in nginx.",
        lambda facts: _text(facts.error) or None,
    ),
    Variable(
        "upstream_addr",
        "The upstream servers tried, separated by a comma and a space.",
        lambda facts: _listed(map(_text, facts.upstream_addrs)),
    ),
    Variable("upstream_status", "What each of them answered, - for nothing.", _statuses, plain=True),
    Variable(
        "upstream_connect_time",
        "Seconds, with milliseconds, that connecting to each of them took.",
        lambda facts: _listed(map(_seconds, facts.upstream_connect_times)),
        plain=True,
    ),
    Variable(
        "upstream_header_time",
        "Seconds, with milliseconds, until the head of each one's response was there.",
        lambda facts: _listed(map(_seconds, facts.upstream_header_times)),
        plain=True,
    ),
    Variable(
        "upstream_response_time",
        "Seconds, with milliseconds, until each one's whole response was there.",
        lambda facts: _listed(map(_seconds, facts.upstream_response_times)),
        plain=True,
    ),
    Variable("upstream_bytes_received", "Bytes that all of them sent together.", _upstream_bytes, plain=True),
    Variable(
        "time_local",
        "The time in the Common Log Format, 22/Nov/2026:09:00:00 +0000.",
        lambda facts: local_second(int(time_of(facts))).common.encode(),
        plain=True,
    ),
    Variable(
        "time_iso8601",
        "The time as 2026-11-22T09:00:00+00:00.",
        lambda facts: local_second(int(time_of(facts))).iso8601.encode(),
        plain=True,
    ),
    Variable(
        "msec", "The time in seconds since 1970, with milliseconds.", lambda facts: _seconds(time_of(facts)), plain=True
    ),
    Variable("dollar", "A dollar sign. Not in nginx.", lambda facts: b"$", plain=True),
    *PROXIED_VARIABLES,
    *TLS_VARIABLES,
    VariableFamily("http_", "The request's header NAME, in lower case, with _ for -.", _request_header),
    VariableFamily("sent_http_", "The response's header NAME, as the client got it.", _response_header),
    VariableFamily("upstream_http_", "The response's header NAME, as the upstream sent it.", _upstream_header),
    VariableFamily("filter_", "What a message filter has set as NAME.", _filter_variable),
    VariableFamily("cookie_", "The request's cookie NAME, in any case.", _cookie),
    VariableFamily("arg_", "The argument NAME of the query, in any case, as it was sent.", _argument),
)

#: The same, to be looked up.
VOCABULARY = Vocabulary(VARIABLES)


def find_variable(name: str, captures: Collection[str] = ()) -> Variable | None:
    """As L{Vocabulary.find}."""
    return VOCABULARY.find(name, captures)
