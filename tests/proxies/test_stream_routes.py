from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.preface.client_hello import ClientHello
from twisted_pipe.proxies.stream_routes import StreamRoute, StreamRoutes
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer


def route(name: str, *names: str, alpn: tuple[bytes, ...] = ()) -> StreamRoute:
    """To a group of that name."""
    return StreamRoute(group=UpstreamGroup([UpstreamServer(name, None)]), names=names, alpn=alpn)


class StreamRoutesTests(SynchronousTestCase):
    def found(self, routes: StreamRoutes, name: str = "", *alpn: bytes) -> str | None:
        group: Any = routes.find(ClientHello(name, alpn))
        return None if group is None else group.name

    def test_names_are_looked_up_as_those_of_virtual_servers(self) -> None:
        routes = StreamRoutes(
            [
                route("regex", r"~^\w+\.[a-c]\.example\Z"),
                route("tail", "*.example"),
                route("exact", "www.Example", "mail.example"),
                route("head", "www.*"),
            ]
        )
        for name, expected in {
            "www.example": "exact",
            "mail.example": "exact",
            "a.b.example": "tail",
            "www.org": "head",
            "example": None,
            "": None,
        }.items():
            self.assertEqual(self.found(routes, name), expected, name)
        only = StreamRoutes([route("regex", r"~\Aa\D")])
        self.assertEqual([self.found(only, name) for name in ("ab", "a1")], ["regex", None])

    def test_of_the_routes_of_a_name_the_first_that_the_client_can_speak(self) -> None:
        routes = StreamRoutes(
            [
                route("h2", "a.example", alpn=(b"h2",)),
                route("acme", alpn=(b"acme-tls/1",)),
                route("old", "a.example", alpn=(b"http/1.1", b"http/1.0")),
            ]
        )
        for name, alpn, expected in (
            ("a.example", (b"http/1.1", b"h2"), "h2"),
            ("a.example", (b"http/1.0",), "old"),
            ("a.example", (b"acme-tls/1",), "acme"),
            ("a.example", (), None),
            ("b.example", (b"acme-tls/1",), "acme"),
            ("", (b"acme-tls/1",), "acme"),
            ("b.example", (b"h2",), None),
        ):
            self.assertEqual(self.found(routes, name, *alpn), expected, (name, alpn))

    def test_a_route_for_any_protocol_may_stand_last(self) -> None:
        routes = StreamRoutes([route("h2", "a.example", alpn=(b"h2",)), route("any", "a.example")])
        self.assertEqual([self.found(routes, "a.example", *alpn) for alpn in ((b"h2",), ())], ["h2", "any"])

    def test_what_could_never_be_reached(self) -> None:
        for first, second in (((), ()), ((), (b"h2",)), ((b"h2", b"h3"), (b"h3",))):
            error = self.assertRaises(
                BadConfiguration,
                StreamRoutes,
                [route("a", "a.example", alpn=first), route("b", "A.example", alpn=second)],
            )
            self.assertEqual((error.name, error.value), ("names", "A.example"))

    def test_neither_names_nor_protocols(self) -> None:
        self.assertRaises(BadConfiguration, route, "a")

    def test_a_name_that_cannot_be(self) -> None:
        self.assertRaises(BadConfiguration, StreamRoutes, [route("a", "a b")])
        self.assertRaises(BadConfiguration, StreamRoutes, [route("a", "~(")])

    def test_none(self) -> None:
        self.assertIsNone(self.found(StreamRoutes(), "a.example", b"h2"))
