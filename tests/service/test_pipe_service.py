"""The service: all listeners or none, the pid file, and the end."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Engine
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.http.log_format import log_format
from twisted_pipe.limits import MIB, PipeLimits
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.http_upstream import HttpUpstream
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.service.access_log import AccessLogPlace
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.endpoints import Listener, parse_listener, parse_upstream
from twisted_pipe.service.pidfile import PidFile
from twisted_pipe.service.pipe_service import PipeService
from twisted_pipe.service.refusal import CannotStart
from twisted_pipe.service.stream_server import StreamServer
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import PeerState


class Port:
    """A listening port."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.listening = True
        self.closed: Deferred[None] = Deferred()

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self.number)

    def stopListening(self) -> Deferred[None]:
        self.listening = False
        return self.closed


@attrs.define
class Place:
    """An endpoint that listens when the test says so."""

    listened: list[Any] = attrs.Factory(list)

    def listen(self, factory: object) -> Deferred[Any]:
        self.listened.append(Deferred())
        return self.listened[-1]


class Now:
    """An endpoint that listens at once, or fails at once."""

    def __init__(self, result: Port | Exception) -> None:
        self.result = result

    def listen(self, factory: object) -> Any:
        future: Deferred[Any] = Deferred()
        if isinstance(self.result, Port):
            future.callback(self.result)
        else:
            future.errback(self.result)
        return future


IN_USE = CannotListenError("", 8080, OSError(errno.EADDRINUSE, "Address already in use"))


class ServiceCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.stderr = io.StringIO()
        self.patch(sys, "__stderr__", self.stderr)
        self.pid_path = os.path.abspath(self.mktemp())

    def configuration(self, **endpoints: Any) -> PipeConfiguration:
        server = StreamServer(
            listeners=tuple(Listener(text, endpoint) for text, endpoint in endpoints.items()),
            group=UpstreamGroup([parse_upstream(self.reactor, "10.0.0.1:9000", 60)]),
            settings=ProxySettings(),
        )
        return PipeConfiguration(servers=(server,), spill=SpillDirectory("/var/spool"), pid_file=PidFile(self.pid_path))

    def changed(self, configuration: PipeConfiguration, **fields: Any) -> PipeConfiguration:
        """The same with other fields of its server."""
        server: Any = configuration.servers[0]
        return attrs.evolve(configuration, servers=(attrs.evolve(server, **fields),))

    def service(self, **endpoints: Any) -> PipeService:
        return PipeService(self.configuration(**endpoints), self.reactor)

    def refused(self, service: PipeService) -> str:
        with capturedLogs() as events, self.assertRaises(CannotStart) as caught:
            service.privilegedStartService()
        line = str(caught.exception)
        self.assertEqual(self.stderr.getvalue(), line + "\n")
        self.assertEqual([event["log_level"] for event in events], [LogLevel.critical])
        self.assertEqual(caught.exception.code, 1)
        self.assertFalse(os.path.exists(self.pid_path))
        return line


class StartTests(ServiceCase):
    def test_listens_before_privileges_are_shed(self) -> None:
        reactor = self.reactor
        configuration = self.changed(
            self.configuration(), listeners=(parse_listener(reactor, "8080"), parse_listener(reactor, "[::1]:8081"))
        )
        service = PipeService(configuration, reactor)
        self.assertEqual(reactor.tcpServers, [])
        service.privilegedStartService()
        self.assertEqual([(each[0], each[3]) for each in reactor.tcpServers], [(8080, ""), (8081, "::1")])
        self.assertEqual([each[1] for each in reactor.tcpServers], service.protocols * 2)

    def test_pid_file_when_all_are_bound(self) -> None:
        first, second = Port(1), Place()
        service = self.service(a=Now(first), b=second)
        service.privilegedStartService()
        service.startService()
        self.assertFalse(os.path.exists(self.pid_path))
        second.listened[0].callback(Port(2))
        with open(self.pid_path, "rb") as file:
            self.assertEqual(file.read(), b"%d\n" % os.getpid())
        self.assertEqual([address.port for address in service.addresses], [1, 2])  # type: ignore[attr-defined]

    def test_no_pid_file(self) -> None:
        service = PipeService(attrs.evolve(self.configuration(a=Now(Port(1))), pid_file=None), self.reactor)
        service.privilegedStartService()
        service.stopService()
        self.assertFalse(os.path.exists(self.pid_path))

    def test_logs_what_it_does(self) -> None:
        """One line per listener, with the real port and the bounds in people's units."""
        settings = ProxySettings(
            limits=PipeLimits(limit_rate=MIB, read_timeout=0),
            response_filters=(parse_filter_spec("upper"),),
            request_filters=(parse_filter_spec("hexdump"),),
        )
        configuration = self.changed(self.configuration(**{"tcp:0": Now(Port(4711))}), settings=settings)
        with capturedLogs() as events:
            PipeService(configuration, self.reactor).privilegedStartService()
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "listening on tcp 127.0.0.1:4711 (--listen tcp:0): passes tcp on to 10.0.0.1:9000; filters upper; "
                "request filters hexdump; 8 buffers of 32.0 KiB; busy size 224.0 KiB; "
                "spill up to 1.0 GiB in /var/spool; at most 1.0 MiB/s; "
                "timeouts: connect 60.0 s, read off, send 60.0 s, idle 10 m 00 s, lingering 5.000 s"
            ],
        )

    def test_worker_connections(self) -> None:
        engine = Engine(self)
        for count in (100, 0):
            configuration = attrs.evolve(self.configuration(a=Now(Port(1))), worker_connections=count)
            PipeService(configuration, engine.reactor).privilegedStartService()
            self.assertEqual(engine.reactor.connections.limit, 100, "0 changes nothing")

    def test_debug_events(self) -> None:
        """Each event of the engine is a line in the log, at the level for that; without the option it is not even asked."""
        engine = Engine(self)
        configuration = self.configuration(a=Now(Port(1)))
        PipeService(configuration, engine.reactor).privilegedStartService()
        self.assertIsNone(engine.reactor.loop.debug)
        PipeService(attrs.evolve(configuration, debug_events=True), engine.reactor).privilegedStartService()
        with capturedLogs() as events:
            engine.connect()
            engine.settle()
        self.assertEqual({event["log_level"] for event in events}, {LogLevel.debug})
        lines = [formatEvent(event) for event in events]
        self.assertTrue(lines[0].startswith("epoll add event: fd:"), lines)
        self.assertTrue(lines[-1].startswith("epoll: fd:"), lines)

    def test_logs_what_is_off(self) -> None:
        configuration = self.configuration()
        for limits, words in (
            (PipeLimits(max_temp_file_size=0), "; no spill; "),
            (PipeLimits(buffering=False), "; no buffering: one buffer of 32.0 KiB; "),
        ):
            settings = ProxySettings(limits=limits)
            server = self.changed(configuration, settings=settings).servers[0]
            self.assertIn(words, server.describe(configuration.spill))


class RefusalTests(ServiceCase):
    def test_port_in_use(self) -> None:
        """The listeners before it are closed again; those after it never open."""
        before, after = Port(1), Place()
        service = self.service(**{"tcp:1": Now(before), "tcp:8080": Now(IN_USE), "tcp:2": after})
        self.assertEqual(self.refused(service), "twistd pipe: --listen: 'tcp:8080': address already in use")
        self.assertFalse(before.listening)
        self.assertEqual(after.listened, [])
        self.assertEqual(service.addresses, [])

    def test_nothing_is_left(self) -> None:
        """There is no other turn of the reactor in which the files of UNIX sockets could be removed."""
        engine = Engine(self)
        path = os.path.relpath(self.mktemp())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        configuration = self.changed(
            self.configuration(),
            listeners=(parse_listener(engine.reactor, f"unix:{path}"), Listener("tcp:8080", Now(IN_USE))),  # type: ignore[arg-type]
        )
        with capturedLogs():
            self.assertRaises(CannotStart, PipeService(configuration, engine.reactor).privilegedStartService)
        self.assertEqual(
            [name for name in os.listdir(os.path.dirname(path)) if name.startswith(os.path.basename(path))], []
        )

    def test_it_may_be_started_again(self) -> None:
        """Once the port is free."""
        endpoint, port = Now(IN_USE), Port(8080)
        service = self.service(**{"tcp:8080": endpoint})
        with capturedLogs():
            self.assertRaises(CannotStart, service.startService)
            endpoint.result = port
            service.startService()
        self.assertEqual(service.addresses, [port.getHost()])
        service.stopService()

    def test_any_other_reason(self) -> None:
        for error, reason in (
            (OverflowError("port must be 0-65535"), "port must be 0-65535"),
            (PermissionError(errno.EACCES, "Permission denied"), "permission denied"),
        ):
            self.stderr.truncate(0)
            self.stderr.seek(0)
            self.assertEqual(self.refused(self.service(x=Now(error))), f"twistd pipe: --listen: 'x': {reason}")

    def test_pid_file_cannot_be_written(self) -> None:
        self.pid_path = os.path.join(self.mktemp(), "missing", "pid")
        port = Port(1)
        line = self.refused(self.service(a=Now(port)))
        self.assertEqual(line, f"twistd pipe: --pid-file: {self.pid_path!r}: no such file or directory")
        self.assertFalse(port.listening)

    def test_late(self) -> None:
        """An endpoint that fails when the reactor runs already stops it."""
        bound, late = Port(1), Place()
        service = self.service(a=Now(bound), b=late)
        service.privilegedStartService()
        service.startService()
        with capturedLogs():
            late.listened[0].errback(IN_USE)
        self.assertEqual(self.stderr.getvalue(), "twistd pipe: --listen: 'b': address already in use\n")
        self.assertTrue(self.reactor.hasStopped)
        self.assertFalse(bound.listening)
        self.assertFalse(os.path.exists(self.pid_path))

    def test_our_mistakes_are_raised(self) -> None:
        service = self.service(a=Now(Port(1)))
        self.patch(StreamServer, "describe", lambda self, spill: 1 / 0)
        self.assertRaises(ZeroDivisionError, service.privilegedStartService)


class StopTests(ServiceCase):
    def test_waits_for_the_listeners(self) -> None:
        port = Port(1)
        service = self.service(a=Now(port))
        parent = MultiService()
        service.setServiceParent(parent)
        parent.privilegedStartService()
        parent.startService()
        stopped = parent.stopService()
        self.assertFalse(port.listening)
        self.assertFalse(os.path.exists(self.pid_path))
        self.assertNoResult(stopped)
        port.closed.callback(None)
        self.successResultOf(stopped)

    def test_closes_sessions(self) -> None:
        service = self.service(a=Now(Port(1)))
        service.privilegedStartService()
        service.startService()
        client = StringTransport()
        client.abortConnection = client.loseConnection
        service.protocols[0].buildProtocol(None).makeConnection(client)
        self.assertEqual(service.statistics().servers[0].active, 1)
        service.stopService()
        self.assertEqual(service.statistics().servers[0].active, 0)
        self.assertTrue(client.disconnecting)

    def test_another_process_s_pid_file_stays(self) -> None:
        service = self.service(a=Now(Port(1)))
        service.privilegedStartService()
        with open(self.pid_path, "wb") as file:
            file.write(b"1\n")
        service.stopService()
        self.assertTrue(os.path.exists(self.pid_path))

    def test_pid_file_that_cannot_be_removed(self) -> None:
        """After the privileges were shed, for instance: it is said, and nothing else."""
        service = self.service(a=Now(Port(1)))
        service.privilegedStartService()

        def refuse(path: str) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        self.patch(os, "unlink", refuse)
        with capturedLogs() as events:
            service.stopService()
        [event] = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(formatEvent(event), f"--pid-file: {self.pid_path}: cannot be removed: permission denied")

    def test_while_binding(self) -> None:
        late = Place()
        service = self.service(a=late)
        service.privilegedStartService()
        service.startService()
        self.successResultOf(service.stopService())
        self.assertTrue(late.listened[0].called)
        self.assertFalse(self.reactor.hasStopped)
        self.assertEqual(self.stderr.getvalue(), "")

    def test_a_listener_that_cannot_be_closed(self) -> None:
        """The log says so, and the end goes on."""
        port = Port(1)
        service = self.service(a=Now(port))
        service.startService()
        stopped = service.stopService()
        with capturedLogs() as events:
            port.closed.errback(PermissionError(errno.EACCES, "Permission denied"))
        self.successResultOf(stopped)
        self.assertEqual([formatEvent(event) for event in events], ["a listener cannot be closed: permission denied"])

    def test_never_started(self) -> None:
        self.successResultOf(self.service(a=Now(Port(1))).stopService())


class AgainTests(ServiceCase):
    """A service that was stopped may be started again in the same process: who embeds it does."""

    def test_listens(self) -> None:
        """Also where C{privilegedStartService} is not called, as by whoever starts a service by hand."""
        place = Place()
        service = self.service(a=place)
        for number in (1, 2):
            service.startService()
            self.assertEqual(len(place.listened), number)
            place.listened[-1].callback(Port(number))
            self.assertEqual([address.port for address in service.addresses], [number])  # type: ignore[attr-defined]
            self.assertTrue(os.path.exists(self.pid_path))
            service.stopService()
            self.assertEqual(service.addresses, [])
            self.assertFalse(os.path.exists(self.pid_path))

    def test_binds_once(self) -> None:
        place = Place()
        service = self.service(a=place)
        service.privilegedStartService()
        service.startService()
        self.assertEqual(len(place.listened), 1)

    def test_while_it_binds(self) -> None:
        """What was cancelled is not what goes on."""
        place = Place()
        service = self.service(a=place)
        service.startService()
        service.stopService()
        service.startService()
        place.listened[1].callback(Port(2))
        self.assertEqual(len(service.addresses), 1)
        self.assertFalse(self.reactor.hasStopped)

    def test_servers_that_rested(self) -> None:
        routed = UpstreamGroup([parse_upstream(self.reactor, f"10.0.0.{n}:9000", 60) for n in (1, 2)])
        http = UpstreamGroup([parse_upstream(self.reactor, f"10.0.0.{n}:9000", 60) for n in (3, 4)])
        configuration = self.changed(self.configuration(a=Place()), group=routed)
        upstream = HttpUpstream(http, self.reactor)
        service = PipeService(attrs.evolve(configuration, upstreams=(upstream,)), self.reactor)
        service.startService()
        for group in (routed, http):
            group.failed(group.peers[0])
        service.stopService()
        self.assertEqual([group.peers[0].state for group in (routed, http)], [PeerState.RESTING] * 2)
        service.startService()
        self.assertEqual([group.peers[0].state for group in (routed, http)], [PeerState.TRIAL] * 2)

    def test_logs(self) -> None:
        service = self.service(a=Place())
        path = os.path.abspath(self.mktemp())
        log = service.logs.open(AccessLogPlace(path, log_format("combined"), "access_log"))
        service.startService()
        service.stopService()
        service.startService()
        log.write(b"again\n")
        service.stopService()
        with open(path) as file:
            self.assertEqual(file.read(), "again\n")

    def test_a_log_that_cannot_be_opened_again(self) -> None:
        service = self.service(a=Now(Port(1)))
        path = os.path.abspath(self.mktemp())
        service.logs.open(AccessLogPlace(path, log_format("combined"), "access_log"))
        service.startService()
        service.stopService()
        os.unlink(path)
        os.mkdir(path)
        line = self.refused(service)
        self.assertEqual(line, f"twistd pipe: access_log: {path!r}: must be a file to append to: Is a directory")
