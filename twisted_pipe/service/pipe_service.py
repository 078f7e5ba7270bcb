"""
The service of C{twistd pipe}: every listener, all or none of them, in front of one proxy.

Binding is what can still fail once the options are right. It happens in C{privilegedStartService}, after twistd has
become a daemon and before it sheds its privileges; a failure there ends the process with one line.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.endpoints import Listener, describe_address
from twisted_pipe.service.pidfile import PidFile
from twisted_pipe.service.refusal import CannotStart, reason_of
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["PipeService"]


class PipeService(Service):
    """
    Listens where it is configured to, while it runs.

    @ivar configuration: what it does.
    @ivar factory: the protocol behind all listeners, an C{IPipeProtocol}.
    """

    _log = Logger()

    def __init__(self, configuration: PipeConfiguration, reactor: Any) -> None:
        self.configuration = configuration
        group = UpstreamGroup(configuration.servers, configuration.balancer)
        context = ProxyContext(group, configuration.settings, configuration.spill, reactor)
        self.factory: Any = configuration.protocol.build(context)
        self._reactor = reactor
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
        spill, limits = self.configuration.spill, self.configuration.settings.limits
        if limits.file_size and spill.in_memory:
            self._log.warn(
                "--temp-path: {path} is memory (tmpfs): spilling there saves none; a directory on a disk is wanted",
                path=spill.path,
            )
        if self.configuration.debug_events:
            self._reactor.loop.debug = self._debug
        failures: list[Failure] = []
        self._binding = Deferred.fromCoroutine(self._bind_all())
        self._binding.addErrback(failures.append)
        if failures:
            raise self._refusal(failures[0])
        self._binding.addCallback(self._bound_late, failures)

    def stopService(self) -> Deferred[Any]:
        """Close the listeners and all sessions, remove the pid file; fires when the listeners are closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._binding is not None:
            self._binding.cancel()
        closing = self._close()
        self.factory.shutdown()
        if self.configuration.spill.threads is not None:
            self.configuration.spill.threads.stop()
        if self.configuration.pid_file is not None:
            self._remove(self.configuration.pid_file)
        return closing

    async def _bind_all(self) -> None:
        """
        @raise BadConfiguration: which listener, or the pid file, and why not.
        """
        listeners = self.configuration.listeners
        try:
            for listener in listeners:
                self._ports.append(await self._bind(listener))
            if self.configuration.pid_file is not None:
                self._write(self.configuration.pid_file)
        except BadConfiguration:
            self._close()
            raise
        for listener, address in zip(listeners, self.addresses, strict=True):
            self._log.info(
                "listening on {address} (--listen {text}): {purpose}",
                address=describe_address(address),
                text=listener.text,
                purpose=self.configuration.describe(),
            )

    async def _bind(self, listener: Listener) -> IListeningPort:
        try:
            return await listener.endpoint.listen(self.factory)
        except CancelledError:
            raise
        except Exception as error:
            raise BadConfiguration("--listen", listener.text, reason_of(error)) from error

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

    def _debug(self, line: str) -> None:
        self._log.debug("{line}", line=line)

    def _close(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)

    def _write(self, file: PidFile) -> None:
        try:
            file.write()
        except OSError as error:
            raise BadConfiguration("--pid-file", file.path, reason_of(error)) from error

    def _remove(self, file: PidFile) -> None:
        try:
            file.remove()
        except OSError as error:
            self._log.warn("--pid-file: {path}: cannot be removed: {reason}", path=file.path, reason=reason_of(error))
