"""
The kinds of value that keys of the configuration file take.

A kind says once what the parser, the JSON Schema and the reference page need. C{Size} and its like are the annotations of
the model's fields (L{twisted_pipe.service.config.model}): C{Annotated[int, kind]}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_origin

import attrs

from twisted_pipe.core.keepalive_probes import KeepaliveProbes
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.listening import SocketOwner
from twisted_pipe.net.socket_options import local_address
from twisted_pipe.proxies.next_upstream import Setback
from twisted_pipe.proxies.trusted_proxies import parse_networks
from twisted_pipe.proxies.upgrade_settings import check_protocol
from twisted_pipe.units import parse_count, parse_duration, parse_size

__all__ = [
    "Address",
    "AlpnName",
    "Balancer",
    "Body",
    "BodyText",
    "Buffers",
    "Count",
    "Duration",
    "Endpoint",
    "ErrorStatus",
    "ExactPath",
    "Fails",
    "FileMode",
    "FileOwner",
    "Flag",
    "Forwarded",
    "HeaderName",
    "HeaderText",
    "HostName",
    "Keepalive",
    "LineEnd",
    "LocalAddress",
    "MediaType",
    "Network",
    "NextUpstreamWord",
    "PageStatus",
    "Pattern",
    "PositiveCount",
    "Protocol",
    "ProxyVersion",
    "RedirectStatus",
    "RoutePath",
    "ServerName",
    "Size",
    "Status",
    "Text",
    "TlsVersion",
    "UpgradeProtocol",
    "UriPath",
    "ValueKind",
    "VerifyClients",
    "Weight",
    "kind_of",
    "table_or_text",
]

_LONGEST = 10**9
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REDIRECTS = (301, 302, 303, 307, 308)


@attrs.frozen(eq=False, kw_only=True)
class ValueKind:
    """
    @ivar name: what is to be given, for the reference: C{"SIZE"}.
    @ivar parse: makes the value of what stands in the file. Raises L{BadConfiguration} or C{ValueError}, of which only what
        would be right is used.
    @ivar schema: what it may be, as JSON Schema.
    @ivar explained: what the name means, for the reference.
    """

    name: str
    parse: Callable[[Any], Any]
    schema: Mapping[str, Any]
    explained: str = ""


def kind_of(annotation: Any) -> ValueKind | None:
    """The kind that an annotation names."""
    if get_origin(annotation) is not Annotated:
        return None
    return next((each for each in annotation.__metadata__ if isinstance(each, ValueKind)), None)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _size(value: object) -> int:
    return parse_size("", str(value) if _is_number(value) else _text(value, 'a size: 16384, or text such as "16k"'))


def _duration(value: object) -> float:
    rule = 'a time: a number of seconds, or text such as "250ms" or "10m"'
    if _is_number(value):
        seconds = float(value)  # type: ignore[arg-type]
        if math.isnan(seconds) or seconds < 0:
            raise ValueError(rule)
    else:
        seconds = parse_duration("", _text(value, rule))
    if seconds >= _LONGEST:
        raise ValueError(f"must be less than {_LONGEST} s")
    return seconds


def _text(value: object, rule: str = "must be text") -> str:
    if not isinstance(value, str):
        raise ValueError(rule)
    if not value:
        raise ValueError("must not be empty")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false, without quotes")
    return value


def _buffers(value: object) -> tuple[int, int]:
    rule = 'must be a number and a size: "8 32k"'
    parts = _text(value, rule).split()
    if len(parts) != 2:
        raise ValueError(rule)
    try:
        return parse_count("", parts[0]), parse_size("", parts[1])
    except BadConfiguration:
        raise ValueError(rule) from None


def _whole(least: int, most: int = 2**62) -> Callable[[object], int]:
    rule = (
        f"must be a whole number from {least} to {most}" if most < 2**62 else f"must be a whole number, {least} or more"
    )

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(rule)
        return value

    return parse


def _one_of(*choices: Any) -> Callable[[object], Any]:
    def parse(value: object) -> Any:
        if isinstance(value, bool) or value not in choices:
            raise ValueError(f"must be one of {', '.join(map(repr, choices))}")
        return value

    return parse


def _matching(pattern: str, rule: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        text = _text(value, rule)
        if not re.fullmatch(pattern, text):
            raise ValueError(rule)
        return text

    return parse


def _pattern(value: object) -> str:
    text = _text(value, "must be a regular expression")
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"must be a regular expression of Python's: {error}") from error
    return text


def _keepalive(value: object) -> KeepaliveProbes | None:
    if isinstance(value, bool):
        return KeepaliveProbes() if value else None
    return KeepaliveProbes.parse(value if isinstance(value, str) else "")


def _mode(value: object) -> int:
    rule = 'must be the mode of a file, in quotes: "0660"'
    return int(_matching(r"0?[0-7]{3}", rule)(value), 8)


def _owner(value: object) -> SocketOwner:
    return SocketOwner.parse(_text(value, "must be USER, USER:GROUP or :GROUP"))


def _network(value: object) -> str:
    text = _text(value)
    parse_networks("", [text])
    return text


def _local(value: object) -> str:
    text = _text(value, "must be HOST or HOST:PORT")
    local_address(text)
    return text


def _header_text(value: object) -> str:
    if not isinstance(value, str) or re.search(r"[\r\n\x00]", value):
        raise ValueError("must be text of one line, in which $ begins a variable")
    return value


def _plain(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _kind(name: str, parse: Callable[[Any], Any], schema: Mapping[str, Any], explained: str = "") -> ValueKind:
    return ValueKind(name=name, parse=parse, schema=schema, explained=explained)


def _words(name: str, pattern: str, rule: str, explained: str = "") -> ValueKind:
    schema = {"type": "string", "pattern": f"^(?:{pattern})$"}
    return _kind(name, _matching(pattern, rule), schema, explained)


def _numbers(name: str, least: int, most: int | None = None) -> ValueKind:
    schema = {"type": "integer", "minimum": least} | ({} if most is None else {"maximum": most})
    return _kind(name, _whole(least) if most is None else _whole(least, most), schema)


_TEXT = {"type": "string", "minLength": 1}
Size = Annotated[
    int,
    _kind(
        "SIZE",
        _size,
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": "^\\s*[0-9]{1,18}[kKmMgG]?[bB]?\\s*$"},
            ]
        },
        'bytes: a number, or text with k, m or g, which are powers of 1024: `16384`, `"16k"`, `"1g"`',
    ),
]
Duration = Annotated[
    float,
    _kind(
        "TIME",
        _duration,
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "exclusiveMaximum": _LONGEST},
                {"type": "string", "pattern": r"^\s*[0-9]{1,9}(\.[0-9]{1,6})?([mM][sS]|[sSmMhHdD])?\s*$"},
            ]
        },
        'seconds: a number, or text with ms, s, m, h or d: `60`, `1.5`, `"250ms"`, `"10m"`',
    ),
]
Buffers = Annotated[
    tuple[int, int],
    _kind(
        "BUFFERS",
        _buffers,
        {"type": "string", "pattern": r"^\s*[0-9]{1,18}\s+[0-9]{1,18}[kKmMgG]?[bB]?\s*$"},
        'how many buffers, and the SIZE of each: `"8 32k"`',
    ),
]
Count = Annotated[int, _numbers("NUMBER", 0)]
PositiveCount = Annotated[int, _numbers("NUMBER from 1", 1)]
Weight = Annotated[int, _numbers("NUMBER from 1 to 65535", 1, 65535)]
Fails = Annotated[int, _numbers("NUMBER from 0 to 1000", 0, 1000)]
Flag = Annotated[bool, _kind("true, false", _flag, {"type": "boolean"})]
Text = Annotated[str, _kind("TEXT", _text, _TEXT)]
Body = Annotated[str, _kind("TEXT", _plain, {"type": "string"})]
Endpoint = Annotated[
    str,
    _kind(
        "ENDPOINT",
        _text,
        _TEXT,
        "where to listen: `PORT`, `HOST:PORT`, `[IPV6]:PORT`, `unix:/PATH` or a Twisted endpoint string such as "
        '`"tcp:8080:interface=127.0.0.1"`, as text',
    ),
]
Address = Annotated[
    str,
    _kind(
        "ADDRESS",
        _text,
        _TEXT,
        "a server: `HOST:PORT`, `[IPV6]:PORT`, `unix:/PATH` or a Twisted endpoint string, as text",
    ),
]
Keepalive = Annotated[
    KeepaliveProbes,
    _kind(
        "KEEPALIVE",
        _keepalive,
        {
            "anyOf": [
                {"type": "boolean"},
                {"type": "string", "pattern": r"^([0-9]{1,5}[sSmMhH]?)?:([0-9]{1,5}[sSmMhH]?)?:[0-9]{0,3}$"},
            ]
        },
        'TCP keep-alive: `true`, `false`, or `"IDLE:INTERVAL:COUNT"`, of which any may be left out for the system\'s: '
        '`"30s:10s:3"` asks a connection that has been silent for 30 s, and resets it after 3 questions 10 s apart',
    ),
]
FileMode = Annotated[
    int, _kind("MODE", _mode, {"type": "string", "pattern": "^0?[0-7]{3}$"}, 'of a file, octal, as text: `"0660"`')
]
FileOwner = Annotated[
    SocketOwner,
    _kind("USER:GROUP", _owner, _TEXT, "names or numbers; `USER` or `:GROUP` alone leave the other as it is"),
]
LocalAddress = Annotated[
    str,
    _kind(
        "LOCAL ADDRESS",
        _local,
        _TEXT,
        "an address of this machine in numbers, and perhaps a port: `192.0.2.7`, `192.0.2.7:4000`, `[2001:db8::7]:4000`",
    ),
]
Network = Annotated[
    str,
    _kind(
        "NETWORK",
        _network,
        _TEXT,
        "an address, a network such as `10.0.0.0/8` or `fd00::/8`, or `unix:` for UNIX sockets",
    ),
]
Protocol = Annotated[str, _kind("NAME[:key=value…]", _text, _TEXT)]
Balancer = Annotated[str, _kind("NAME[:key=value…]", _text, _TEXT)]
Status = Annotated[int, _numbers("STATUS from 200 to 599", 200, 599)]
ErrorStatus = Annotated[int, _numbers("STATUS from 400 to 599", 400, 599)]
PageStatus = Annotated[int, _numbers("STATUS from 300 to 599", 300, 599)]
RedirectStatus = Annotated[
    int, _kind(" or ".join(map(str, _REDIRECTS)), _one_of(*_REDIRECTS), {"type": "integer", "enum": list(_REDIRECTS)})
]
_FORWARDED = ("x-forwarded", "rfc7239", "both", "off")
Forwarded = Annotated[str, _kind(", ".join(_FORWARDED), _one_of(*_FORWARDED), {"enum": list(_FORWARDED)})]
_NEXT_UPSTREAM = (*(each.value for each in Setback), "non_idempotent", "off")
NextUpstreamWord = Annotated[
    str, _kind(", ".join(_NEXT_UPSTREAM), _one_of(*_NEXT_UPSTREAM), {"enum": list(_NEXT_UPSTREAM)})
]
UpgradeProtocol = Annotated[
    str,
    _kind(
        "NAME of a protocol", lambda value: check_protocol(_text(value)), {"type": "string", "pattern": f"^{_TOKEN}$"}
    ),
]
LineEnd = Annotated[str, _kind("reject, accept", _one_of("reject", "accept"), {"enum": ["reject", "accept"]})]
HeaderName = Annotated[str, _words("NAME of a header field", _TOKEN, "must be the name of a header field")]
HeaderText = Annotated[
    str,
    _kind(
        "TEMPLATE",
        _header_text,
        {"type": "string", "pattern": "^[^\\r\\n\\u0000]*$"},
        "text in which `$NAME` or `${NAME}` stands for a variable",
    ),
]
BodyText = Annotated[
    str, _kind("TEMPLATE", _plain, {"type": "string"}, "text in which `$NAME` or `${NAME}` stands for a variable")
]
UriPath = Annotated[
    str, _words("PATH", r"/[^\s?#\x00-\x1f]*", "must be a path that begins with /, without spaces, ? and #")
]
# as routes see it, which is decoded; who writes a ? in it means the query, which they do not see
RoutePath = Annotated[
    str, _words("PATH", r"/[^?#\x00-\x1f\x7f]*", "must be a path that begins with /, without ?, # and controls")
]
ExactPath = Annotated[
    str,
    _words("PATH", r"\*|/[^?#\x00-\x1f\x7f]*", "must be a path that begins with /, without ?, # and controls, or *"),
]
Pattern = Annotated[str, _kind("REGEX", _pattern, _TEXT, "a regular expression of Python's, searched for in the path")]
ServerName = Annotated[
    str,
    _words("HOST", r"~.+|[^\s/:~]+", "must be a host without a port, *.HOST, .HOST, HOST.*, or ~REGEX"),
]
AlpnName = Annotated[str, _words("PROTOCOL", r"[!-~]{1,255}", 'must be the name of a protocol, such as "h2"')]
HostName = Annotated[str, _words("HOST", r"[^\s/:~*]+|[0-9A-Fa-f:]+", "must be the name of a host, or an IP address")]
TlsVersion = Annotated[
    str, _kind("1.2, 1.3", _one_of("1.2", "1.3"), {"enum": ["1.2", "1.3"]}, "a version of TLS, as text")
]
ProxyVersion = Annotated[
    str,
    _kind("v1, v2", _one_of("v1", "v2"), {"enum": ["v1", "v2"]}, "a version of the PROXY protocol: a line, or bytes"),
]
_VERIFY = ("off", "on", "optional", "optional_no_ca")
VerifyClients = Annotated[str, _kind(", ".join(_VERIFY), _one_of(*_VERIFY), {"enum": list(_VERIFY)})]
MediaType = Annotated[
    str,
    _words("MEDIA TYPE", rf"{_TOKEN}/{_TOKEN}", "must be a media type: text/html, text/*, */*"),
]


def table_or_text(name: str, parse: Callable[[Any], Any], explained: str, main: str = "name") -> ValueKind:
    """A kind that is text, or a table whose keys C{parse} looks at: those of a plugin, whose name is that of C{main}."""
    table = {"type": "object", "properties": {main: _TEXT}, "required": [main]}
    return _kind(name, parse, {"anyOf": [_TEXT, table]}, explained)
