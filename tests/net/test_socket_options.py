"""What the kernel says of a socket that was told something."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.net.loopback import Loopback
from twisted_pipe.core.keepalive_probes import KeepaliveProbes
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.socket_options import apply_options, local_address, prepare_connecting, socket_below
from twisted_pipe.upstream.connect_settings import ConnectSettings

TCP = socket.IPPROTO_TCP


class SocketCase(SynchronousTestCase):
    def new(self, family: int = socket.AF_INET) -> socket.socket:
        sock = socket.socket(family)
        self.addCleanup(sock.close)
        return sock

    def listening(self, host: str = "127.0.0.1", family: int = socket.AF_INET) -> socket.socket:
        listener = self.new(family)
        listener.bind((host, 0))
        listener.listen()
        return listener


class OptionTests(SocketCase):
    def told(self, **settings: Any) -> socket.socket:
        sock = self.new()
        apply_options(sock, ConnectSettings(**settings))
        return sock

    def test_keepalive(self) -> None:
        sock = self.told(keepalive=KeepaliveProbes(30, 10, 3))
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        self.assertEqual([sock.getsockopt(TCP, option) for option in options], [30, 10, 3])

    def test_keepalive_as_the_system_has_it(self) -> None:
        fresh, sock = self.new(), self.told(keepalive=KeepaliveProbes(interval=7))
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(sock.getsockopt(TCP, socket.TCP_KEEPINTVL), 7)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPCNT):
            self.assertEqual(sock.getsockopt(TCP, option), fresh.getsockopt(TCP, option))

    def test_no_keepalive(self) -> None:
        self.assertEqual(self.told().getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)

    def test_nodelay(self) -> None:
        self.assertTrue(self.told().getsockopt(TCP, socket.TCP_NODELAY))
        sock = self.new()
        sock.setsockopt(TCP, socket.TCP_NODELAY, 1)
        apply_options(sock, ConnectSettings(nodelay=False))
        self.assertFalse(sock.getsockopt(TCP, socket.TCP_NODELAY))

    def test_user_timeout_is_in_milliseconds_and_never_0(self) -> None:
        self.assertEqual(self.told(user_timeout=1.5).getsockopt(TCP, socket.TCP_USER_TIMEOUT), 1500)
        self.assertEqual(self.told(user_timeout=0.0001).getsockopt(TCP, socket.TCP_USER_TIMEOUT), 1)
        self.assertEqual(self.told().getsockopt(TCP, socket.TCP_USER_TIMEOUT), 0)

    def test_unix_sockets_have_none_of_them(self) -> None:
        sock = self.new(socket.AF_UNIX)
        settings = ConnectSettings(bind="127.0.0.1", keepalive=KeepaliveProbes(1, 1, 1), user_timeout=1)
        prepare_connecting(sock, settings)
        self.assertEqual(sock.getsockname(), "")
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)


class BindTests(SocketCase):
    def connected(self, bind: str, listener: socket.socket) -> Any:
        """The address it is seen to come from."""
        sock = self.new(listener.family)
        prepare_connecting(sock, ConnectSettings(bind=bind))
        sock.connect(listener.getsockname())
        accepted, seen = listener.accept()
        accepted.close()
        sock.close()
        return seen[:2]

    def test_a_host(self) -> None:
        self.assertEqual(self.connected("127.0.0.7", self.listening())[0], "127.0.0.7")

    def test_a_host_s_port_is_chosen_when_it_connects(self) -> None:
        """So a port serves several servers, and it is as without: IP_BIND_ADDRESS_NO_PORT."""
        sock = self.new()
        prepare_connecting(sock, ConnectSettings(bind="127.0.0.7"))
        self.assertEqual(sock.getsockname(), ("127.0.0.7", 0))

    def test_a_port(self) -> None:
        probe = self.listening("127.0.0.9")
        port = probe.getsockname()[1]
        probe.close()
        first, second = self.listening(), self.listening()
        for listener in (first, second):
            self.assertEqual(self.connected(f"127.0.0.9:{port}", listener), ("127.0.0.9", port))

    def test_a_port_that_has_just_been_used(self) -> None:
        """The connection before is in TIME_WAIT."""
        probe = self.listening("127.0.0.9")
        port = probe.getsockname()[1]
        probe.close()
        listener = self.listening()
        sock = self.new()
        prepare_connecting(sock, ConnectSettings(bind=f"127.0.0.9:{port}"))
        sock.connect(listener.getsockname())
        accepted, _ = listener.accept()
        sock.close()
        accepted.close()
        again = self.new()
        prepare_connecting(again, ConnectSettings(bind=f"127.0.0.9:{port}"))
        self.assertEqual(again.getsockname(), ("127.0.0.9", port))

    def test_ipv6(self) -> None:
        listener = self.listening("::1", socket.AF_INET6)
        self.assertEqual(self.connected("::1", listener)[0], "::1")
        self.assertEqual(self.connected("[::1]", listener)[0], "::1")

    def test_not_an_address_of_ours(self) -> None:
        error = self.assertRaises(OSError, prepare_connecting, self.new(), ConnectSettings(bind="192.0.2.1"))
        self.assertEqual(error.errno, errno.EADDRNOTAVAIL)
        self.assertEqual(error.strerror, "cannot be bound to 192.0.2.1: Cannot assign requested address")

    def test_another_family(self) -> None:
        error = self.assertRaises(OSError, prepare_connecting, self.new(), ConnectSettings(bind="::1"))
        self.assertIn("cannot be bound to ::1: ", error.strerror)

    def test_how_it_is_written(self) -> None:
        right = {
            "192.0.2.1": ("192.0.2.1", 0),
            "192.0.2.1:4000": ("192.0.2.1", 4000),
            "192.0.2.1:0": ("192.0.2.1", 0),
            "2001:db8::1": ("2001:db8::1", 0),
            "[2001:db8::1]": ("2001:db8::1", 0),
            "[2001:db8::1]:65535": ("2001:db8::1", 65535),
        }
        for text, address in right.items():
            self.assertEqual(local_address(text), address)
        wrong = [
            "",
            "localhost",
            "example.org:80",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:65536",
            "192.0.2.1:-1",
            ":80",
        ]
        wrong += [
            "[::1",
            "[::1]x",
            "[::1]:",
            "[192.0.2]:1",
            "192.0.2.256",
            "192.0.2.1/24",
            "unix:/tmp/x",
            "192.0.2.1:+1",
        ]
        for text in wrong:
            error = self.assertRaises(BadConfiguration, local_address, text)
            self.assertEqual((error.name, error.value), ("bind", text))


class BareSocketTests(SocketCase):
    """A bare socket is prepared before it connects, and closed if that fails."""

    def setUp(self) -> None:
        self.engine = Loopback(self)

    def test_prepared(self) -> None:
        listener = self.listening()
        settings = ConnectSettings(bind="127.0.0.7", user_timeout=2)
        opened: list[Any] = []
        bare = BareSocket.connecting(
            self.engine.reactor, listener.getsockname(), opened.append, lambda sock: prepare_connecting(sock, settings)
        )
        self.addCleanup(bare.close)
        self.engine.settle()
        self.assertEqual(opened, [None])
        self.assertEqual(bare.getHost().host, "127.0.0.7")
        self.assertEqual(bare.socket.getsockopt(TCP, socket.TCP_USER_TIMEOUT), 2000)

    def test_it_cannot_be(self) -> None:
        listener = self.listening()
        made: list[socket.SocketType] = []

        def prepare(sock: socket.SocketType) -> None:
            made.append(sock)
            prepare_connecting(sock, ConnectSettings(bind="192.0.2.1"))

        address = listener.getsockname()
        self.assertRaises(OSError, BareSocket.connecting, self.engine.reactor, address, lambda _: None, prepare)
        self.assertEqual(made[0].fileno(), -1)


class BelowTests(SocketCase):
    def test_a_transport(self) -> None:
        engine = Loopback(self)
        transport, _ = engine.tcp()
        self.assertIs(socket_below(transport), transport.socket)

    def test_below_tls(self) -> None:
        engine = Loopback(self)
        transport, _ = engine.tcp()
        context = CertificateOptions()
        tls: Any = TLSMemoryBIOFactory(context, False, Factory.forProtocol(Protocol)).buildProtocol(None)
        tls.makeConnection(transport)
        self.addCleanup(tls.abortConnection)
        self.assertIs(socket_below(tls), transport.socket)
        self.assertIs(socket_below(tls.wrappedProtocol.transport), transport.socket)

    def test_none(self) -> None:
        self.assertIsNone(socket_below(StringTransport()))
        self.assertIsNone(socket_below(None))
