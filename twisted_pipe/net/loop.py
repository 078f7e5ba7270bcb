"""
nginx's event engine: one epoll instance, a table of tagged registrations, posted queues.

One turn::

    epoll wait                           0 if work is posted
    sort the batch                       drop events whose tag is nobody's; post the others
    posted accepts                       new connections first
    relays                               bytes that pass from socket to socket, without any layer (net/relay.py)
    posted events                        as many as stood there when the turn began
    posted writes                        what the handlers above wanted to send
    late sends                           the same, of those who send by themselves, back to back

Nothing runs while the batch is sorted, so a handler can never change what another event of the same batch means: it can only
close a registration, and a closed registration is skipped. Every registration stands in at most one queue, once. What a
handler posts runs in the next turn, after a look at the kernel; so a nested turn is harmless, too.

Source: the seed's C{ngx_epoll_process_events()} and C{ngx_event_process_posted()}.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable
from math import ceil
from threading import get_ident
from typing import Any, Protocol, Union

import attrs
from twisted.logger import Logger
from twisted.python import context, log

from twisted_pipe.core.readiness import ERR, ET, HUP, IN, OUT, PRI, RDHUP
from twisted_pipe.core.slots import NO_TAG, SLOT_MASK, Registration, SlotTable
from twisted_pipe.net.epoll import Epoll
from twisted_pipe.net.level import LevelRegistration

__all__ = ["GONE", "EventLoop", "LateSender", "LoopStatistics", "Socket"]

#: What the kernel says of a descriptor that was closed behind our back; C{EPERM}: its number is a regular file's now.
GONE = (errno.ENOENT, errno.EBADF, errno.EPERM)

_EDGE_EVENTS = IN | PRI | OUT | RDHUP | ET
_SPECIAL = PRI | ERR | HUP | RDHUP  # of an end, or of urgent data
_LOG_CONTEXTS = 1024  # log contexts kept; more only cost making them anew
_LOOK_EVERY = 1.0  # seconds between two looks for lost descriptors
_GHOST_TAGS = 1024
_GHOST_TURNS = 3  # so often a nobody's event may come back before the epoll instance is replaced

_log = Logger()


class Socket(Protocol):
    """
    What the loop needs of an edge-triggered registration (L{twisted_pipe.net.edge.EdgeSocket}).

    @ivar transport: what is disconnected when a handler raises; has C{fileno()}.
    @ivar log_prefix: the "system" of what its handlers log.
    """

    tag: int
    events: int
    posted: bool
    writable: bool
    writing: bool
    relay: Any

    @property
    def transport(self) -> Any: ...

    @property
    def log_prefix(self) -> str: ...

    def run(self, loop: EventLoop) -> None:
        """Handle what C{events} and earlier readiness allow."""


class LateSender(Protocol):
    """
    Who has something to send that can wait for the end of the turn. The peers on this machine then wake up for many messages at
    once: waking one up costs its waker more than the message.

    @ivar source: whose failure it is if C{send_late} raises.
    """

    source: Any

    def send_late(self, now: float) -> None:
        """Send it."""


_Entry = Union[Socket, LevelRegistration]


@attrs.frozen
class LoopStatistics:
    """
    What the engine has done so far.

    @ivar waits: calls of epoll_wait.
    @ivar events: events it returned.
    @ivar stale_events: events dropped because their connection was gone.
    @ivar posted: registrations put into a queue.
    @ivar relayed: events that a relay answered, past all queues.
    @ivar accepted: connections accepted.
    @ivar control_calls: calls of epoll_ctl.
    @ivar registered: registrations now.
    @ivar queued: registrations that now wait in a queue.
    @ivar deepest_queue: the most that stood in one queue when it was begun.
    @ivar slow_handlers: handlers that kept all others waiting for longer than C{slow_handler} seconds.
    @ivar rebuilds: how often the epoll instance was replaced because of a ghost (a descriptor closed while a duplicate of
        it lives reports events for ever).
    @ivar rests: how often the listeners rested because no descriptor was free (EMFILE, ENFILE).
    @ivar drained: idle connections closed to make room for new ones (C{worker_connections}).
    """

    waits: int
    events: int
    stale_events: int
    posted: int
    relayed: int
    accepted: int
    control_calls: int
    registered: int
    queued: int
    deepest_queue: int
    slow_handlers: int
    rebuilds: int
    rests: int
    drained: int


class EventLoop:
    """
    The engine. In one thread only.

    @ivar table: the live registrations.
    @ivar now: the time of this turn, in the clock's seconds: good enough for every timeout, and it costs nothing.
    @ivar seconds: the clock, an C{IReactorTime}'s.
    @ivar turns: how many there were.
    @ivar slow_handler: seconds after which a handler is counted as slow and named in the log; 0 for no look at the time.
    @ivar debug: called with a line about each registration, event and call, None for none (it then costs nothing).
    @ivar foreign: how many level-triggered registrations are a program's own, and may lose their descriptors.
    @ivar late: L{LateSender}s of this turn, appended by themselves, once each.
    @ivar stale_events: see L{LoopStatistics}.
    @ivar accepted: see L{LoopStatistics}.
    @ivar rests: see L{LoopStatistics}.
    @ivar drained: see L{LoopStatistics}.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        disconnect: Callable[[Any, BaseException, bool], None],
        lost: Callable[[LevelRegistration], None],
    ) -> None:
        """
        @param seconds: the clock.
        @param disconnect: ends a selectable because of an exception; True if it was found while reading.
        @param lost: told of a foreign registration whose descriptor was closed behind our back.
        """
        self.table = SlotTable()
        self.seconds = seconds
        self.now = seconds()
        self.slow_handler = 0.0
        self.debug: Callable[[str], object] | None = None
        self.turns = 0
        self.late: list[LateSender] = []
        self.stale_events = self.accepted = self.rests = self.drained = 0
        self.disconnect = disconnect
        self.lost = lost
        self.foreign = 0
        self._looked = 0.0
        self._epoll = Epoll()
        self._accepts: deque[LevelRegistration] = deque()
        self._posted: deque[_Entry] = deque()
        self._posted_writes: deque[_Entry] = deque()
        self._log_contexts: dict[str, dict[Any, Any]] = {}
        self._thread = 0  # whose contexts these are
        self._contexts: Any = None
        self._log_base: dict[Any, Any] | None = None
        self._ghosts: dict[int, int] = {}
        self._haunted = False  # by ghosts that could not be got rid of, which was said
        self._posts = self._relayed = self._rebuilds = self._deepest = self._slow = 0
        self._earlier = (0, 0, 0)  # waits, events and control calls of epoll instances that were replaced

    def __repr__(self) -> str:
        return f"<EventLoop {len(self.table)} registered, {self.queued} queued>"

    @property
    def queued(self) -> int:
        """Registrations that wait in a queue."""
        return len(self._accepts) + len(self._posted) + len(self._posted_writes)

    def statistics(self) -> LoopStatistics:
        """The counters since the loop was made."""
        epoll = self._epoll
        waits, events, control_calls = self._earlier
        return LoopStatistics(
            waits=waits + epoll.waits,
            events=events + epoll.events,
            stale_events=self.stale_events,
            posted=self._posts,
            relayed=self._relayed,
            accepted=self.accepted,
            control_calls=control_calls + epoll.control_calls,
            registered=len(self.table),
            queued=self.queued,
            deepest_queue=self._deepest,
            slow_handlers=self._slow,
            rebuilds=self._rebuilds,
            rests=self.rests,
            drained=self.drained,
        )

    # registrations

    def add(self, entry: _Entry, fd: int) -> None:
        """
        Register C{entry} for the events of C{fd}: an edge-triggered socket for all of them and for its whole life, a
        level-triggered registration for its C{mask}.

        @raise OSError: the kernel's; C{EPERM} for what epoll cannot watch (a regular file).
        """
        tag = self.table.take(entry)  # type: ignore[arg-type]
        mask = entry.mask if isinstance(entry, LevelRegistration) else _EDGE_EVENTS
        try:
            self._epoll.add(fd, mask, tag)
        except BaseException:
            self.table.give_back(entry)  # type: ignore[arg-type]
            raise
        if self.debug is not None:
            self.debug(f"epoll add event: fd:{fd} op:1 ev:{mask:08X} {entry!r}")

    def modify(self, entry: LevelRegistration) -> None:
        """
        C{entry} wants other events now.

        @raise OSError: the kernel's; one of L{GONE} when its descriptor was closed behind our back.
        """
        self._epoll.modify(entry.fd, entry.mask, entry.tag)
        if self.debug is not None:
            self.debug(f"epoll mod event: fd:{entry.fd} op:3 ev:{entry.mask:08X} {entry!r}")

    def remove(self, entry: LevelRegistration) -> None:
        """C{entry} wants no events. Its descriptor may have been closed before: then the kernel has forgotten it already."""
        try:
            self._epoll.remove(entry.fd)
        except OSError as error:
            if error.errno not in GONE:
                raise
        self.table.give_back(entry)
        if self.debug is not None:
            self.debug(f"epoll del event: fd:{entry.fd} op:2 ev:00000000")

    def forget(self, entry: _Entry) -> None:
        """C{entry}'s descriptor is about to be closed, which removes it from epoll: no system call here."""
        self.table.give_back(entry)  # type: ignore[arg-type]

    def post(self, entry: _Entry) -> None:
        """Run C{entry} in the next turn. A no-op if it is in a queue already."""
        if not entry.posted:
            entry.posted = True
            self._posts += 1
            self._posted.append(entry)

    def post_write(self, entry: Socket) -> None:
        """Run C{entry} at the end of this turn: it has something to send and the socket takes it."""
        if not entry.posted:
            entry.posted = True
            self._posts += 1
            self._posted_writes.append(entry)

    # the turn

    def turn(self, milliseconds: int) -> None:
        """
        One turn; see the top of the file.

        @param milliseconds: how long to wait for events at most, -1 for ever. Not at all if work is posted.
        """
        if self._posted or self._posted_writes or self._accepts or self.late:
            milliseconds = 0
        self.turns += 1
        if self.foreign and not 0 <= milliseconds <= _LOOK_EVERY * 1000:
            milliseconds = ceil(_LOOK_EVERY * 1000)
        events = self._epoll.wait(milliseconds)
        self.now = now = self.seconds()
        if events is None and self.foreign and not 0 <= now - self._looked < _LOOK_EVERY:
            self._looked = now
            self._find_lost()
        relays = self._sort(events) if events is not None else None
        if self._accepts:
            self._drain(self._accepts, len(self._accepts))
        depth = len(self._posted)  # what the relays post runs in the next turn
        if relays:
            self._relayed += len(relays)
            for relay in relays:
                try:
                    relay.run(now)
                except BaseException as error:  # noqa: PERF203  # free since Python 3.11, and the others of the batch must run
                    self._failed(relay.source, error)
        if depth:
            self._drain(self._posted, depth)
        if self._posted_writes:
            self._drain(self._posted_writes, len(self._posted_writes))
        if self.late:
            self._send_late(now)

    def _send_late(self, now: float) -> None:
        late, self.late = self.late, []
        for sender in late:
            try:
                sender.send_late(now)
            except BaseException as error:  # noqa: PERF203  # as for relays
                self._failed(sender.source, error)

    def _sort(self, events: Any) -> list[Any]:
        """Post what has events. Returns the relays whose source has bytes and nothing else to tell."""
        slots: list[Any] = self.table.slots
        relays = []
        if self.debug is not None:
            events = list(events)
            self._tell(events)
        for mask, tag in events:
            entry = slots[tag & SLOT_MASK]
            if entry.tag != tag:
                self._drop(mask, tag)
                continue
            relay = entry.relay
            if relay is not None and not mask & _SPECIAL and not entry.writing:
                if mask != IN:
                    entry.writable = True
                if mask != OUT:
                    relays.append(relay)
                continue
            entry.events |= mask
            if not entry.posted:
                entry.posted = True
                self._posts += 1
                if type(entry) is LevelRegistration and entry.accepts:
                    self._accepts.append(entry)
                else:
                    self._posted.append(entry)
        return relays

    def _tell(self, events: list[tuple[int, int]]) -> None:
        assert self.debug is not None
        for mask, tag in events:
            entry = self.table.slots[tag & SLOT_MASK]
            self.debug(f"epoll: fd:{getattr(entry, 'fd', -1)} ev:{mask:04X} d:{tag:016X} {entry!r}")

    def _drain(self, queue: deque[Any], depth: int) -> None:
        """Run the first C{depth} of C{queue}. A nested turn may have emptied it before us."""
        if self._thread != get_ident():
            self._thread = get_ident()
            self._contexts = context.theContextTracker.currentContext().contexts
        contexts = self._contexts
        base = contexts[-1]
        if base is not self._log_base:
            self._log_base = base
            self._log_contexts.clear()
        log_contexts = self._log_contexts
        slow_handler = self.slow_handler
        if depth > self._deepest:
            self._deepest = depth
        for _ in range(depth):
            if not queue:
                return
            entry = queue.popleft()
            entry.posted = False
            if entry.tag == NO_TAG:
                self.stale_events += 1
                entry.events = 0
                continue
            prefix = entry.log_prefix
            found = log_contexts.get(prefix)
            contexts.append(found if found is not None else self._log_context(prefix, base))
            try:
                if slow_handler:
                    self._run_timed(entry, slow_handler)
                else:
                    entry.run(self)
            except BaseException as error:
                self._failed(entry, error)
            finally:
                contexts.pop()

    def _log_context(self, prefix: str, base: dict[Any, Any]) -> dict[Any, Any]:
        """What C{log.callWithLogger} would push while a selectable runs, made once per log prefix and not once per event."""
        if len(self._log_contexts) >= _LOG_CONTEXTS:
            self._log_contexts.clear()
        made = self._log_contexts[prefix] = {
            **base,
            log.ILogContext: {**context.get(log.ILogContext), "system": prefix},
        }
        return made

    def _run_timed(self, entry: _Entry, slow_handler: float) -> None:
        before = time.monotonic()
        try:
            entry.run(self)
        finally:
            seconds = time.monotonic() - before
            if seconds > slow_handler:
                self._slow += 1
                _log.warn(
                    "a handler took {seconds:.3f} s, in which nobody else had a turn: {entry}",
                    seconds=seconds,
                    entry=entry,
                )

    def _failed(self, entry: Any, error: BaseException) -> None:
        """As in Twisted's own reactors: what a handler raises is logged and ends its connection, nothing else."""
        log.err()
        if entry.tag != NO_TAG:
            self.disconnect(entry.transport, error, False)

    # ghosts

    def _find_lost(self) -> None:
        """
        The kernel forgets a descriptor that is closed, without an event. So whoever was closed behind our back, its number
        perhaps given to another since, is looked for while there is nothing else to do, and told.
        """
        for entry in self.table:
            if isinstance(entry, LevelRegistration) and entry.foreign and entry.lost:
                self.lost(entry)

    def _drop(self, mask: int, tag: int) -> None:
        """
        An event for nobody. An edge comes once, but a level-triggered descriptor that was closed while a duplicate of it
        lives is reported at every wait and can be removed by no call: the kernel knows it only by its closed number.
        """
        self.stale_events += 1
        if self.debug is not None:
            self.debug(f"epoll: stale event ev:{mask:04X} d:{tag:016X}")
        seen = self._ghosts.get(tag, 0) + 1
        if seen >= _GHOST_TURNS:
            self._rebuild()
            return
        if len(self._ghosts) >= _GHOST_TAGS:
            self._ghosts.clear()
        self._ghosts[tag] = seen

    def _rebuild(self) -> None:
        """
        Replace the epoll instance, without the ghosts. If there is no room for another one, the old one stays for now, and with
        it everybody's events.
        """
        self._ghosts.clear()
        lost: list[LevelRegistration] = []
        try:
            fresh = self._another_epoll(lost)
        except OSError as error:
            if not self._haunted:
                self._haunted = True
                _log.warn(
                    "the loop spins: a descriptor that was closed reports events, and no other epoll instance can be made: {why}",
                    why=error.strerror,
                )
            return
        self._haunted = False
        self._rebuilds += 1
        old, self._epoll = self._epoll, fresh
        waits, events, control_calls = self._earlier
        self._earlier = (waits + old.waits, events + old.events, control_calls + old.control_calls)
        old.close()
        for entry in lost:
            self.lost(entry)

    def _another_epoll(self, lost: list[LevelRegistration]) -> Epoll:
        """
        An epoll instance with all registrations.

        @param lost: gets those of foreign ones whose number may be somebody else's now.
        @raise OSError: the kernel has no room for it.
        """
        fresh = Epoll()
        entry: Any
        for entry in self.table:
            level = isinstance(entry, LevelRegistration)
            if level and entry.foreign and entry.lost:
                lost.append(entry)
                continue
            fd, mask = (entry.fd, entry.mask) if level else (entry.transport.fileno(), _EDGE_EVENTS)
            try:
                fresh.add(fd, mask, entry.tag)
            except OSError as error:
                if error.errno not in (*GONE, errno.EEXIST):
                    fresh.close()
                    raise
        return fresh

    def close(self) -> None:
        """Close the epoll instance; a second call does nothing."""
        self._epoll.close()


def edge_sockets(loop: EventLoop) -> list[Any]:
    """The live edge-triggered registrations."""
    entries: list[Registration] = list(loop.table)
    return [entry for entry in entries if not isinstance(entry, LevelRegistration)]
