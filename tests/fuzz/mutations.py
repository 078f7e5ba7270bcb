"""
Mistakes that somebody might make in C{core/}, to prove that the fuzz tests would notice.

Each is a name, a module, and a replacement of text that stands in it exactly once: when the code changes, the mutation has to be
looked at, too.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["MUTATIONS", "mutated_pipe"]

#: name -> (module of core, text, replacement)
MUTATIONS: dict[str, tuple[str, str, str]] = {
    "spill the newest instead of the oldest": (
        "pipe",
        "for segment in self._memory:\n            data = segment.data\n            if len(data) >= room:",
        "for segment in reversed(self._memory):\n            data = segment.data\n            if len(data) >= room:",
    ),
    "send memory before the disk": (
        "pipe",
        "        if writable and self.has_output:\n            return Step.SEND_FILE if self.disk.outstanding else Step.WRITE",
        "        if writable and self.has_output:\n            return Step.WRITE if self._memory else Step.SEND_FILE",
    ),
    "leave the partial buffer out": (
        "pipe",
        "            self._filled == self._pool.size or self.upstream is not Flow.OPEN or (",
        "            self._filled == self._pool.size or (",
    ),
    "hold the partial buffer until it is full": (
        "pipe",
        "self.upstream is not Flow.OPEN or (writable and not reading)",
        "self.upstream is not Flow.OPEN",
    ),
    "one buffer too many": (
        "pipe",
        "self._slabs < self.limits.slabs or (",
        "self._slabs <= self.limits.slabs or (",
    ),
    "spill for a ready client": (
        "pipe",
        "        if writable and self.has_output:\n",
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
    "let a slab go while a slice of it waits": (
        "pipe",
        "                lent.holders += 1\n                return Segment(item, lent)",
        "                return Segment(item)",
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
        "while self._memory_bytes < self.limits.memory and len(self._memory) < MOST_SEGMENTS:",
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
        ", self.piece - self.write_offset % self.piece)",
        ", self.piece)",
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
        "        self.suspension = None\n        self._reply = result\n",
        "        self.suspension = None\n",
    ),
    "end filters out of turn": (
        "chain",
        "elif self.ending if index == 0 else self._stages[index - 1].phase is _Phase.ENDED:",
        "elif self.ending:",
    ),
    "tell filters nothing": (
        "chain",
        "                stage.filter.stopped(reason)\n",
        "                pass\n",
    ),
    "empty output is output": (
        "chain",
        "            if len(item):\n",
        "            if item is not None:\n",
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
