"""
Mistakes that somebody might make in C{core/}, and on the fast path, to prove that the fuzz tests would notice.

Each is a name, a module, and a replacement of text that stands in it exactly once: when the code changes, the mutation has to be
looked at, too.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = [
    "FOUND_AT",
    "MUTATIONS",
    "SOCKET_MUTATIONS",
    "copied_modules",
    "mutated_modules",
    "mutated_pipe",
    "real_modules",
]

#: name -> (module of core, text, replacement)
MUTATIONS: dict[str, tuple[str, str, str]] = {
    "spill the newest instead of the oldest": (
        "pipe",
        "for segment in self._memory:\n            data = segment.data\n            if len(data) >= room:",
        "for segment in reversed(self._memory):\n            data = segment.data\n            if len(data) >= room:",
    ),
    "send memory before the disk": (
        "pipe",
        "self.has_output and not to_file:\n            return self._sending",
        "self.has_output and not to_file:\n            return Step.WRITE if self._memory else Step.SEND_FILE",
    ),
    "leave the partial buffer out": (
        "pipe",
        " or self.upstream is not Flow.OPEN or (",
        " or (",
    ),
    "hold the partial buffer until it is full": (
        "pipe",
        " or ((writable or to_file) and not reading)\n",
        "\n",
    ),
    "one buffer too many": (
        "pipe",
        "self._slabs < self.limits.slabs or (",
        "self._slabs <= self.limits.slabs or (",
    ),
    "spill for a ready client": (
        "pipe",
        "        if writable and self.has_output and not to_file:\n",
        "        if writable and self.has_output and not (reading and self._may_spill):\n",
    ),
    "never spill": (
        "pipe",
        "if reading and not writable and self._may_spill:",
        "if reading and not writable and self._may_spill and not self._memory:",
    ),
    "read although a rate limit forbids it": (
        "pipe",
        "reading = readable and self.upstream is Flow.OPEN and not self.delayed",
        "reading = readable and self.upstream is Flow.OPEN",
    ),
    "a broken upstream ends cleanly": (
        "pipe",
        "return Step.FINISH if self.upstream is Flow.ENDED else Step.ABANDON",
        "return Step.FINISH",
    ),
    "drop what was received when the upstream breaks": (
        "pipe",
        "            self.upstream = Flow.FAILED\n            self.error = self.error or error\n",
        "            self.upstream = Flow.FAILED\n            self._break(error)\n",
    ),
    "send the disk before the head": (
        "pipe",
        "return Step.SEND_FILE if self.disk.outstanding and not self._head else",
        "return Step.SEND_FILE if self.disk.outstanding else",
    ),
    "send memory behind the head and before the disk": (
        "pipe",
        "            if self.disk.use.takes_all or self.writing_file or self.disk.outstanding:\n                return parts",
        "            if self.disk.use.takes_all or self.writing_file:\n                return parts",
    ),
    "send memory that is to be stored behind the head": (
        "pipe",
        "            if self.disk.use.takes_all or self.writing_file or self.disk.outstanding:\n                return parts",
        "            if self.writing_file or self.disk.outstanding:\n                return parts",
    ),
    "send memory that a write is reading behind the head": (
        "pipe",
        "            if self.disk.use.takes_all or self.writing_file or self.disk.outstanding:\n                return parts",
        "            if self.disk.use.takes_all or self.disk.outstanding:\n                return parts",
    ),
    "lose what of the head was not taken": (
        "pipe",
        '        self._head = memoryview(self._head)[count:] if count < len(self._head) else b""\n',
        '        self._head = b""\n',
    ),
    "count the head for memory": (
        "pipe",
        "            count -= self._take_head(min(count, len(self._head)))\n",
        "            self._take_head(min(count, len(self._head)))\n",
    ),
    "end before the head is out": (
        "pipe",
        "        return bool(self._memory or self._head) or ",
        "        return bool(self._memory) or ",
    ),
    "weigh a head that is out": (
        "pipe",
        "        self._own_bytes -= count\n        return count\n",
        "        return count\n",
    ),
    "keep the head for a downstream that is gone": (
        "pipe",
        "            self._take_head(len(self._head))\n        else:\n",
        "        else:\n",
    ),
    "forget what of a length has passed by": (
        "pipe",
        "            self.length = left\n",
        "            pass\n",
    ),
    "overlook an end that has passed by": (
        "pipe",
        "        self._receive(rest, 0)\n",
        "        if rest:\n            self._receive(rest, 0)\n",
    ),
    "decode what was decoded": (
        "pipe",
        "self._decode(slab.view[self._filled : self._filled + count])",
        "self._decode(slab.view[self._fed : self._filled + count])",
    ),
    "take the framing for the stream": (
        "pipe",
        "        self._filled += self._decode(slab.view[self._filled : self._filled + count])\n",
        "        self._decode(slab.view[self._filled : self._filled + count])\n        self._filled += count\n",
    ),
    "lose what stands before a fault": (
        "pipe",
        "            return decoder.decoded - before\n",
        "            return 0\n",
    ),
    "overlook a fault": (
        "pipe",
        "            self.did_fail(UpstreamFailed(str(error)))\n            return decoder",
        "            return decoder",
    ),
    "overlook the end of a message": (
        "pipe",
        "        if decoder.finished:\n",
        "        if decoder.finished and decoder.surplus:\n",
    ),
    "an end within the framing passes for a whole message": (
        "pipe",
        "        elif missing is not None:\n",
        "        elif missing is not None and self.length:\n",
    ),
    "lose a buffer whose rest is not worth a read": (
        "pipe",
        "            self._pass_on()\n            self._leave_filling()\n",
        "            self._leave_filling()\n",
    ),
    "decode the first of several buffers": (
        "pipe",
        "        if self.decoder is not None:\n            return views\n",
        "",
    ),
    "keep less than what is behind a message": (
        "pipe",
        "bytes(view[len(view) - decoder.surplus :])",
        "bytes(view[len(view) - decoder.surplus - 1 :])",
    ),
    "keep more than what is behind a length": (
        "pipe",
        '            self.leftover = b"".join(views)[kept:count]\n',
        '            self.leftover = b"".join(views)[kept:]\n',
    ),
    "end before there is a downstream": (
        "pipe",
        " and self._drained and self.downstream is not Flow.AWAITED:",
        " and self._drained:",
    ),
    "deliver what broke off before there was a downstream": (
        "pipe",
        "            if self.downstream is Flow.AWAITED:\n                self._broken = True\n",
        "",
    ),
    "drop what was spilled before there was a downstream": (
        "pipe",
        "        if self.downstream is Flow.FAILED:\n            self.disk.took",
        "        if self.downstream is not Flow.OPEN:\n            self.disk.took",
    ),
    "do not say that it is full": (
        "pipe",
        "            and not (self.has_room or self.disk.room > 0)\n",
        "            and not (self.has_room or self.disk.limit > 0)\n",
    ),
    "let a slab go while a slice of it waits": (
        "pipe",
        "                    slab.holders += 1\n                    memory.append(Segment(item, slab))",
        "                    memory.append(Segment(item))",
    ),
    "let the filling slab go without counting": (
        "pipe",
        "                slab.holders += 1\n                self._put(Segment(",
        "                self._put(Segment(",
    ),
    "reuse the filling slab while slices wait": (
        "pipe",
        "if slab is not None and slab.holders == 1 and self._fed == self._filled and not slab.lent:",
        "if slab is not None and self._fed == self._filled and not slab.lent:",
    ),
    "keep an idle buffer": (
        "pipe",
        "self._fed == self._filled and self._filling.holders == 1:",
        "self._fed < self._filled and self._filling.holders == 1:",
    ),
    "a batch ignores busy_size": (
        "pipe",
        "                if weight > room:\n",
        "                if weight > room + self._pool.size:\n",
    ),
    "pass surplus bytes on": (
        "pipe",
        "        kept = min(count, self.length)\n",
        "        kept = count\n",
    ),
    "a short stream passes for a whole one": (
        "pipe",
        "        if self.length:\n            self.did_fail(",
        "        if self.length and not self.length:\n            self.did_fail(",
    ),
    "pull filters without bound": (
        "pipe",
        "while self._memory_bytes < most and len(memory) < MOST_SEGMENTS:",
        "while True:",
    ),
    "end the filters before their input is passed on": (
        "pipe",
        "if self.upstream is Flow.ENDED and self._fed == self._filled:",
        "if self.upstream is not Flow.OPEN:",
    ),
    "await again and again": (
        "pipe",
        "self.chain.suspension is not None and not self.waits_for_filter:",
        "self.chain.suspension is not None:",
    ),
    "count what a segment weighs only once it is whole": (
        "pipe",
        "        self._memory_bytes -= count\n        memory = self._memory",
        "        memory = self._memory",
    ),
    "keep memory after the end": (
        "pipe",
        "        while self._memory:\n            self._release(self._memory.popleft())\n        self._memory_bytes = 0",
        "        self._memory_bytes = 0",
    ),
    "read at once into more buffers than there may be": (
        "pipe",
        "while len(ahead) < _READ_AHEAD and self._slabs < self.limits.slabs:",
        "while len(ahead) < _READ_AHEAD:",
    ),
    "keep buffers that a read was lent and did not fill": (
        "pipe",
        "        self._take_back()\n        if self._filling is not None and",
        "        if self._filling is not None and",
    ),
    "lose buffers that a read was lent": (
        "pipe",
        "        self._take_back()\n        self._leave_filling()\n",
        "        self._leave_filling()\n",
    ),
    "count all that was read at once to the first buffer": (
        "pipe",
        "            part = min(count, self._pool.size - self._filled)\n",
        "            part = count\n",
    ),
    "do not pass on the first of what was read at once": (
        "pipe",
        "                self._pass_on()  # it is full\n",
        "                self._filled = self._fed = 0\n",
    ),
    "let buffers go that were read into": (
        "pipe",
        "            if count:\n                self._pass_on()",
        "            if count > 1:\n                self._pass_on()",
    ),
    "take back less than went past and was not taken": (
        "pipe",
        "            remaining = remaining[len(part) :]\n",
        "            remaining = remaining[len(part) + 1 :]\n",
    ),
    "do not pass on what went past and was not taken": (
        "pipe",
        "            if self._filled == self._pool.size:\n                self._pass_on()\n",
        "            if self._filled == self._pool.size:\n                self._leave_filling()\n",
    ),
    "read while a write is under way": (
        "pipe",
        "        if self.writing_file:\n            return",
        "        if self.writing_file and not (readable and self.has_room):\n            return",
    ),
    "a read timeout while a write is under way": (
        "pipe",
        " or self.writing_file or self._broken)",
        " or self._broken)",
    ),
    "use memory again that a write is reading": (
        "pipe",
        "                    segment.slab.lent = True\n",
        "                    pass\n",
    ),
    "store nothing": (
        "pipe",
        "        if to_file:\n            step = ",
        "        if to_file and not writable:\n            step = ",
    ),
    "stop storing when the client is gone": (
        "pipe",
        "        if self.disk.use.takes_all and error.side is Side.DOWNSTREAM and ",
        "        if not self.disk.use.takes_all and error.side is Side.DOWNSTREAM and ",
    ),
    "give the file away under a write": (
        "pipe",
        "            and not (self._memory or self.writing_file)\n            and self._fed",
        "            and self._fed",
    ),
    "give the file away while the filters are at it": (
        "pipe",
        "            and self._fed == self._filled\n            and (self.chain is None or self.chain.finished)\n",
        "            and self._fed == self._filled\n",
    ),
    "store more than the file may hold for its owner": (
        "disk",
        "UNLIMITED if use is FileUse.STORE else limit\n",
        "UNLIMITED if use.takes_all else limit\n",
    ),
    "wait for a downstream though the file is taken": (
        "pipe",
        "        self.disk.took(self.disk.outstanding)\n        self._take_head(len(self._head))\n\n    def did_read",
        "        self._take_head(len(self._head))\n\n    def did_read",
    ),
    "a kept file begins anew": (
        "disk",
        " and not self.use.keeps and self.reserved is None:\n",
        " and self.reserved is None:\n",
    ),
    "the file begins anew under a write": (
        "disk",
        " and not self.use.keeps and self.reserved is None:\n",
        " and not self.use.keeps:\n",
    ),
    "spill more than all pipes may": (
        "disk",
        ", self.quota.room)",
        ")",
    ),
    "the quota does not know what was spilled": (
        "disk",
        "        self.write_offset += count\n        self.quota.used += count\n",
        "        self.write_offset += count\n",
    ),
    "the quota does not know what was sent": (
        "disk",
        "        self.quota.used -= before - self._occupied\n",
        "",
    ),
    "the file ends where it was read": (
        "disk",
        "        self.write_offset += count\n",
        "        self.write_offset = self.read_offset + count\n",
    ),
    "the file forgets where it starts": (
        "disk",
        "        self.read_offset += count\n",
        "        self.write_offset -= count\n",
    ),
    "the file grows without bound": (
        "disk",
        "        return min(self.limit - self.outstanding, ",
        "        return min(self.limit, ",
    ),
    "a write crosses two files": (
        "disk",
        ", self.piece - self.write_offset % self.piece, ",
        ", self.piece, ",
    ),
    "a read crosses two files": (
        "disk",
        ", self.piece - self.read_offset % self.piece)",
        ", self.piece)",
    ),
    "the file is never new": (
        "disk",
        "            self.read_offset = self.write_offset = 0\n",
        "            pass\n",
    ),
    "release the input while it is filtered": (
        "chain",
        "            self._input = segment = self.raw.popleft()\n",
        "            self._input = segment = self.raw.popleft()\n            self._release(Segment(b'', segment.slab))\n",
    ),
    "forget the reply": (
        "chain",
        "            self._told, self._reply = True, result\n",
        "            pass\n",
    ),
    "end filters out of turn": (
        "chain",
        "elif self.ending if index == 0 else self._stages[index - 1].phase is _Phase.ENDED:",
        "elif self.ending:",
    ),
    "tell filters nothing": (
        "chain",
        "            stage.filter.stopped(reason)\n",
        "            pass\n",
    ),
    "empty output is output": (
        "chain",
        "                if len(item):\n",
        "                if item is not None:\n",
    ),
}


def mutated_pipe(name: str) -> tuple[Any, Any]:
    """C{Pipe} and C{Step} of a core with the mutation C{name}."""
    where, text, replacement = MUTATIONS[name]
    modules: dict[str, ModuleType] = {}
    try:
        for part in ("buffers", "disk", "chain", "pipe"):
            full = f"twisted_pipe.core.{part}"
            original = import_module(full)
            if part == where or part == "pipe":
                source = inspect.getsource(original)
                if part == where:
                    if source.count(text) != 1:
                        raise AssertionError(f"mutation {name!r}: its text stands {source.count(text)} times in {full}")
                    source = source.replace(text, replacement)
                module = ModuleType(full)
                exec(compile(source, f"<{full}: {name}>", "exec"), module.__dict__)
                modules[full] = original
                sys.modules[full] = module
        mutant = sys.modules["twisted_pipe.core.pipe"]
        return mutant.Pipe, mutant.Step
    finally:
        sys.modules.update(modules)


#: What a life on sockets works with, in the order of their imports: each knows those before it.
_SOCKET_MODULES = {
    "splice": "twisted_pipe.net.splice",
    "relay": "twisted_pipe.net.relay",
    "fastpath": "twisted_pipe.net.fastpath",
    "driver": "twisted_pipe.net.driver",
    "context": "twisted_pipe.proxies.context",
    "tunnel": "twisted_pipe.proxies.tunnel",
    "tcp_session": "twisted_pipe.proxies.tcp_session",
    "tcp": "twisted_pipe.proxies.tcp",
}

#: The same for what only a life on sockets can notice: name -> (one of these modules, text, replacement).
SOCKET_MUTATIONS: dict[str, tuple[str, str, str]] = {
    "go on although the sink takes less": (
        "relay",
        "        if sent < got:\n            self._block(data[sent:])\n        elif got == self._size:",
        "        if got == self._size:",
    ),
    "go on although the sink takes less, in the loop": (
        "relay",
        "        if sent < got:\n            self._block(data[sent:])\n        elif self.moved ==",
        "        if self.moved ==",
    ),
    "keep what was sent": (
        "relay",
        "            self._block(data[sent:])\n        elif self.moved ==",
        "            self._block(data)\n        elif self.moved ==",
    ),
    "drop what a kernel pipe holds when the sink takes less": (
        "relay",
        "            self._failed_to_send(error, pipe)\n",
        "            self._failed_to_send(error, b'')\n",
    ),
    "do not read a kernel pipe back": (
        "relay",
        "        content = rest.read_back()\n",
        "        content = b''\n",
    ),
    "give the owner nothing back": (
        "relay",
        "self._owner.relay_blocked(self, self.stop())",
        "self._owner.relay_blocked(self, self.stop()[:0])",
    ),
    "do not count what one read moved": (
        "relay",
        "        self.moved += sent\n        self.last_progress = now\n",
        "        self.last_progress = now\n",
    ),
    "do not count what the loop moved": (
        "relay",
        "        self.moved += sent\n        if sent < got:\n            self._block(data[sent:])\n        elif self.moved ==",
        "        if sent < got:\n            self._block(data[sent:])\n        elif self.moved ==",
    ),
    "do not count what was spliced": (
        "relay",
        "                self.moved += pipe.empty(",
        "                pipe.empty(",
    ),
    "do not count what the sink took later": (
        "relay",
        "                self.moved += sent\n                self._rest = rest",
        "                self._rest = rest",
    ),
    "do not count what the sink took later of a kernel pipe": (
        "relay",
        "                    self.moved += rest.empty(",
        "                    rest.empty(",
    ),
    "send again what the sink took later": (
        "relay",
        "                self._rest = rest = rest[sent:]\n",
        "                rest = rest[sent:]\n",
    ),
    "rest for ever once the sink was full": (
        "relay",
        "        self.arm()\n        if self.source.readable:\n",
        "        if self.source.readable:\n",
    ),
    "leave what came while the sink was full": (
        "relay",
        "        self.arm()\n        if self.source.readable:\n",
        "        self.arm()\n        if not self.source.readable:\n",
    ),
    "forget that bulk is there": (
        "relay",
        "            source.readable = True\n            if source.relay is self:\n",
        "            if source.relay is self:\n",
    ),
    "take a full read for all there is": (
        "relay",
        "        if got == self._size:\n            source.readable = True\n        elif not got:",
        "        if not got:",
    ),
    "do not come back when the budget is used up": (
        "relay",
        "        if source.readable and source.relay is self:\n            self._loop.post(source)\n",
        "",
    ),
    "overlook the end": (
        "relay",
        "        if not got:\n            self._end(source.failed)\n            return False\n",
        "",
    ),
    "overlook the end when splicing": (
        "relay",
        "        if not pipe.held:\n            pipes.give_back(pipe)\n            self._pass(self._size)",
        "        if not pipe.held:\n            pipes.give_back(pipe)\n            source.readable = False",
    ),
    "take a failure for the end": (
        "relay",
        "        self._owner.relay_ended(self, error)\n",
        "        self._owner.relay_ended(self, None)\n",
    ),
    "splice more than the buffers hold": (
        "relay",
        "min(self._most, pipe.size)",
        "pipe.size",
    ),
    "read more than the buffers hold": (
        "relay",
        "        self._size = min(most, _SMALL)\n",
        "        self._size = _SMALL\n",
    ),
    "go on after it was stopped": (
        "relay",
        "        if self.source.relay is self:\n            self.source.relay = None\n",
        "",
    ),
    "do nothing with much, nor with the end": (
        "relay",
        "        elif self.source.relay is self:\n            self.drain(self._loop.now)\n",
        "",
    ),
    "keep the kernel pipe": (
        "relay",
        "            raise\n        pipes.give_back(pipe)\n",
        "            raise\n",
    ),
    "empty a kernel pipe without counting": (
        "splice",
        "        self.held -= sent\n",
        "",
    ),
    "hold less than was received": (
        "splice",
        "        self.held = got\n",
        "        self.held = max(got - 1, 0)\n",
    ),
    "lose what a relay gives back": (
        "fastpath",
        "        self._pipe.passed_by(rest, relay.left)\n",
        "        self._pipe.passed_by(b'', relay.left)\n",
    ),
    "forget what is left of a length on the way back": (
        "fastpath",
        "        self._pipe.passed_by(rest, relay.left)\n",
        "        self._pipe.passed_by(rest)\n",
    ),
    "take the fast path again with the length of the first time": (
        "fastpath",
        "            relay.left = self._pipe.length\n",
        "            pass\n",
    ),
    "take the fast path without a length": (
        "fastpath",
        "self, most, self._now, self._pipe.length)",
        "self, most, self._now)",
    ),
    "take the fast path where the framing is to be taken away": (
        "driver",
        "        plain = self._pipe.chain is None and self._pipe.decoder is None and ",
        "        plain = self._pipe.chain is None and ",
    ),
    "do not say that a downstream is wanted": (
        "driver",
        "        if step is Step.WAIT and pipe.waits_for_downstream and ",
        "        if step is Step.WAIT and pipe.full and ",
    ),
    "do not say that it can take no more without a downstream": (
        "driver",
        "        if step is Step.WAIT and pipe.waits_for_downstream and ",
        "        if step is Step.WAIT and pipe.upstream is Flow.ENDED and ",
    ),
    "read beyond a length": (
        "relay",
        "            size = self._within(size)\n",
        "            size = min(self._most, size)\n",
    ),
    "splice beyond a length": (
        "relay",
        "self._within(min(self._most, pipe.size))",
        "min(self._most, pipe.size)",
    ),
    "read beyond a length when an event tells of bytes": (
        "relay",
        " or source.relay is not self or self._until is not None:\n",
        " or source.relay is not self:\n",
    ),
    "overlook the last byte of a length": (
        "relay",
        "        elif self.moved == self._until:\n            self._complete()\n        return",
        "        return",
    ),
    "overlook the last byte of a length when splicing": (
        "relay",
        "        pipes.give_back(pipe)\n        if self.moved == self._until:\n            self._complete()\n",
        "        pipes.give_back(pipe)\n",
    ),
    "count only what the pipe delivered": (
        "driver",
        "        return self._pipe.bytes_out + self._relayed\n",
        "        return self._pipe.bytes_out\n",
    ),
    "arm a relay and leave what is there": (
        "fastpath",
        "        if self._source.readable:\n            self._source",
        "        if not self._source.readable:\n            self._source",
    ),
    "forget what the relay moved before the pipe": (
        "tunnel",
        "        way.passed += relay.moved\n",
        "",
    ),
    "lose what the relay gives back to the session": (
        "tunnel",
        "relay.sink.transport, (), rest)",
        "relay.sink.transport, (), b'')",
    ),
    "leave what the client sent while the upstream was connecting": (
        "tunnel",
        "            elif relay.source.readable:\n",
        "            elif not relay.source.readable:\n",
    ),
}


def real_modules() -> dict[str, ModuleType]:
    """The modules that L{tests.fuzz.streams} works with, as they are."""
    return {name: import_module(full) for name, full in _SOCKET_MODULES.items()}


def mutated_modules(name: str) -> dict[str, ModuleType]:
    """These modules, made anew with the mutation C{name}."""
    return _remade(name, *SOCKET_MUTATIONS[name])


def copied_modules() -> dict[str, ModuleType]:
    """These modules made anew, as they are."""
    return _remade("none", "splice", "import os\n", "import os\n")


def _remade(name: str, where: str, text: str, replacement: str) -> dict[str, ModuleType]:
    found = real_modules()
    saved = {full: sys.modules[full] for full in _SOCKET_MODULES.values()}
    try:
        # all of them: what a mutation spoils, such as the process's kernel pipes, must be nobody else's
        for part, full in _SOCKET_MODULES.items():
            source = inspect.getsource(found[part])
            if part == where:
                if source.count(text) != 1:
                    raise AssertionError(f"mutation {name!r}: its text stands {source.count(text)} times in {full}")
                source = source.replace(text, replacement)
            found[part] = sys.modules[full] = ModuleType(full)
            exec(compile(source, f"<{full}: {name}>", "exec"), found[part].__dict__)
        return found
    finally:
        sys.modules.update(saved)


#: Seeds at which a mutation was found that takes long to find: they are tried first.
FOUND_AT: dict[str, int] = {
    "forget what of a length has passed by": 1168,
    "keep the head for a downstream that is gone": 672,
    "lose what stands before a fault": 163,
    "overlook a fault": 163,
    "overlook an end that has passed by": 825,
    "send memory that a write is reading behind the head": 2836,
    "send memory that is to be stored behind the head": 449,
    "take a failure for the end": 157,
    "take back less than went past and was not taken": 160,
    "use memory again that a write is reading": 526,
}
