"""What a pipe asks for, and the states of its two sides."""

from __future__ import annotations

import enum

__all__ = ["Flow", "Step"]


class Step(enum.Enum):
    """What to do next. The methods are those of L{twisted_pipe.core.pipe.Pipe}."""

    READ = enum.auto()  #: receive into C{read_view}, then C{did_read} (or C{did_end}, C{did_fail})
    WRITE = enum.auto()  #: send C{batch}, then C{did_write}
    SEND_FILE = enum.auto()  #: send C{file_range}, then C{did_send_file}
    SPILL = enum.auto()  #: write C{spill_batch} at C{disk.write_offset}, then C{did_spill}
    AWAIT = enum.auto()  #: subscribe to C{chain.suspension}
    WAIT = enum.auto()  #: nothing until a socket, a timer or a filter says something
    FINISH = enum.auto()  #: end the downstream cleanly
    ABANDON = enum.auto()  #: end the downstream uncleanly


class Flow(enum.Enum):
    """The state of a side."""

    AWAITED = "awaited"  #: a downstream that is not there yet
    OPEN = "open"
    ENDED = "ended"
    FAILED = "failed"
