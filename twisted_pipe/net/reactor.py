"""
The C{epollet} reactor: nginx's event engine under Twisted's interfaces.

One turn::

    timers, calls from threads           (Twisted's runUntilCurrent)
    epoll wait                           0 if work is posted, else until the next timer
    sort the batch                       drop events whose tag is nobody's; post the others
    posted accepts                       new connections first
    posted events                        as many as stood there when the turn began
    posted writes                        what the handlers above wanted to send

Nothing runs while the batch is sorted, so a handler can never change what another event of the same batch means: it can only
close a registration, and a closed registration is skipped. Every registration stands in at most one queue, once. What a
handler posts runs in the next turn, after a look at the kernel; so a nested C{iterate} is harmless, too.

Twisted's own TCP transports are replaced by L{twisted_pipe.net.transport}'s; all other descriptors are level-triggered
(L{twisted_pipe.net.level}).
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from math import ceil
from typing import Any, Union

import attrs
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.posixbase import PosixReactorBase, _ContinuousPolling
from twisted.python import context, log
from zope.interface import implementer

from twisted_pipe.core.readiness import ET, IN, OUT, RDHUP
from twisted_pipe.core.slots import NO_TAG, SLOT_MASK, SlotTable
from twisted_pipe.net.edge import EdgeSocket
from twisted_pipe.net.epoll import Epoll
from twisted_pipe.net.level import LevelRegistration
from twisted_pipe.net.transport import EdgeConnector, EdgePort, EdgeServer, EdgeTransport

__all__ = ["EpollETReactor", "ReactorStatistics", "install"]

_EDGE_EVENTS = IN | OUT | RDHUP | ET
_GONE = (errno.ENOENT, errno.EBADF)
_LOG_CONTEXTS = 1024  # log contexts kept; more only cost making them anew
_GHOST_TAGS = 1024
_GHOST_TURNS = 3  # so often a nobody's event may come back before the epoll instance is replaced

_Registration = Union[EdgeSocket, LevelRegistration]


@attrs.frozen
class ReactorStatistics:
    """
    What the engine has done so far.

    @ivar waits: calls of epoll_wait.
    @ivar events: events it returned.
    @ivar stale_events: events dropped because their connection was gone.
    @ivar posted: registrations put into a queue.
    @ivar accepted: connections accepted.
    @ivar control_calls: calls of epoll_ctl.
    @ivar registered: registrations now.
    @ivar queued: registrations that now wait in a queue.
    @ivar rebuilds: how often the epoll instance was replaced because of a ghost (a descriptor closed while a duplicate of
        it lives reports events for ever).
    """

    waits: int
    events: int
    stale_events: int
    posted: int
    accepted: int
    control_calls: int
    registered: int
    queued: int
    rebuilds: int


@implementer(IReactorFDSet)
class EpollETReactor(PosixReactorBase):
    """
    A reactor on epoll(7): edge-triggered for its own TCP transports, level-triggered for all else. Linux only.

    @ivar stale_events: see L{ReactorStatistics}.
    @ivar accepted: see L{ReactorStatistics}.
    """

    def __init__(self) -> None:
        self._epoll = Epoll()
        self._table = SlotTable()
        self._by_fd: dict[int, LevelRegistration] = {}
        # by id(): selectables need not be hashable, and are told apart by identity
        self._readers: dict[int, LevelRegistration] = {}
        self._writers: dict[int, LevelRegistration] = {}
        self._accepts: deque[LevelRegistration] = deque()
        self._posted: deque[_Registration] = deque()
        self._posted_writes: deque[EdgeSocket] = deque()
        self._polling: Any = _ContinuousPolling(self)
        self._log_contexts: dict[str, dict[Any, Any]] = {}
        self._log_base: dict[Any, Any] | None = None
        self._ghosts: dict[int, int] = {}
        self._waits = self._events = self._posts = self._rebuilds = self._control_calls = 0
        self.stale_events = 0
        self.accepted = 0
        PosixReactorBase.__init__(self)

    def statistics(self) -> ReactorStatistics:
        """The counters since the reactor was made."""
        return ReactorStatistics(
            waits=self._waits,
            events=self._events,
            stale_events=self.stale_events,
            posted=self._posts,
            accepted=self.accepted,
            control_calls=self._control_calls + self._epoll.control_calls,
            registered=len(self._table),
            queued=len(self._accepts) + len(self._posted) + len(self._posted_writes),
            rebuilds=self._rebuilds,
        )

    # edge-triggered sockets

    def add_edge(self, edge: EdgeSocket, fd: int) -> None:
        """Register C{edge} once, for all events and for its whole life."""
        tag = self._table.take(edge)
        try:
            self._epoll.add(fd, _EDGE_EVENTS, tag)
        except BaseException:
            self._table.give_back(edge)
            raise
        # Whoever had this number lost it behind our back; its removal must not touch the new registration.
        ghost = self._by_fd.pop(fd, None)
        if ghost is not None:
            self._table.give_back(ghost)

    def remove_edge(self, edge: EdgeSocket) -> None:
        """Forget C{edge}, whose socket is about to be closed (which removes it from epoll: no system call here)."""
        self._table.give_back(edge)

    def post(self, registration: _Registration) -> None:
        """Run C{registration} in the next turn. A no-op if it is in a queue already."""
        if not registration.posted:
            registration.posted = True
            self._posts += 1
            self._posted.append(registration)

    def post_write(self, edge: EdgeSocket) -> None:
        """Run C{edge} at the end of this turn: it has something to send and the socket takes it."""
        if not edge.posted:
            edge.posted = True
            self._posts += 1
            self._posted_writes.append(edge)

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
                self._epoll.modify(fd, registration.mask, registration.tag)
                return registration
            except OSError as error:
                setattr(registration, side, None)
                if error.errno not in _GONE:
                    raise
        # Nobody has this number; or whoever had it lost its descriptor behind our back and will never see an event again.
        fresh = LevelRegistration(fd)
        setattr(fresh, side, selectable)
        tag = self._table.take(fresh)
        try:
            self._epoll.add(fd, fresh.mask, tag)
        except OSError as error:
            self._table.give_back(fresh)
            if error.errno == errno.EPERM:
                return None
            raise
        if registration is not None:
            self._table.give_back(registration)
        self._by_fd[fd] = fresh
        return fresh

    def _narrow(self, registration: LevelRegistration) -> None:
        """A side of C{registration} was given up."""
        if registration.tag == NO_TAG:
            return
        mask = registration.mask
        try:
            if mask:
                self._epoll.modify(registration.fd, mask, registration.tag)
            else:
                self._epoll.remove(registration.fd)
        except OSError as error:
            if error.errno not in _GONE:  # gone: it was closed before it was removed, which the kernel noticed first
                raise
        if not mask:
            self._table.give_back(registration)
            if self._by_fd.get(registration.fd) is registration:
                del self._by_fd[registration.fd]

    def getReaders(self) -> list[Any]:
        edges = [
            entry.transport
            for entry in self._table
            if isinstance(entry, EdgeSocket) and (entry.reading or entry.reader is not None)
        ]
        return [entry.reader for entry in self._readers.values()] + edges + list(self._polling.getReaders())

    def getWriters(self) -> list[Any]:
        edges = [entry.transport for entry in self._table if isinstance(entry, EdgeSocket) and entry.writing]
        return [entry.writer for entry in self._writers.values()] + edges + list(self._polling.getWriters())

    def removeAll(self) -> list[Any]:
        polled = self._polling.getReaders() + self._polling.getWriters()
        return list(dict.fromkeys(self._removeAll(self.getReaders(), self.getWriters()) + polled))

    def disconnectAll(self) -> None:
        """At shutdown: also connections that are paused, which nobody would tell otherwise."""
        idle = [entry.transport for entry in self._table if isinstance(entry, EdgeSocket)]
        for transport in idle:
            if transport.edge is not None:
                transport.edge.reading = True
        PosixReactorBase.disconnectAll(self)

    def disconnect(self, selectable: Any, why: BaseException, in_read: bool) -> None:
        """End C{selectable} because of C{why}, honouring half-close if it was found while reading."""
        try:
            self._disconnectSelectable(selectable, why, in_read)
        except Exception:
            log.err(None, f"while {selectable!r} was told that it is disconnected")

    # the turn

    def doIteration(self, delay: float | None) -> None:
        """One turn; see the top of the file. C{delay} in seconds, None to wait for ever."""
        if self._posted or self._posted_writes or self._accepts:
            milliseconds = 0
        elif delay is None:
            milliseconds = -1
        else:
            milliseconds = ceil(delay * 1000)  # rounded up: a timer that is not yet due would make the loop spin
        self._waits += 1
        self._sort(self._epoll.wait(milliseconds))
        if self._accepts:
            self._drain(self._accepts)
        if self._posted:
            self._drain(self._posted)
        if self._posted_writes:
            self._drain(self._posted_writes)

    doPoll = doIteration

    def _sort(self, events: Any) -> None:
        slots = self._table.slots
        posted = self._posted
        for mask, tag in events:
            self._events += 1
            registration: Any = slots[tag & SLOT_MASK]
            if registration.tag != tag:
                self.stale_events += 1
                self._suspect(tag)
                continue
            registration.events |= mask
            if not registration.posted:
                registration.posted = True
                self._posts += 1
                if type(registration) is LevelRegistration and registration.accepts:
                    self._accepts.append(registration)
                else:
                    posted.append(registration)

    def _drain(self, queue: deque[Any]) -> None:
        """Run what stands in C{queue} now. A nested turn may have emptied it before us."""
        contexts = context.theContextTracker.currentContext().contexts
        for _ in range(len(queue)):
            if not queue:
                return
            registration = queue.popleft()
            registration.posted = False
            if registration.tag == NO_TAG:
                self.stale_events += 1
                registration.events = 0
                continue
            contexts.append(self._log_context(registration.transport, contexts[-1]))
            try:
                registration.run(self)
            finally:
                contexts.pop()

    def _log_context(self, selectable: Any, base: dict[Any, Any]) -> dict[Any, Any]:
        """
        What C{log.callWithLogger} would push while C{selectable} runs, made once per log prefix and not once per event.
        """
        if base is not self._log_base:
            self._log_base = base
            self._log_contexts.clear()
        try:
            prefix = selectable.logPrefix()
        except Exception:
            prefix = "(buggy logPrefix method)"
            log.err(system=prefix)
        found = self._log_contexts.get(prefix)
        if found is None:
            if len(self._log_contexts) >= _LOG_CONTEXTS:
                self._log_contexts.clear()
            found = {**base, log.ILogContext: {**context.get(log.ILogContext), "system": prefix}}
            self._log_contexts[prefix] = found
        return found

    def _suspect(self, tag: int) -> None:
        """
        An event for nobody. An edge comes once, but a level-triggered descriptor that was closed while a duplicate of it
        lives is reported at every wait and can be removed by no call: the kernel knows it only by its closed number.
        """
        seen = self._ghosts.get(tag, 0) + 1
        if seen >= _GHOST_TURNS:
            self._rebuild()
            return
        if len(self._ghosts) >= _GHOST_TAGS:
            self._ghosts.clear()
        self._ghosts[tag] = seen

    def _rebuild(self) -> None:
        """Replace the epoll instance, without the ghosts."""
        self._ghosts.clear()
        self._rebuilds += 1
        self._control_calls += self._epoll.control_calls
        old, self._epoll = self._epoll, Epoll()
        old.close()
        registration: Any
        for registration in self._table:
            tag = registration.tag
            if isinstance(registration, LevelRegistration):
                fd, mask = registration.fd, registration.mask
            else:
                fd, mask = registration.transport.fileno(), _EDGE_EVENTS
            try:
                self._epoll.add(fd, mask, tag)
            except OSError as error:
                if error.errno not in (*_GONE, errno.EEXIST):
                    raise

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

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        if addressFamily not in _INTERNET:
            return PosixReactorBase.adoptStreamPort(self, fileDescriptor, addressFamily, factory)
        listener = EdgePort._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        listener.startListening()
        return listener

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        if addressFamily not in _INTERNET:
            return PosixReactorBase.adoptStreamConnection(self, fileDescriptor, addressFamily, factory)
        return EdgeServer._fromConnectedSocket(fileDescriptor, addressFamily, factory, self)


_INTERNET = (socket.AF_INET, socket.AF_INET6)


def install() -> None:
    """
    Make an L{EpollETReactor} the process's reactor (C{twisted.internet.reactor}).

    @raise twisted_pipe.net.epoll.NotSupported: this system has no epoll.
    """
    from twisted.internet.main import installReactor

    installReactor(EpollETReactor())
