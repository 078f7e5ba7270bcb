"""The reference page of the configuration file, written from its model: C{docs/reference/configuration.md}."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from twisted_pipe.http.log_format import COMBINED, JSON_FIELDS
from twisted_pipe.http.variable import Variable, VariableFamily
from twisted_pipe.http.variables import VARIABLES
from twisted_pipe.proxies.stream_variables import STREAM_VARIABLES
from twisted_pipe.service.config import model, model_listen, model_stream, model_tls, model_upstreams
from twisted_pipe.service.config.keys import Key, Table, annotation_of, item_of
from twisted_pipe.service.config.places import places_of
from twisted_pipe.service.config.values import ValueKind, kind_of

__all__ = ["configuration_page"]


@attrs.frozen
class _Group:
    """
    Keys that stand in one table of the page.

    @ivar title: its heading.
    @ivar where: the tables of a file that may have them.
    @ivar classes: which declare them.
    """

    title: str
    where: str
    classes: tuple[type[Table], ...]


_HTTP = "`[defaults.http]`, `[[servers]]`, `[[servers.routes]]`"
_GROUPS = (
    _Group("The process", "the top of the file", (model.ConfigurationFile,)),
    _Group("Upstreams", "`[upstreams.NAME]`", (model_upstreams.UpstreamTable,)),
    _Group("Servers of an upstream", "`servers` of `[upstreams.NAME]`", (model_upstreams.UpstreamServerTable,)),
    _Group("TLS to upstreams", "`tls` of `[upstreams.NAME]`", (model_tls.UpstreamTlsTable, model_tls.TlsKeys)),
    _Group("Servers: http", "`[[servers]]`", (model.HttpServerTable,)),
    _Group("Clients: http", "`[defaults.http]`, `[[servers]]`", (model.HttpServerKeys,)),
    _Group("Addresses", "`listen` of `[[servers]]`", (model_listen.ListenTable,)),
    _Group("PROXY protocol", "`proxy_protocol` of `listen`", (model_listen.ProxyProtocolTable,)),
    _Group("TLS to clients", "`tls` of `[[servers]]`", (model_tls.ServerTlsTable, model_tls.TlsKeys)),
    _Group("Routes", "`[[servers.routes]]`", (model.RouteTable,)),
    _Group("Routes: answer", "`answer`", (model.AnswerTable,)),
    _Group("Routes: redirect", "`redirect`", (model.RedirectTable,)),
    _Group("Proxy: http", _HTTP, (model.PipeKeys, model.HttpKeys)),
    _Group("Headers of requests", "`request_headers`", (model.RequestHeadersTable,)),
    _Group("Headers of responses", "`response_headers`", (model.ResponseHeadersTable,)),
    _Group("Error pages", "`error_pages`", (model.ErrorPageTable,)),
    _Group("Access logs", "`access_log`", (model.AccessLogTable,)),
    _Group("Servers: tcp, and protocols of plugins", "`[[servers]]`", (model.StreamServerTable,)),
    _Group("Routes: tcp", "`[[servers.routes]]`", (model_stream.StreamRouteTable,)),
    _Group("Proxy: tcp", "`[defaults.tcp]`, `[[servers]]`", (model.PipeKeys, model.StreamKeys)),
)

_INTRODUCTION = """\
# The configuration file

`twisted-pipe --config FILE.toml` does what the file says; `--test` checks it and binds nothing. Every mistake is told, a line
each: file, key, value, and what would be right. [`schema.json`](../../twisted_pipe/service/config/schema.json) is the shape of the
file as JSON Schema, for editors.

- A key given nearer wins whole: route, then server, then `[defaults.http]` or `[defaults.tcp]`, then the default below.
- Paths are relative to the directory of the file, also those in `unix:`, `ssl:` and `tls:`; in `http://unix:/PATH:/URI` they are
  absolute.
- A list of one may be written without brackets.
- Several servers may listen on the same address if all of them speak http: they are its virtual servers, found by `names`. What
  holds for clients before a server is found is said in the default one.
- Names are nginx's without `proxy_`. Where nginx has a name for both sides, the client's begins with `client_`.
"""

_ROUTES = """\
A route has one of `exact`, `prefix` and `regex`, and one of `proxy`, `answer`, `redirect` and `refuse`. The exact one is taken
first; else the longest prefix if it is `final`; else the first regular expression that is found in the path; else the longest
prefix.
"""


def configuration_page(example: str) -> str:
    """
    The page.

    @param example: a file, annotated.
    """
    sections = [
        _INTRODUCTION,
        "## An example\n",
        f"```toml\n{example.strip()}\n```\n",
        "## Values\n",
        *_kinds(),
        *(line for group in _GROUPS for line in _section(group)),
        *_variables(),
        *_log_formats(),
    ]
    return "\n".join(sections)


def _section(group: _Group) -> Iterator[str]:
    yield f"## {group.title}\n"
    yield f"In {group.where}.\n"
    if model.RouteTable in group.classes:
        yield _ROUTES
    for table in group.classes:
        if table.shorthand:
            yield f"The text of `{table.shorthand}` alone may stand for the table.\n"
        for names in table.alternatives if table is model.ErrorPageTable else ():
            yield f"Exactly one of {', '.join(f'`{name}`' for name in names)}.\n"
    yield "| key | value | default | nginx | |"
    yield "|---|---|---|---|---|"
    for table in group.classes:
        for field in attrs.fields(table):
            if Key in field.metadata and not field.inherited:
                yield _row(table, field.name, field.metadata[Key])
    yield ""


def _row(table: type[Table], name: str, described: Key) -> str:
    value = _value(annotation_of(table, name)) + (f" ({described.unit})" if described.unit else "")
    default = "has to be given" if described.required else _code(described.default)
    nginx = f"`{described.nginx}`" if described.nginx else ""
    return "| " + " | ".join(_cell(each) for each in (f"`{name}`", value, default, nginx, described.help)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(default: str) -> str:
    """A default, as code if it is what would be written."""
    return f"`{default}`" if default.startswith(tuple('"0123456789')) or default in ("true", "false") else default


def _value(annotation: Any) -> str:
    kind = kind_of(annotation)
    if kind is not None:
        return kind.name
    held = item_of(annotation)
    if held is None:
        return "table"
    if held[0] is Sequence:
        return f"list of {_value(held[1])}" if kind_of(held[1]) else "list of tables"
    inner = _value(held[1][1])
    return "tables, by name" if inner == "table" else f"{inner}, by name"


def _kinds() -> Iterator[str]:
    """What the names of kinds mean, in the order in which they come first."""
    explained: dict[str, str] = {}
    for table in places_of(model.ConfigurationFile):
        for field in attrs.fields(table):
            if Key in field.metadata:
                for kind in _kinds_in(annotation_of(table, field.name)):
                    if kind.explained:
                        explained.setdefault(kind.name, kind.explained)
    yield "| value | |"
    yield "|---|---|"
    for name, text in explained.items():
        yield f"| {_cell(name)} | {_cell(text)} |"
    yield ""


def _kinds_in(annotation: Any) -> Iterator[ValueKind]:
    kind, held = kind_of(annotation), item_of(annotation)
    if kind is not None:
        yield kind
    elif held is not None:
        for each in held[1] if isinstance(held[1], tuple) else (held[1],):
            yield from _kinds_in(each)


def _variables() -> Iterator[str]:
    yield "## Variables\n"
    yield (
        "In a TEMPLATE. `$1` to `$9` and `$NAME` are what a route's regular expression has captured; `${dollar}` is a dollar sign. "
        "A name that does not exist is a mistake.\n"
    )
    yield from _described(VARIABLES)
    common = {each.name for each in VARIABLES}
    yield (
        "The key of a balancer for `tcp` has only those of the connection: `$remote_addr`, `$remote_port`, `$server_addr`, "
        "`$server_port`, and all that begin with `$realip_`, `$proxy_protocol_` and `$ssl_` (which are empty unless TLS ends "
        "here); and these, which http has not:\n"
    )
    yield from _described(each for each in STREAM_VARIABLES if each.name not in common)


def _described(variables: Iterable[Variable | VariableFamily]) -> Iterator[str]:
    yield "| variable | |"
    yield "|---|---|"
    for each in variables:
        yield f"| `${each.name}` | {_cell(each.summary)} |"
    yield ""


def _log_formats() -> Iterator[str]:
    yield "## Formats of access logs\n"
    yield (
        "In a TEMPLATE, values are escaped as nginx does: quotation marks, backslashes and all that is not printable ASCII become "
        "`\\xXX`, and `-` stands for what is not there; with `escape=json ` before it, as in JSON.\n"
    )
    yield f"`combined` is `{COMBINED}`. `json` is an object a line:\n"
    yield "| field | |"
    yield "|---|---|"
    for name, (summary, _) in JSON_FIELDS.items():
        yield f"| `{name}` | {_cell(summary)} |"
    yield ""
