"""
The C{epollet} reactor: nginx's event engine (L{twisted_pipe.net.loop}) under Twisted's interfaces.

Twisted's own stream transports, TCP and UNIX, are replaced by edge-triggered ones (L{twisted_pipe.net.transport}); all other
descriptors are level-triggered (L{twisted_pipe.net.level}).
"""

from __future__ import annotations

import errno
import os
import socket
from math import ceil
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import UnsupportedAddressFamily
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.posixbase import PosixReactorBase, _ContinuousPolling
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python import log
from zope.interface import implementer

from twisted_pipe.core.slots import NO_TAG
from twisted_pipe.net.connections import WorkerConnections
from twisted_pipe.net.epoll import check_system
from twisted_pipe.net.level import DESCRIPTOR_LOST, LevelRegistration
from twisted_pipe.net.loop import GONE, EventLoop, LoopStatistics, edge_sockets
from twisted_pipe.net.port import EdgePort, EdgeUnixPort
from twisted_pipe.net.transport import EdgeConnector, EdgeServer, EdgeTransport, EdgeUnixConnector, EdgeUnixServer

__all__ = ["EpollETReactor", "install"]

_TOP = Logger().failureHandler("Unexpected error in main loop")  # as Twisted's
_MANY_CANCELLED = 50  # as Twisted's: then cancelled calls are thrown out
_LONGEST = 86400.0  # seconds of a wait; an int of milliseconds is what epoll_wait takes
_FILES_EVERY = 0.01  # seconds
_FILE_CALLS = 16


class _FilePolling(_ContinuousPolling):
    """What epoll cannot watch, regular files. They are always ready: many reads every 10 ms, where Twisted's own spins."""

    def _checkLoop(self) -> None:
        if not (self._readers or self._writers):
            if self._loop:
                self._loop.stop()
                self._loop = None
        elif self._loop is None:
            self._loop = LoopingCall(self.iterate)
            self._loop.clock = self._reactor
            self._loop.start(_FILES_EVERY, now=False)

    def removeReader(self, reader: Any) -> None:
        if any(each is reader for each in self._readers):  # who cannot be hashed is none of them
            _ContinuousPolling.removeReader(self, reader)

    def removeWriter(self, writer: Any) -> None:
        if any(each is writer for each in self._writers):
            _ContinuousPolling.removeWriter(self, writer)

    def iterate(self) -> None:
        for _ in range(_FILE_CALLS):
            if not (self._readers or self._writers):
                return
            _ContinuousPolling.iterate(self)


@implementer(IReactorFDSet)
class EpollETReactor(PosixReactorBase):
    """
    A reactor on epoll(7): edge-triggered for its own stream transports, level-triggered for all else. Linux only.

    @ivar loop: the engine.
    @ivar connections: the limit on how many connections there may be at once, none by default.
    """

    _newTimedCalls: Any  # ReactorBase's

    def __init__(self) -> None:
        self.loop = EventLoop(self.seconds, self.disconnect, self._lost)
        self.connections = WorkerConnections(self.loop)
        self._by_fd: dict[int, LevelRegistration] = {}
        # by id(): selectables need not be hashable, and are told apart by identity
        self._readers: dict[int, LevelRegistration] = {}
        self._writers: dict[int, LevelRegistration] = {}
        self._polling: Any = _FilePolling(self)
        PosixReactorBase.__init__(self)

    def statistics(self) -> LoopStatistics:
        """The engine's counters since the reactor was made."""
        return self.loop.statistics()

    # edge-triggered sockets

    def add_edge(self, edge: Any, fd: int) -> None:
        """Register C{edge}, an C{EdgeSocket}, once, for all events and for its whole life."""
        self.loop.add(edge, fd)
        edge.active = self.seconds()
        # Whoever had this number lost it behind our back; its removal must not touch the new registration.
        ghost = self._by_fd.get(fd)
        if ghost is not None:
            self._replaced(ghost)

    # level-triggered descriptors: IReactorFDSet

    def addReader(self, reader: Any) -> None:
        if isinstance(reader, EdgeTransport):
            reader.startReading()
        elif id(reader) not in self._readers:
            registration = self._level_for(reader, "reader")
            if registration is None:
                self._polling.addReader(reader)
            else:
                self._readers[id(reader)] = registration

    def addWriter(self, writer: Any) -> None:
        if isinstance(writer, EdgeTransport):
            writer.startWriting()
        elif id(writer) not in self._writers:
            registration = self._level_for(writer, "writer")
            if registration is None:
                self._polling.addWriter(writer)
            else:
                self._writers[id(writer)] = registration

    def removeReader(self, reader: Any) -> None:
        if isinstance(reader, EdgeTransport):
            reader.stopReading()
            return
        registration = self._readers.pop(id(reader), None)
        if registration is None:
            self._polling.removeReader(reader)
        else:
            registration.reader = None
            self._narrow(registration)

    def removeWriter(self, writer: Any) -> None:
        if isinstance(writer, EdgeTransport):
            writer.stopWriting()
            return
        registration = self._writers.pop(id(writer), None)
        if registration is None:
            self._polling.removeWriter(writer)
        else:
            registration.writer = None
            self._narrow(registration)

    def _level_for(self, selectable: Any, side: str) -> LevelRegistration | None:
        """
        The registration of C{selectable}'s descriptor with C{side} added, None if epoll cannot watch it (a regular file).
        """
        fd = selectable.fileno()
        registration = self._by_fd.get(fd)
        if registration is not None and getattr(registration, side) is None:
            setattr(registration, side, selectable)
            try:
                self.loop.modify(registration)
                return registration
            except OSError as error:
                setattr(registration, side, None)
                if error.errno not in GONE:
                    raise
        # Nobody has this number; or whoever had it lost its descriptor behind our back and will never see an event again.
        fresh = LevelRegistration(fd)
        fresh.exclusive = getattr(selectable, "shared", False)
        fresh.foreign = not (isinstance(selectable, tcp.Port) or self._is_internal(selectable))
        setattr(fresh, side, selectable)
        watched = self._watch(fresh)
        if watched:
            self.loop.foreign += fresh.foreign
            self._by_fd[fd] = fresh
        if registration is not None:
            self._replaced(registration)
        return fresh if watched else None

    def _watch(self, registration: LevelRegistration) -> bool:
        """Register it. Returns whether epoll can watch it."""
        try:
            self.loop.add(registration, registration.fd)
        except OSError as error:
            if error.errno == errno.EPERM:
                return False
            raise
        return True

    def _is_internal(self, selectable: Any) -> bool:
        """Whether it is one of the reactor's own, its waker."""
        return any(each is selectable for each in self._internalReaders)

    def _replaced(self, registration: LevelRegistration) -> None:
        """Somebody else registers the number of C{registration}'s descriptor: who has lost it is told."""
        if registration.lost:
            self._lost(registration)
        else:
            self._forget(registration)

    def _forget(self, registration: LevelRegistration) -> None:
        """C{registration} is over, and its number somebody else's: the kernel is not asked to remove it."""
        if registration.tag != NO_TAG:
            self.loop.foreign -= registration.foreign
            self.loop.forget(registration)
        if self._by_fd.get(registration.fd) is registration:
            del self._by_fd[registration.fd]

    def _lost(self, registration: LevelRegistration) -> None:
        """C{registration}'s descriptor was closed behind our back."""
        reader, writer = registration.reader, registration.writer
        self._forget(registration)
        for each, known in ((reader, self._readers), (writer, self._writers)):
            if known.get(id(each)) is registration:
                del known[id(each)]
        for each in (reader, writer) if reader is not writer else (reader,):
            if each is not None:
                self.disconnect(each, DESCRIPTOR_LOST, False)

    def _narrow(self, registration: LevelRegistration) -> None:
        """A side of C{registration} was given up."""
        if registration.tag == NO_TAG:
            return
        if registration.mask:
            try:
                self.loop.modify(registration)
            except OSError as error:
                if error.errno not in GONE:  # else it was closed before it was removed, which the kernel noticed first
                    raise
            return
        self.loop.foreign -= registration.foreign
        self.loop.remove(registration)
        if self._by_fd.get(registration.fd) is registration:
            del self._by_fd[registration.fd]

    def getReaders(self) -> list[Any]:
        edges = [edge.transport for edge in edge_sockets(self.loop) if edge.reading or edge.reader is not None]
        return [entry.reader for entry in self._readers.values()] + edges + list(self._polling.getReaders())

    def getWriters(self) -> list[Any]:
        edges = [edge.transport for edge in edge_sockets(self.loop) if edge.writing]
        return [entry.writer for entry in self._writers.values()] + edges + list(self._polling.getWriters())

    def removeAll(self) -> list[Any]:
        found = {id(each): each for each in self.getReaders() + self.getWriters() if not self._is_internal(each)}
        for each in found.values():
            self.removeReader(each)
            self.removeWriter(each)
        return list(found.values())

    def disconnectAll(self) -> None:
        """At shutdown: also connections that are paused, which nobody would tell otherwise."""
        for edge in edge_sockets(self.loop):
            edge.reading = True
        PosixReactorBase.disconnectAll(self)

    def disconnect(self, selectable: Any, why: BaseException, in_read: bool) -> None:
        """End C{selectable} because of C{why}, honouring half-close if it was found while reading."""
        try:
            self._disconnectSelectable(selectable, why, in_read)
        except Exception:
            log.err(None, f"while {selectable!r} was told that it is disconnected")

    # the turn

    def mainLoop(self) -> None:
        """Turns until the reactor stops. Twisted's own, less what a turn without timers and calls from threads need not do."""
        turn = self.loop.turn
        while self._started:
            with _TOP:
                while self._started:
                    now = self.seconds()
                    calls = self._pendingTimedCalls
                    if (
                        self.threadCallQueue
                        or self._newTimedCalls
                        or self._justStopped
                        or not self.running
                        or self._cancellations > _MANY_CANCELLED
                        or (calls and calls[0].time <= now)
                    ):
                        self.runUntilCurrent()
                        self.doIteration(self.running and self.timeout())
                    else:
                        turn(ceil(min(calls[0].time - now, _LONGEST) * 1000) if calls else -1)
        log.msg("Main loop terminated.")

    def doIteration(self, delay: float | None) -> None:
        """One turn. C{delay} in seconds, None to wait for ever."""
        # rounded up: a timer that is not yet due would make the loop spin
        self.loop.turn(-1 if delay is None else ceil(delay * 1000))

    doPoll = doIteration

    # the factories whose transports are ours

    def listenTCP(self, port: Any, factory: Any, backlog: int = 50, interface: str = "") -> EdgePort:
        listener = EdgePort(port, factory, backlog, interface, self)
        listener.startListening()
        return listener

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30.0, bindAddress: Any = None
    ) -> EdgeConnector:
        connector = EdgeConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: Any = 0
    ) -> EdgeUnixPort:
        listener = EdgeUnixPort(address, factory, backlog, mode, self, wantPID)
        listener.startListening()
        return listener

    def connectUNIX(self, address: Any, factory: Any, timeout: float = 30, checkPID: Any = 0) -> EdgeUnixConnector:
        connector = EdgeUnixConnector(address, factory, timeout, self, checkPID)
        connector.connect()
        return connector

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        """
        Listen with a socket made elsewhere. Others may wait on it, too: an event wakes one of them (EPOLLEXCLUSIVE).

        @raise ValueError: it is of another family, or no stream.
        """
        if addressFamily not in (*_INTERNET, socket.AF_UNIX):
            raise UnsupportedAddressFamily(addressFamily)
        _check_passed(fileDescriptor, addressFamily)
        listener: Any
        if addressFamily == socket.AF_UNIX:
            listener = EdgeUnixPort._fromListeningDescriptor(self, fileDescriptor, factory)
        else:
            listener = EdgePort._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        listener.shared = True
        listener.startListening()
        return listener

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        if addressFamily == socket.AF_UNIX:
            unix: Any = EdgeUnixServer
            return unix._fromConnectedSocket(fileDescriptor, factory, self)
        if addressFamily not in _INTERNET:
            raise UnsupportedAddressFamily(addressFamily)
        return EdgeServer._fromConnectedSocket(fileDescriptor, addressFamily, factory, self)


_INTERNET = (socket.AF_INET, socket.AF_INET6)


def _check_passed(number: int, family: Any) -> None:
    """Whoever names the family of a socket made elsewhere may be wrong: systemd's of C{ListenStream=80} is of AF_INET6."""
    with socket.socket(fileno=os.dup(number)) as found:
        wanted = socket.AddressFamily(family).name
        if found.family != family:
            raise ValueError(f"the socket is of {socket.AddressFamily(found.family).name}, not of {wanted}")
        if found.type != socket.SOCK_STREAM:
            raise ValueError(f"the socket is a {socket.SocketKind(found.type).name}, not a SOCK_STREAM")


def install() -> None:
    """
    Make an L{EpollETReactor} the process's reactor (C{twisted.internet.reactor}).

    @raise twisted_pipe.net.epoll.NotSupported: this system cannot: one sentence says what is missing.
    """
    from twisted.internet.main import installReactor

    check_system()
    installReactor(EpollETReactor())
