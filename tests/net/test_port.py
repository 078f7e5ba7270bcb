from __future__ import annotations

import errno
import fcntl
import os
import socket
from typing import Any

from twisted.internet.protocol import ServerFactory
from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.fakes import Peer, Recorder, open_fds, os_error
from tests.net.loopback import Loopback
from twisted_pipe.core.readiness import EXCLUSIVE, IN
from twisted_pipe.net.port import ACCEPT_BUDGET, EdgePort, ISocketFactory


class Listening:
    """A listening socket of which each C{accept} gives, or raises, what it is told next, at last that nobody waits."""

    def __init__(self, sock: Any, *script: Any) -> None:
        self.sock = sock
        self.script = list(script)
        self.accepts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def accept(self) -> Any:
        self.accepts += 1
        if not self.script:
            raise os_error(errno.EAGAIN)
        if self.script[0] == "for ever":
            raise os_error(errno.EMFILE)
        step = self.script.pop(0)
        if isinstance(step, int):
            raise os_error(step)
        return step, ("127.0.0.1", 4321)


class PortCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.loop = self.engine.reactor.loop
        self.protocols: list[Recorder] = []
        self.clients: list[Peer] = []
        self.port = self.engine.listen(self.make)
        self.engine.settle()

    def make(self) -> Any:
        self.protocols.append(Recorder())
        return self.protocols[-1]

    def script(self, *script: Any) -> Listening:
        """From now on the port accepts what it is told."""
        listening = self.port.socket = Listening(self.port.socket, *script)
        return listening

    def clients_wait(self, count: int) -> None:
        self.clients += [self.engine.client(self.port) for _ in range(count)]

    def lines(self, logs: list[Any], level: LogLevel = LogLevel.critical) -> list[str]:
        return [str(formatEvent(event)) for event in logs if event["log_level"] == level]


class AcceptTests(PortCase):
    def test_several_wait(self) -> None:
        self.clients_wait(10)
        self.engine.settle()
        self.assertEqual((len(self.protocols), self.engine.statistics.accepted), (10, 10))
        for number, client in enumerate(self.clients):
            client.write(str(number).encode())
        self.engine.settle()
        self.assertEqual(sorted(protocol.data for protocol in self.protocols), [b"%d" % n for n in range(10)])

    def test_one_call_of_accept_for_a_lone_client(self) -> None:
        """None to find out that nobody else waits."""
        listening = self.script()
        for _ in range(5):
            ours, _ = self.engine.pair()
            listening.script.append(ours)
            self.clients_wait(1)
            self.engine.turn()
            listening.sock.accept()[0].close()
            self.engine.settle()
        self.assertEqual((listening.accepts, len(self.protocols)), (5, 5))

    def test_more_at_a_time_while_they_keep_coming(self) -> None:
        self.clients_wait(40)
        accepted = []
        for _ in range(8):
            before = len(self.protocols)
            self.engine.turn()
            accepted.append(len(self.protocols) - before)
        self.assertEqual(accepted[:5], [1, 1, 2, 4, 8])
        self.assertEqual(sum(accepted), 40)

    def test_a_budget_each_turn(self) -> None:
        listening = self.script()
        self.clients_wait(1)  # so that it is reported as long as nobody really takes it
        most = 0
        for _ in range(12):
            listening.script = [self.engine.pair()[0] for _ in range(ACCEPT_BUDGET + 10)]
            before = len(self.protocols)
            self.engine.turn()
            most = max(most, len(self.protocols) - before)
        self.assertEqual(most, ACCEPT_BUDGET)

    def test_given_up_meanwhile(self) -> None:
        """That one is skipped; the next turn has the next."""
        self.clients_wait(1)
        for code in (
            errno.ECONNABORTED,
            errno.EPERM,
            errno.EPROTO,
            errno.ENETDOWN,
            errno.EHOSTUNREACH,
            errno.ENETUNREACH,
        ):
            listening = self.script(code)
            self.engine.turn()
            self.assertEqual((listening.accepts, self.protocols), (1, []))
            self.port.socket = listening.sock
        self.engine.settle()
        self.assertEqual(len(self.protocols), 1)
        self.assertEqual((self.engine.statistics.rests, self.flushLoggedErrors()), (0, []))

    def test_factory_raises(self) -> None:
        """That connection is lost, and the listener goes on."""
        fail = [ZeroDivisionError(), None]

        def make() -> Any:
            error = fail.pop(0)
            if error is not None:
                raise error
            return self.make()

        port = self.engine.listen(make)
        first = self.engine.client(port)
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        first.read()
        self.assertTrue(first.ended)
        second = self.engine.client(port)
        self.engine.settle()
        second.write(b"hello")
        self.engine.settle()
        self.assertEqual(self.protocols[0].data, b"hello")

    def test_protocol_raises_when_it_is_connected(self) -> None:
        class Raises(Recorder):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        port = self.engine.listen(Raises)
        self.engine.client(port)
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn(port, self.engine.reactor.getReaders())

    def test_no_protocol(self) -> None:
        """C{buildProtocol} returns None: not wanted."""
        port = self.engine.listen(lambda: None)
        registered = self.engine.statistics.registered
        client = self.engine.client(port)
        self.engine.settle()
        client.read()
        self.assertTrue(client.ended)
        self.assertEqual(self.engine.statistics.registered, registered)

    def test_ipv6(self) -> None:
        factory = ServerFactory()
        addresses: list[Any] = []
        factory.buildProtocol = lambda address: addresses.append(address) or self.make()  # type: ignore[method-assign,func-returns-value]
        port = self.engine.reactor.listenTCP(0, factory, interface="::1")
        sock = socket.create_connection(("::1", port.getHost().port))
        self.addCleanup(sock.close)
        self.engine.settle()
        self.assertEqual((addresses[0].host, addresses[0].port), ("::1", sock.getsockname()[1]))
        self.assertEqual(self.protocols[0].transport.getPeer(), addresses[0])  # type: ignore[union-attr]

    def test_repr(self) -> None:
        self.assertIn(f"on {self.port.getHost().port}", repr(self.port))


@implementer(ISocketFactory)
class SocketFactory(ServerFactory):
    noisy = False
    takes_sockets = True

    def __init__(self) -> None:
        self.sockets: list[Any] = []
        self.protocols: list[Recorder] = []
        self.raises = False

    def socket_accepted(self, sock: Any, peer: bytes) -> None:
        if self.raises:
            raise ZeroDivisionError
        self.sockets.append(sock)

    def buildProtocol(self, addr: object) -> Any:
        self.protocols.append(Recorder())
        return self.protocols[-1]


class SocketFactoryTests(PortCase):
    def setUp(self) -> None:
        PortCase.setUp(self)
        self.factory = SocketFactory()
        self.addCleanup(lambda: [sock.close() for sock in self.factory.sockets])
        self.port = self.engine.reactor.listenTCP(0, self.factory, interface="127.0.0.1")

    def test_a_bare_socket(self) -> None:
        self.clients_wait(3)
        self.engine.settle()
        self.assertEqual(len(self.factory.sockets), 3)
        self.assertEqual(self.engine.statistics.accepted, 3)
        for sock in self.factory.sockets:
            self.assertTrue(fcntl.fcntl(sock.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
            self.assertFalse(os.get_blocking(sock.fileno()))
            self.assertTrue(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertEqual((sock.family, sock.type), (socket.AF_INET, socket.SOCK_STREAM))
        self.assertRaises(BlockingIOError, self.factory.sockets[0].recv, 1)
        self.clients[0].write(b"hello")
        self.assertEqual(self.factory.sockets[0].recv(10), b"hello")

    def test_it_may_change_its_mind(self) -> None:
        self.factory.takes_sockets = False
        self.clients_wait(1)
        self.engine.settle()
        self.assertEqual((len(self.factory.sockets), len(self.factory.protocols)), (0, 1))

    def test_it_raises(self) -> None:
        self.factory.raises = True
        self.clients_wait(1)
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clients[0].read()
        self.assertTrue(self.clients[0].ended)
        self.factory.raises = False
        self.clients_wait(1)
        self.engine.settle()
        self.assertEqual(len(self.factory.sockets), 1)

    def test_unix(self) -> None:
        path = os.path.relpath(self.mktemp())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.engine.reactor.listenUNIX(path, self.factory)
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.connect(path)
        self.engine.settle()
        self.assertEqual(self.factory.sockets[0].family, socket.AF_UNIX)


class SharedTests(PortCase):
    """Several processes that accept from the same place."""

    def mask(self, port: Any) -> int:
        (entry,) = [entry for entry in self.loop.table if getattr(entry, "reader", None) is port]
        return int(entry.mask)  # type: ignore[attr-defined]

    def test_adopted_wakes_one_of_them(self) -> None:
        """EPOLLEXCLUSIVE, which cannot be modified, but be taken back and asked for again."""
        factory = ServerFactory.forProtocol(Recorder)
        port = self.engine.reactor.adoptStreamPort(self.port.fileno(), socket.AF_INET, factory)
        self.assertEqual(self.mask(port), IN | EXCLUSIVE)
        self.assertEqual(self.mask(self.port), IN)
        for _ in range(2):
            port.stopReading()
            port.startReading()
        self.assertEqual(self.mask(port), IN | EXCLUSIVE)
        self.engine.client(port)
        self.engine.settle()
        self.assertEqual(self.engine.statistics.accepted, 1)
        port.stopListening()
        self.engine.settle()
        self.engine.client(self.port)
        self.engine.settle()
        self.assertEqual(self.engine.statistics.accepted, 2, "the other goes on")

    def test_of_another_family(self) -> None:
        """As it is called where it is passed: a wrong address would be made of what it accepts."""
        adopt, factory = self.engine.reactor.adoptStreamPort, ServerFactory()
        files = open_fds()
        for family, name in ((socket.AF_INET6, "AF_INET6"), (socket.AF_UNIX, "AF_UNIX")):
            error = self.assertRaises(ValueError, adopt, self.port.fileno(), family, factory)
            self.assertEqual(str(error), f"the socket is of AF_INET, not of {name}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            error = self.assertRaises(ValueError, adopt, datagrams.fileno(), socket.AF_INET, factory)
        self.assertEqual(str(error), "the socket is a SOCK_DGRAM, not a SOCK_STREAM")
        self.assertEqual(open_fds(), files)

    def test_reuse_port(self) -> None:
        """Two listeners of one port, as each worker has its own."""
        factory = ServerFactory()
        factory.buildProtocol = lambda address: self.make()  # type: ignore[method-assign]
        reactor, number = self.engine.reactor, 0
        ports = []
        for _ in range(2):
            port = EdgePort(number, factory, interface="127.0.0.1", reactor=reactor)
            make = port.createInternetSocket

            def reusing(make: Any = make) -> Any:
                sock = make()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                return sock

            port.createInternetSocket = reusing  # type: ignore[method-assign]
            port.startListening()
            number = port.getHost().port
            ports.append(port)
        for _ in range(40):
            self.engine.client(ports[0])
        self.engine.settle()
        self.assertEqual(self.engine.statistics.accepted, 40)
        shares = [len([p for p in self.protocols if p.transport.server is port]) for port in ports]  # type: ignore[union-attr]
        self.assertTrue(all(shares), shares)
