"""What a listening socket is told, and the connections that it accepts have of it, on the reactor that trial was started with."""

from __future__ import annotations

import glob
import os
import pwd
import socket
import stat
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from twisted_pipe.core.keepalive_probes import KeepaliveProbes
from twisted_pipe.net.listening import BACKLOG, ListenSettings, SocketOwner, listen, stop_at_once

TCP = socket.IPPROTO_TCP
ROOT = os.getuid() == 0


class Accepted(Protocol):
    def connectionMade(self) -> None:
        factory: Any = self.factory
        factory.accepted.callback(self)


class Factory(ServerFactory):
    noisy = False
    protocol = Accepted

    def __init__(self) -> None:
        self.accepted: Deferred[Protocol] = Deferred()


class ListeningCase(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.factory = Factory()
        self.path = os.path.relpath(self.mktemp())
        os.makedirs(os.path.dirname(self.path), exist_ok=True)

    async def listening(self, endpoint: Any = None, **settings: Any) -> Any:
        if endpoint is None:
            endpoint = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        port = await listen(endpoint, self.factory, ListenSettings(**settings))
        self.addCleanup(port.stopListening)
        return port

    def unix(self, **settings: Any) -> Any:
        return self.listening(UNIXServerEndpoint(self.reactor, self.path), **settings)

    async def accepted(self, port: Any) -> socket.socket:
        """The socket of a client's connection."""
        client = socket.create_connection(port.socket.getsockname()[:2])
        self.addCleanup(client.close)
        protocol: Any = await self.factory.accepted
        self.addCleanup(protocol.transport.abortConnection)
        sock: socket.socket = protocol.transport.getHandle()
        return sock


class TcpTests(ListeningCase):
    async def test_nothing_said(self) -> None:
        port = await self.listening()
        self.assertEqual(port.backlog, BACKLOG)
        sock = await self.accepted(port)
        self.assertFalse(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(sock.getsockopt(TCP, socket.TCP_USER_TIMEOUT), 0)

    async def test_keepalive(self) -> None:
        sock = await self.accepted(await self.listening(keepalive=KeepaliveProbes(30, 10, 3)))
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        self.assertEqual([sock.getsockopt(TCP, option) for option in options], [30, 10, 3])

    async def test_user_timeout(self) -> None:
        sock = await self.accepted(await self.listening(user_timeout=2.5))
        self.assertEqual(sock.getsockopt(TCP, socket.TCP_USER_TIMEOUT), 2500)

    async def test_buffers(self) -> None:
        """The kernel doubles them, for what it needs itself: socket(7)."""
        sock = await self.accepted(await self.listening(receive_buffer=20000, send_buffer=30000))
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 40000)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), 60000)

    async def test_backlog(self) -> None:
        """What does not fit waits for an answer: the kernel lets one more in than was said."""
        port = await self.listening(backlog=2)
        address = port.socket.getsockname()
        port.stopReading()
        done = []
        for _ in range(4):
            client = socket.socket()
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(address)
            done.append(client.connect_ex(address) == 0)
        self.assertEqual(done, [True, True, True, False])

    async def test_reuse_port(self) -> None:
        port = await self.listening(reuse_port=True)
        number = port.getHost().port
        other = await self.listening(TCP4ServerEndpoint(self.reactor, number, interface="127.0.0.1"), reuse_port=True)
        self.assertEqual(other.getHost().port, number)
        with self.assertRaises(CannotListenError):
            await self.listening(TCP4ServerEndpoint(self.reactor, number, interface="127.0.0.1"))

    async def test_ipv6_only(self) -> None:
        for only in (True, False):
            port = await self.listening(TCP6ServerEndpoint(self.reactor, 0, interface="::"), ipv6_only=only)
            self.assertEqual(bool(port.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)), only)
            with socket.socket() as client:
                refused = client.connect_ex(("127.0.0.1", port.getHost().port)) != 0
            self.assertEqual(refused, only)

    async def test_an_address_that_is_taken(self) -> None:
        port = await self.listening(user_timeout=1)
        taken = TCP4ServerEndpoint(self.reactor, port.getHost().port, interface="127.0.0.1")
        with self.assertRaises(CannotListenError):
            await self.listening(taken, user_timeout=1)


class UnixTests(ListeningCase):
    async def test_mode(self) -> None:
        await self.unix(mode=0o640)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)

    async def test_mode_with_what_is_said_before_binding(self) -> None:
        port = await self.unix(mode=0o600, receive_buffer=20000)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 40000)

    async def test_mode_of_the_endpoint(self) -> None:
        await self.listening(serverFromString(self.reactor, f"unix:{self.path}:mode=604"))
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o604)

    async def test_owner(self) -> None:
        if not ROOT:
            raise SkipTest("only root gives files away")
        await self.unix(owner=SocketOwner.parse("nobody:123"))
        found = os.stat(self.path)
        self.assertEqual((found.st_uid, found.st_gid), (pwd.getpwnam("nobody").pw_uid, 123))

    async def test_owner_of_one_kind_leaves_the_other(self) -> None:
        if not ROOT:
            raise SkipTest("only root gives files away")
        await self.unix(owner=SocketOwner.parse(":123"))
        found = os.stat(self.path)
        self.assertEqual((found.st_uid, found.st_gid), (0, 123))

    async def test_owner_that_cannot_be(self) -> None:
        """Then nobody listens."""

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "chown", refuse)
        with self.assertRaises(CannotListenError) as caught:
            await self.unix(owner=SocketOwner(1, 1))
        self.assertIn("its owner cannot be set: Operation not permitted", str(caught.exception))
        self.assertEqual(self._files(), [], "at once: a start that fails has no other turn")

    async def test_stopped_at_once(self) -> None:
        port: Any = await self.unix()
        self.assertNotEqual(self._files(), [])
        await stop_at_once(port)
        self.assertEqual((self._files(), port.connected), ([], False))
        tcp = await self.listening()
        await stop_at_once(tcp)
        self.assertFalse(tcp.connected)

    def _files(self) -> list[str]:
        return glob.glob(f"{glob.escape(self.path)}*")

    async def test_left_behind(self) -> None:
        """By a process that was killed, with its lock."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
        os.symlink(str(os.getpid()), f"{self.path}.lock")
        await self.listening(serverFromString(self.reactor, f"unix:{self.path}"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)

    async def test_somebody_listens(self) -> None:
        with socket.socket(socket.AF_UNIX) as living:
            living.bind(self.path)
            living.listen()
            with self.assertRaises(CannotListenError):
                await self.unix()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(self.path)

    async def test_its_file_goes_with_it(self) -> None:
        port = await self.unix(mode=0o600, send_buffer=20000)
        await port.stopListening()
        self.assertFalse(os.path.exists(self.path))


class SettingsTests(SynchronousTestCase):
    def test_the_reactor_is_asked_where_nothing_has_to_be_prepared(self) -> None:
        reactor: Any = MemoryReactorClock()
        endpoint = TCP4ServerEndpoint(reactor, 80, interface="127.0.0.1")
        self.successResultOf(listen(endpoint, "factory", ListenSettings(backlog=7)))
        self.assertEqual(reactor.tcpServers, [(80, "factory", 7, "127.0.0.1")])

    def test_other_endpoints_listen_as_they_will(self) -> None:
        class Endpoint:
            def listen(self, factory: Any) -> str:
                return f"port for {factory}"

        self.assertEqual(self.successResultOf(listen(Endpoint(), "it", ListenSettings())), "port for it")

    def test_what_has_to_be_prepared(self) -> None:
        for settings in (ListenSettings(), ListenSettings(backlog=7, mode=0o600, owner=SocketOwner(1, 2))):
            self.assertFalse(settings.wants_preparation)
        for given in (
            {"reuse_port": True},
            {"ipv6_only": False},
            {"keepalive": KeepaliveProbes()},
            {"user_timeout": 1},
        ):
            self.assertTrue(ListenSettings(**given).wants_preparation)

    def test_owner(self) -> None:
        me, us = pwd.getpwuid(os.getuid()).pw_name, os.getgid()
        self.assertEqual(SocketOwner.parse(me), SocketOwner(os.getuid(), -1))
        self.assertEqual(SocketOwner.parse(f"{me}:{us}"), SocketOwner(os.getuid(), us))
        self.assertEqual(SocketOwner.parse(":7"), SocketOwner(-1, 7))
        for text, which in (
            ("no one", "user 'no one'"),
            ("root:no such", "group 'no such'"),
            ("0x10", "user '0x10'"),
            ("-1", "user '-1'"),
        ):
            error = self.assertRaises(ValueError, SocketOwner.parse, text)
            self.assertEqual(str(error), f"must be a user or group of this system: there is no {which}")
