"""
The service of C{twistd pipe}: every listener of every server, all or none of them.

Binding is what can still fail once the options are right. It happens in C{privilegedStartService}, after twistd has
become a daemon and before it sheds its privileges; a failure there ends the process with one line.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.listening import stop_at_once
from twisted_pipe.service.access_log import LogFiles
from twisted_pipe.service.configuration import PipeConfiguration, ServerConfiguration, ServiceParts
from twisted_pipe.service.endpoints import Listener, describe_address
from twisted_pipe.service.on_signal import OnSignal
from twisted_pipe.service.pidfile import PidFile
from twisted_pipe.service.refusal import CannotStart, reason_of
from twisted_pipe.service.statistics import ServiceStatistics, statistics_of
from twisted_pipe.service.tls_reloading import TlsReloading

__all__ = ["PipeService"]


class PipeService(Service):
    """
    Listens where it is configured to, while it runs.

    @ivar configuration: what it does.
    @ivar logs: the access logs.
    @ivar protocols: what stands behind the listeners of each server, C{IPipeProtocol}s.
    """

    _log = Logger()

    def __init__(self, configuration: PipeConfiguration, reactor: Any) -> None:
        """
        @raise BadConfiguration: a file that a server needs cannot be opened.
        """
        self.configuration = configuration
        self.logs = LogFiles(reactor)
        parts = ServiceParts(reactor=reactor, spill=configuration.spill, logs=self.logs)
        self.protocols: list[Any] = [server.build(parts) for server in configuration.servers]
        self._signals = (
            OnSignal(signal.SIGUSR1, reactor, self._reopen_logs),
            OnSignal(signal.SIGHUP, reactor, self._hung_up),
        )
        self._in_terminal = False
        self._reloading = TlsReloading(reactor, configuration.all_tls)
        self._reactor = reactor
        self._entrances: list[Any] = []
        self._ports: list[IListeningPort] = []
        self._binding: Deferred[None] | None = None

    @property
    def addresses(self) -> list[IAddress]:
        """What is listened on, with the real port where any was asked for."""
        return [port.getHost() for port in self._ports]

    def privilegedStartService(self) -> None:
        """
        Bind every listener, then write the pid file.

        TCP and UNIX endpoints bind at once. Those of plugins may take their time: the pid file waits for them.

        @raise CannotStart: one cannot be bound. Then none is.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        if self.configuration.worker_connections:
            self._reactor.connections.limit = self.configuration.worker_connections
        spill = self.configuration.spill
        if spill.in_memory and any(server.spills for server in self.configuration.servers):
            self._log.warn(
                "temp path: {path} is memory (tmpfs): spilling there saves none; a directory on a disk is wanted",
                path=spill.path,
            )
        if self.configuration.debug_events:
            self._reactor.loop.debug = self._debug
        for group in self.configuration.groups:
            group.start()
        failures: list[Failure] = []
        self._binding = Deferred.fromCoroutine(self._bind_all())
        self._binding.addErrback(failures.append)
        if failures:
            self._binding = None  # it may be tried again
            self._entrances = []  # none of their listeners is left
            raise self._refusal(failures[0])
        self._binding.addCallback(self._bound_late, failures)

    def startService(self) -> None:
        """
        From now on SIGUSR1 opens the access logs anew, and certificates are loaded anew when they change.

        Binds the listeners if L{privilegedStartService} has not done so since the start of the process or L{stopService}: a service
        that is stopped can be started again once the Deferred of that has fired.

        @raise CannotStart: as L{privilegedStartService}.
        """
        if self._binding is None:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        self._in_terminal = os.isatty(0)
        for on_signal in self._signals:
            on_signal.start()
        for each in self.configuration.background:
            each.start()
        self._reloading.start()

    def statistics(self) -> ServiceStatistics:
        """What the servers, the groups, the look-ups of names and the health checks tell of themselves."""
        return statistics_of(self.configuration, self.protocols)

    def stopService(self) -> Deferred[Any]:
        """Close the listeners, all connections and the logs, remove the pid file; fires when the listeners are closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.cancel()
        for each in self.configuration.background:
            each.stop()
        closing = self._close()
        entrances, self._entrances = self._entrances, []
        for protocol in (*entrances, *self.protocols):
            protocol.shutdown()
        for upstream in self.configuration.upstreams:
            upstream.close()
        for on_signal in self._signals:
            on_signal.stop()
        self._reloading.stop()
        self.logs.close()
        if self.configuration.spill.threads is not None:
            self.configuration.spill.threads.stop()
        if self.configuration.pid_file is not None:
            self._remove(self.configuration.pid_file)
        return closing

    async def _bind_all(self) -> None:
        """
        @raise BadConfiguration: which listener, log or pid file, and why not.
        """
        bound: list[tuple[ServerConfiguration, Listener]] = []
        try:
            self.logs.start()
            for server, protocol in zip(self.configuration.servers, self.protocols, strict=True):
                for listener in server.listeners:
                    self._ports.append(await self._bind(listener, protocol))
                    bound.append((server, listener))
            if self.configuration.pid_file is not None:
                self._write(self.configuration.pid_file)
        except BadConfiguration:
            for port in self._ports:
                stop_at_once(port).addErrback(self._not_closed)
            self._ports = []
            raise
        for (server, listener), address in zip(bound, self.addresses, strict=True):
            self._log.info(
                "listening on {address} ({option} {text}): {purpose}",
                address=describe_address(address),
                option=listener.option,
                text=listener.text,
                purpose=server.describe(self.configuration.spill),
            )

    async def _bind(self, listener: Listener, protocol: Any) -> IListeningPort:
        first = listener.entrance.before(protocol, self._reactor)
        if first is not protocol:
            self._entrances.append(first)
        try:
            return await listener.listen(first)
        except CancelledError:
            raise
        except Exception as error:
            raise BadConfiguration(listener.option, listener.text, reason_of(error)) from error

    def _bound_late(self, _: object, failures: list[Failure]) -> None:
        """When the reactor runs already, a failure stops it."""
        if failures and self.running:
            self._refusal(failures[0])
            self._reactor.stop()

    def _refusal(self, failure: Failure) -> CannotStart:
        """What ends the process, once the user has been told."""
        if not isinstance(failure.value, BadConfiguration):
            failure.raiseException()
        return CannotStart(failure.value).tell()

    def _reopen_logs(self) -> None:
        if self.logs:
            self._log.info("access logs are opened anew (SIGUSR1)")
            self.logs.reopen()
        else:
            self._log.info("there are no access logs to be opened anew (SIGUSR1)")

    def _hung_up(self) -> None:
        """Somebody expects a reload, as of nginx; unless there is a terminal, which has been closed then."""
        if self._in_terminal:
            self._log.info("the terminal is closed (SIGHUP): stopping")
            with suppress(ReactorNotRunning):  # it stops already
                self._reactor.stop()
        else:
            self._log.warn(
                "SIGHUP: the configuration is not read anew, which takes a new process; "
                "certificates and files of passwords are, without a signal"
            )

    def _debug(self, line: str) -> None:
        self._log.debug("{line}", line=line)

    def _close(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening).addErrback(self._not_closed) for port in ports])

    def _not_closed(self, failure: Failure) -> None:
        assert failure.value is not None
        self._log.error("a listener cannot be closed: {reason}", reason=reason_of(failure.value))

    def _write(self, file: PidFile) -> None:
        try:
            file.write()
        except OSError as error:
            raise BadConfiguration(file.option, file.path, reason_of(error)) from error

    def _remove(self, file: PidFile) -> None:
        try:
            file.remove()
        except OSError as error:
            self._log.warn(
                "{option}: {path}: cannot be removed: {reason}",
                option=file.option,
                path=file.path,
                reason=reason_of(error),
            )
