"""
What is known of an edge-triggered socket, and who sets and clears it.

The kernel tells a change of state once. So readiness has to be remembered until I/O proves it gone, and it must never be
cleared by anything else: pausing and resuming are flags of the owner, not system calls.

============  ==========================================  =============================================
fact          set by                                      cleared by
============  ==========================================  =============================================
readable      IN, RDHUP, ERR or HUP                       a short read (but see below), EAGAIN, EOF, error
writable      OUT, ERR or HUP; accept; connect            a short write, EAGAIN, error
pending_eof   RDHUP, ERR or HUP                           never: what is behind it is the end
urgent        PRI                                         never: there may be another mark
============  ==========================================  =============================================

ERR and HUP set both sides so that at least one active handler meets the error, in I/O, where its reason is told.

A short read says that nothing is left, unless an EOF is pending, or urgent data (MSG_OOB) has come: a read stops at its mark, and
more may be behind it, of which no edge tells any more. nginx does not look for that.
"""

from __future__ import annotations

from twisted_pipe.core.slots import Registration

__all__ = ["ERR", "ET", "EXCLUSIVE", "HUP", "IN", "OUT", "PRI", "RDHUP", "Readiness"]

# epoll(7), the same on every Linux architecture
IN = 0x001
PRI = 0x002
OUT = 0x004
ERR = 0x008
HUP = 0x010
RDHUP = 0x2000
EXCLUSIVE = 1 << 28
ET = 1 << 31

_READ = IN | RDHUP | ERR | HUP
_WRITE = OUT | ERR | HUP
_ENDING = RDHUP | ERR | HUP


class Readiness(Registration):
    """The readiness of one socket; see the table above."""

    __slots__ = ("pending_eof", "readable", "urgent", "writable")

    def __init__(self) -> None:
        Registration.__init__(self)
        self.readable = False
        self.writable = False
        self.pending_eof = False
        self.urgent = False

    def note(self, events: int) -> None:
        """Take in the events of one wait."""
        if events & _READ:
            self.readable = True
            if events & _ENDING:
                self.pending_eof = True
        if events & PRI:
            self.urgent = True
        if events & _WRITE:
            self.writable = True

    def did_read(self, asked: int, got: int) -> None:
        """C{got} of C{asked} bytes arrived; 0 is the end."""
        if got == 0 or (got < asked and not (self.pending_eof or self.urgent)):
            self.readable = False

    def did_write(self, asked: int, sent: int) -> None:
        """C{sent} of C{asked} bytes were taken."""
        if sent < asked:
            self.writable = False
