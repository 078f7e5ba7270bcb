"""The shape of a file: every key takes what it can be, and refuses everything else without a traceback."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.proxies.http_settings import ClientSettings, ErrorPage, HttpSettings, Redirect
from twisted_pipe.proxies.http_upstream import KeepaliveSettings
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.service.config import model, model_listen, model_stream, model_tls, model_upstreams
from twisted_pipe.service.config.http_servers import _CLIENT
from twisted_pipe.service.config.http_settings import _TAKEN
from twisted_pipe.service.config.keys import Table, annotation_of, keys_of
from twisted_pipe.service.config.layers import _LIMITS
from twisted_pipe.service.config.places import places_of
from twisted_pipe.service.config.problems import Problems, dotted
from twisted_pipe.service.config.stream_servers import _TAKEN as _STREAM
from twisted_pipe.service.config.stream_servers import STREAM_LIMITS
from twisted_pipe.service.config.structure import structure
from twisted_pipe.service.config.upstreams import _KEEPALIVE
from twisted_pipe.service.config.values import kind_of
from twisted_pipe.upstream.group import UpstreamServer

ODD: tuple[Any, ...] = (
    *(0, -1, 5, 1.5, float("nan"), 2**70, True, "", "x", "\n", "$", [], {}),
    *([5], [""], [[]], [{}], [{"x": 1}], {"x": 1}, {"x": {}}, {"name": 5}, {"set": 5}, {"set": {"x": []}}),
)


#: Each table, and where in a document it is put.
PLACES: dict[type[Table], list[str | int]] = {
    model.ConfigurationFile: [],
    model.DefaultsTable: ["defaults"],
    model.HttpDefaults: ["defaults", "http"],
    model.StreamDefaults: ["defaults", "tcp"],
    model_upstreams.UpstreamTable: ["upstreams", "app"],
    model_upstreams.UpstreamServerTable: ["upstreams", "app", "servers"],
    model.HttpServerTable: ["servers", 0],
    model_listen.ListenTable: ["servers", 0, "listen"],
    model_listen.ProxyProtocolTable: ["servers", 0, "listen", "proxy_protocol"],
    model_stream.StreamRouteTable: ["servers", 1, "routes", 0],
    model_tls.ServerTlsTable: ["servers", 0, "tls"],
    model_tls.UpstreamTlsTable: ["upstreams", "app", "tls"],
    model.StreamServerTable: ["servers", 1],
    model.RouteTable: ["servers", 0, "routes", 0],
    model.AnswerTable: ["servers", 0, "routes", 0, "answer"],
    model.RedirectTable: ["servers", 0, "routes", 0, "redirect"],
    model.RequestHeadersTable: ["servers", 0, "routes", 0, "request_headers"],
    model.ResponseHeadersTable: ["servers", 0, "routes", 0, "response_headers"],
    model.ErrorPageTable: ["servers", 0, "routes", 0, "error_pages"],
    model.AccessLogTable: ["servers", 0, "routes", 0, "access_log"],
}


def document(steps: list[str | int], keys: dict[str, Any]) -> dict[str, Any]:
    """With these keys in the table at C{steps}."""
    found: dict[str, Any] = {"servers": [{"routes": [{}]}, {"protocol": "tcp", "routes": [{}]}]}
    node: Any = found
    for step in steps:
        node = node[step] if isinstance(step, int) else node.setdefault(step, {})
    node.update(keys)
    return found


class EveryKeyTests(SynchronousTestCase):
    def test_all_tables_are_tried(self) -> None:
        self.assertEqual(set(PLACES), set(places_of(model.ConfigurationFile)))

    def test_odd_values(self) -> None:
        """Each is taken, or told, and then the rest is read; never anything else."""
        tried = 0
        for table, steps in PLACES.items():
            for name in keys_of(table):
                for value in ODD:
                    problems = Problems("f", document(steps, {name: value}))
                    self.assertIsInstance(structure(problems), model.ConfigurationFile)
                    for line in problems.lines():
                        self.assertTrue(line.startswith("f: "), line)
                    tried += 1
        self.assertTrue(tried > 2000, tried)

    def test_two_at_once(self) -> None:
        """One of two mistakes in a table hides the other no more than one of two tables."""
        for table, steps in PLACES.items():
            names = [name for name in keys_of(table) if kind_of(annotation_of(table, name)) is not None]
            if len(names) < 2 or "protocol" in names:
                continue
            problems = Problems("f", document(steps, {name: [[]] for name in names}))
            structure(problems)
            said = {line.split(": ")[1] for line in problems.lines()}
            where = dotted(tuple(steps))
            self.assertEqual({f"{where}.{name}".lstrip(".") for name in names} - said, set())

    def test_every_key_is_explained(self) -> None:
        for table in places_of(model.ConfigurationFile):
            for name, described in keys_of(table).items():
                self.assertTrue(described.help, name)
                self.assertEqual(described.help, described.help.strip().rstrip("."), name)


class DefaultTests(SynchronousTestCase):
    """What the reference says of a key that is not given is what holds then."""

    def assert_default(self, table: type[Table], name: str, value: object) -> None:
        text = keys_of(table)[name].default
        kind = kind_of(annotation_of(table, name))
        assert kind is not None
        stated: Any = {"true": True, "false": False}.get(text, text)
        if isinstance(stated, str):
            stated = text[1:-1] if text.startswith('"') else int(text)
        self.assertEqual(kind.parse(stated), value, name)

    def test_http(self) -> None:
        settings = HttpSettings()
        for field, name in _TAKEN.items():
            self.assert_default(model.HttpKeys, name, getattr(settings, field))
        for field, name in _LIMITS.items():
            if field not in ("busy_size", "temp_file_write_size"):
                self.assert_default(model.HttpKeys, name, getattr(settings.limits, field))
        self.assert_default(model.HttpKeys, "client_send_timeout", settings.limits.send_timeout)
        self.assert_default(model.HttpKeys, "buffers", (settings.limits.buffers, settings.limits.buffer_size))
        self.assert_default(model.HttpKeys, "upload_rate", settings.request_limits.limit_rate)
        self.assert_default(model.HttpKeys, "forwarded", settings.forwarded.value)
        self.assert_default(model.HttpKeys, "via", settings.via.decode())

    def test_clients(self) -> None:
        for field, name in _CLIENT.items():
            if name != "bare_lf":
                self.assert_default(model.HttpServerKeys, name, getattr(ClientSettings(), field))
        self.assertFalse(ClientSettings().bare_lf)
        self.assert_default(model.HttpServerKeys, "bare_lf", "reject")

    def test_stream(self) -> None:
        settings = ProxySettings(limits=STREAM_LIMITS)
        for field, name in _STREAM.items():
            self.assert_default(model.StreamKeys, name, getattr(settings, field))
        for name in ("read_timeout", "send_timeout", "limit_rate", "max_temp_file_size", "buffering"):
            self.assert_default(model.StreamKeys, name, getattr(STREAM_LIMITS, name))

    def test_others(self) -> None:
        for field, name in _KEEPALIVE.items():
            self.assert_default(model_upstreams.UpstreamTable, name, getattr(KeepaliveSettings(), field))
        self.assert_default(model_upstreams.UpstreamServerTable, "weight", attrs.fields(UpstreamServer).weight.default)
        self.assert_default(model.ErrorPageTable, "content_type", ErrorPage(body=b"").content_type.decode())
        self.assert_default(model.RedirectTable, "status", attrs.fields(Redirect).status.default)
