"""Where to listen and where to connect, as people write it."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.endpoints import (
    LISTEN_RULE,
    UPSTREAM_RULE,
    WithFallback,
    describe_address,
    parse_listener,
    parse_upstream,
)


class ListenTests(SynchronousTestCase):
    def listened(self, text: str) -> Any:
        """Port and interface that listening would bind."""
        reactor = MemoryReactorClock()
        listener = parse_listener(reactor, text)
        self.assertEqual(listener.text, text)
        self.successResultOf(listener.endpoint.listen(Factory()))
        [(port, _, _, interface)] = reactor.tcpServers
        return port, interface

    def problem(self, text: str) -> str:
        """What is said of it, before what would be right."""
        error: BadConfiguration = self.assertRaises(BadConfiguration, parse_listener, MemoryReactorClock(), text)
        self.assertEqual((error.name, error.value), ("--listen", text))
        problem, _, rule = error.expected.partition("; ")
        self.assertEqual(rule, LISTEN_RULE)
        return problem

    def test_short_forms(self) -> None:
        self.assertEqual(self.listened("8080"), (8080, ""))
        self.assertEqual(self.listened(":8080"), (8080, ""))
        self.assertEqual(self.listened("*:8080"), (8080, ""))
        self.assertEqual(self.listened("127.0.0.1:8080"), (8080, "127.0.0.1"))
        self.assertEqual(self.listened("localhost:8080"), (8080, "localhost"))
        self.assertEqual(self.listened("[::1]:8080"), (8080, "::1"))
        self.assertEqual(self.listened("[::]:0"), (0, "::"))
        self.assertEqual(self.listened("65535"), (65535, ""))

    def test_endpoint_strings(self) -> None:
        """A type of endpoint, built in or of a plugin, is no host."""
        self.assertEqual(self.listened("tcp:8080"), (8080, ""))
        self.assertEqual(self.listened("tcp:8080:interface=127.0.0.1"), (8080, "127.0.0.1"))
        self.assertEqual(self.listened("tcp6:8080"), (8080, "::"))
        self.assertEqual(self.listened(r"tcp:8080:interface=\:\:1"), (8080, "::1"))

    def test_backlog(self) -> None:
        """Ours, unless another one is said: Twisted's is too small for a burst."""
        for text, backlog in (("8080", 511), ("tcp:8080", 511), ("tcp:8080:backlog=50", 50), ("unix:/s:backlog=9", 9)):
            self.assertEqual(parse_listener(MemoryReactorClock(), text).settings.backlog, backlog)

    def test_unix(self) -> None:
        reactor = MemoryReactorClock()
        self.successResultOf(parse_listener(reactor, "unix:/run/pipe.sock:mode=600").endpoint.listen(Factory()))
        [(path, _, _, mode, _)] = reactor.unixServers
        self.assertEqual((path, mode), ("/run/pipe.sock", 0o600))

    def test_host_where_the_port_belongs(self) -> None:
        """The usual trap: in an endpoint string the port comes first."""
        self.assertEqual(self.problem("tcp:127.0.0.1:8080"), "'127.0.0.1' is no number")
        self.assertIn("tcp:8080:interface=127.0.0.1", LISTEN_RULE)

    def test_bad(self) -> None:
        for text, problem in {
            "": "Unknown endpoint type: ''",
            "foo:bar": "Unknown endpoint type: 'foo'",
            "http://127.0.0.1:80": "Unknown endpoint type: 'http'",
            "::1:8080": "Unknown endpoint type: ''",
            "a b:80": "Unknown endpoint type: 'a b'",
            "TCP:8080:interface=::": "Unknown endpoint type: 'tcp'",
            "70000": "70000 is no port",
            "tcp:65536": "65536 is no port",
            "tcp:-1": "-1 is no port",
            "tcp6:70000": "70000 is no port",
            "tcp": "it lacks 'port'",
            "tcp:": "'' is no number",
            "tcp:80:1:2:3:4": "it has too many parts",
            "tcp:80:iface=lo": "it has no setting 'iface'",
            "tcp:80:backlog=many": "'many' is no number",
            "tcp:80\\": "the backslash at its end quotes nothing",
            "unix:": "the path is empty",
            "unix:/" + "x" * 107: "the path has more than 107 bytes",
            "[zz]:80": "'zz' is no IPv6 address",
            "1.2.3.400:80": "'1.2.3.400' is no IPv4 address",
            "ssl:443:privateKey=/nowhere/key.pem": "/nowhere/key.pem: cannot be read: no such file or directory",
            "systemd:domain=INET:index=9": "systemd has passed no such socket (LISTEN_FDS, LISTEN_FDNAMES)",
            "systemd:domain=INET:name=web": "systemd has passed no such socket (LISTEN_FDS, LISTEN_FDNAMES)",
        }.items():
            self.assertEqual(self.problem(text), problem)


class UpstreamTests(SynchronousTestCase):
    def connected(self, text: str, connect_timeout: float = 60) -> Any:
        """Host, port and timeout that connecting would use."""
        reactor = MemoryReactorClock()
        server = parse_upstream(reactor, text, connect_timeout)
        self.assertEqual(server.name, text)
        self.assertNoResult(server.endpoint.connect(Factory()))
        [(host, port, _, timeout, _)] = reactor.tcpClients
        return host, port, timeout

    def problem(self, text: str) -> str:
        error: BadConfiguration = self.assertRaises(BadConfiguration, parse_upstream, MemoryReactorClock(), text, 60)
        self.assertEqual((error.name, error.value), ("--upstream", text))
        problem, _, rule = error.expected.partition("; ")
        self.assertEqual(rule, UPSTREAM_RULE)
        return problem

    def test_short_forms(self) -> None:
        """The endpoint's own timeout is longer than the proxy's, which says more when it expires."""
        self.assertEqual(self.connected("10.0.0.1:9000"), ("10.0.0.1", 9000, 61))
        self.assertEqual(self.connected("[::1]:9000"), ("::1", 9000, 61))
        self.assertEqual(self.connected("9000"), ("127.0.0.1", 9000, 61))
        self.assertEqual(self.connected("10.0.0.1:9000", 0.25), ("10.0.0.1", 9000, 2))
        self.assertEqual(self.connected("10.0.0.1:9000", 0), ("10.0.0.1", 9000, 86400))

    def test_endpoint_strings(self) -> None:
        self.assertEqual(self.connected("tcp:10.0.0.1:9000"), ("10.0.0.1", 9000, 61))
        self.assertEqual(self.connected("tcp:port=9000:host=10.0.0.1"), ("10.0.0.1", 9000, 61))
        self.assertEqual(self.connected("tcp:10.0.0.1:9000:timeout=5"), ("10.0.0.1", 9000, 5))

    def test_unix(self) -> None:
        reactor = MemoryReactorClock()
        self.assertNoResult(parse_upstream(reactor, "unix:/run/app.sock", 60).endpoint.connect(Factory()))
        [(path, _, timeout, _)] = reactor.unixClients
        self.assertEqual((path, timeout), ("/run/app.sock", 61))

    def test_address(self) -> None:
        """Given where connecting a socket to it is all that the endpoint would do."""
        for text, address in {
            "10.0.0.1:9000": ("10.0.0.1", 9000),
            "9000": ("127.0.0.1", 9000),
            "[::1]:9000": ("::1", 9000, 0, 0),
            "tcp:10.0.0.1:9000": ("10.0.0.1", 9000),
            "tcp:port=9000:host=10.0.0.1": ("10.0.0.1", 9000),
            "unix:/run/app.sock": "/run/app.sock",
            "tcp:10.0.0.1:9000:bindAddress=10.0.0.2": None,
            "unix:/run/app.sock:lockfile=1": None,
            "example.org:80": None,
            "tcp:example.org:80": None,
            "tls:10.0.0.1:443": None,
        }.items():
            self.assertEqual(parse_upstream(MemoryReactorClock(), text, 60).address, address, text)

    def test_no_address_for_an_endpoint_with_a_timeout_of_its_own(self) -> None:
        """A socket would not know of it."""
        for text in ("tcp:10.0.0.1:9000:timeout=5", "unix:/run/app.sock:timeout=5"):
            self.assertIsNone(parse_upstream(MemoryReactorClock(), text, 60).address, text)

    def test_name_is_not_looked_up(self) -> None:
        """Whether a name can be resolved is found with each connection: the service starts and lives without."""
        server = parse_upstream(MemoryReactorClock(), "no.such.host.invalid:9000", 60)
        self.assertIn("no.such.host.invalid:9000", repr(server.endpoint))

    def test_no_variables(self) -> None:
        """As nginx's addresses may have: they would be looked up as they stand, and nobody be found."""
        self.assertEqual(self.problem("$host:9000"), "'$host' is no host: an address has no variables")

    def test_bad(self) -> None:
        for text, problem in {
            "": "Unknown endpoint type: ''",
            "0": "0 is no port",
            "127.0.0.1:0": "0 is no port",
            "127.0.0.1:65536": "65536 is no port",
            "tcp:127.0.0.1:99999": "99999 is no port",
            "tls:example.org:99999": "99999 is no port",
            "*:80": "'*' is no address to connect to",
            "tcp:8080": "it lacks 'port'",
            "tcp": "it lacks 'host' and 'port'",
            "tcp:host:port": "'port' is no number",
            "tcp::80": "the host is empty",
            "unix:": "the path is empty",
            "unix:/" + "x" * 107: "the path has more than 107 bytes",
            "tls:example.org": "it lacks 'port'",
            "http://127.0.0.1:80": "Unknown endpoint type: 'http'",
        }.items():
            self.assertEqual(self.problem(text), problem)


class Place:
    """An endpoint whose C{listen} gives what it is told."""

    def __init__(self, result: object) -> None:
        self.result = result

    def listen(self, factory: object) -> Deferred[Any]:
        return fail(self.result) if isinstance(self.result, Exception) else succeed(self.result)


class WithFallbackTests(SynchronousTestCase):
    def listen(self, first: object, otherwise: object) -> Deferred[Any]:
        places: Any = Place(first), Place(otherwise)
        return WithFallback(*places).listen(Factory())

    def test_first(self) -> None:
        self.assertEqual(self.successResultOf(self.listen("a", "b")), "a")

    def test_taken(self) -> None:
        taken = CannotListenError("", 8080, OSError("taken"))
        self.assertEqual(self.successResultOf(self.listen(taken, "b")), "b")
        self.failureResultOf(self.listen(taken, taken), CannotListenError)

    def test_other_errors_are_errors(self) -> None:
        self.failureResultOf(self.listen(ValueError("x"), "b"), ValueError)


class DescribeTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        self.assertEqual(describe_address(IPv4Address("TCP", "127.0.0.1", 80)), "tcp 127.0.0.1:80")
        self.assertEqual(describe_address(IPv6Address("TCP", "::1", 80)), "tcp [::1]:80")
        self.assertEqual(describe_address(UNIXAddress("/run/s")), "unix /run/s")
        self.assertEqual(describe_address(UNIXAddress(None)), "unix ?")
        self.assertIn("example.org", describe_address(HostnameAddress(b"example.org", 80)))


class PlaceTests(SynchronousTestCase):
    def test_the_same_however_it_is_written(self) -> None:
        reactor = MemoryReactorClock()
        for first, second, same in (
            ("8080", "tcp:8080", True),
            ("*:8080", "tcp:8080", True),
            ("127.0.0.1:8080", "tcp:8080:interface=127.0.0.1", True),
            ("unix:/a", "unix:address=/a", True),
            ("8080", "8081", False),
            ("8080", "127.0.0.1:8080", False),
            ("unix:/a", "unix:/b", False),
        ):
            places = [parse_listener(reactor, text).place for text in (first, second)]
            self.assertEqual(places[0] == places[1], same, (first, second))
