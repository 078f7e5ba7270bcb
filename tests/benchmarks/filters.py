"""
What filters cost: C{python tests/benchmarks/filters.py [--strict] [CASE...]}.

CPU time of this process, without sockets, beside the same work done without the pipe; in turns, medians of the rounds. The data
is text, the standard library's own sources, in chunks of 32 KiB, a pipe's default. C{--strict} exits with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import sysconfig
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from twisted_pipe.core.buffers import Segment, SlabPool
from twisted_pipe.core.chain import FilterChain
from twisted_pipe.core.pipe import Pipe, Step
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import find_filter, parse_filter_spec
from twisted_pipe.interfaces import FilterContext, IPipeFilterFactory, NamedFilter
from twisted_pipe.limits import DEFAULT_LIMITS
from twisted_pipe.testing import FilterHarness

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROUNDS = 7
CHUNK = DEFAULT_LIMITS.buffer_size
MIB = 1 << 20
TEXT_BYTES = 4 * MIB
PIPE_CHUNKS = 20_000
SEARCH_CHUNKS = 4_000
BROTLI = 5
NEEDLE = "needle-that-is-not-there"

#: What does one peer's work once, for its CPU time to be taken.
Work = Callable[[], object]


@attrs.frozen(kw_only=True)
class Case:
    """
    @ivar title: what is compared, for people.
    @ivar unit: of the figure.
    @ivar prepare: makes the filter's work and the peer's; raises C{BadConfiguration} if there is no such filter.
    @ivar figure: of the CPU seconds of both.
    @ivar bar: what the figure is to keep to, None for nothing.
    @ivar at_least: whether the bar is the least it may be, not the most.
    """

    title: str
    unit: str
    prepare: Callable[[], tuple[Work, Work]]
    figure: Callable[[float, float], float]
    bar: float | None = None
    at_least: bool = False

    def is_met(self, figure: float) -> bool:
        if self.bar is None:
            return True
        return figure >= self.bar if self.at_least else figure <= self.bar

    def verdict(self, figure: float) -> str:
        """Bar, and met or not."""
        if self.bar is None:
            return "-"
        return f"{'>=' if self.at_least else '<='} {self.bar:g}  {'met' if self.is_met(figure) else 'NOT met'}"


def text() -> bytes:
    """Sources of the standard library."""
    found = b"".join(path.read_bytes() for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")))
    return (found * (TEXT_BYTES // len(found) + 1))[:TEXT_BYTES]


def chunks_of(data: bytes) -> list[memoryview]:
    view = memoryview(data)
    return [view[start : start + CHUNK] for start in range(0, len(data), CHUNK)]


def through_chain(factory: IPipeFilterFactory, chunks: list[memoryview]) -> int:
    """All of a stream through one filter; the bytes that came out."""
    chain = FilterChain([NamedFilter(factory.name, factory.build(FilterContext()))], lambda used: None)
    count = 0
    for chunk in [*chunks, None]:
        if chunk is None:
            chain.ending = True
        else:
            chain.raw.append(Segment(chunk))
        while not (chain.finished if chain.ending else chain.idle):
            piece = chain.pull()
            if piece is not None:
                count += len(piece)
            elif chain.suspension is not None:
                chain.resume(None)  # after a pause
    return count


def through_pipe(*factories: IPipeFilterFactory) -> None:
    """Full buffers through a whole pipe, between sockets that are always ready and copy nothing."""
    filters = [NamedFilter(each.name, each.build(FilterContext())) for each in factories]
    pipe = Pipe(DEFAULT_LIMITS, SlabPool(CHUNK), filters)
    while pipe.bytes_out < PIPE_CHUNKS * CHUNK:
        step = pipe.next_step(True, True)
        if step is Step.READ:
            pipe.did_read(len(pipe.read_view()))
        elif step is Step.WRITE:
            pipe.did_write(sum(map(len, pipe.batch())))
        else:
            pipe.filter_resumed(None)  # after a pause


def compress_plainly(compress: Any, flush: Callable[[], bytes] | None, finish: Any, chunks: list[memoryview]) -> int:
    """What the filter does, without it."""
    count = 0
    for chunk in chunks:
        count += len(compress(chunk))
        if flush is not None:
            count += len(flush())
    return count + len(finish())


def gzip_plainly(chunks: list[memoryview], flushed: bool) -> int:
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    flush = partial(stream.flush, zlib.Z_SYNC_FLUSH) if flushed else None
    return compress_plainly(stream.compress, flush, stream.flush, chunks)


def zstd_plainly(chunks: list[memoryview]) -> int:
    parameter = zstd.CompressionParameter
    stream = zstd.ZstdCompressor(options={parameter.compression_level: 3, parameter.checksum_flag: 1})
    return compress_plainly(stream.compress, partial(stream.flush, stream.FLUSH_BLOCK), stream.flush, chunks)


def decompress_plainly(stream: Any, chunks: list[memoryview]) -> int:
    """All that is in each chunk in one piece, however large."""
    return sum(len(stream.decompress(chunk)) for chunk in chunks)


def empty_filter() -> tuple[Work, Work]:
    return partial(through_pipe, parse_filter_spec("pass")), through_pipe


def gzip(flush: str) -> tuple[Work, Work]:
    chunks = chunks_of(text())
    ours = partial(through_chain, parse_filter_spec(f"gzip:flush={flush}"), chunks)
    return ours, partial(gzip_plainly, chunks, flush == "on")


def gzip_flushing() -> tuple[Work, Work]:
    return gzip("on")[0], gzip("off")[0]


def gunzip() -> tuple[Work, Work]:
    chunks = chunks_of(zlib.compress(text(), 6, 31))
    ours = partial(through_chain, parse_filter_spec("gunzip"), chunks)
    return ours, lambda: decompress_plainly(zlib.decompressobj(31), chunks)


def zstd_compress() -> tuple[Work, Work]:
    chunks = chunks_of(text())
    return partial(through_chain, parse_filter_spec("zstd"), chunks), partial(zstd_plainly, chunks)


def zstd_decompress() -> tuple[Work, Work]:
    chunks = chunks_of(zstd.compress(text(), 3))
    ours = partial(through_chain, parse_filter_spec("unzstd"), chunks)
    return ours, lambda: decompress_plainly(zstd.ZstdDecompressor(), chunks)


def substitute() -> tuple[Work, Work]:
    chunks = (chunks_of(text()) * (SEARCH_CHUNKS * CHUNK // TEXT_BYTES + 1))[:SEARCH_CHUNKS]
    factory = find_filter("substitute").configure({"find": NEEDLE, "replace": "x"})
    return partial(through_chain, factory, chunks), partial(through_chain, parse_filter_spec("pass"), chunks)


def throughput(spec: str, encoded: Callable[[bytes], bytes] = bytes) -> tuple[Work, Work]:
    """
    A filter on its own, beside C{pass}.

    @param encoded: what it is given of the text.
    """
    chunks = chunks_of(encoded(text()))
    return partial(through_chain, parse_filter_spec(spec), chunks), partial(
        through_chain, parse_filter_spec("pass"), chunks
    )


def chunked(data: bytes) -> bytes:
    """In HTTP/1.1 chunks of 4 KiB."""
    pieces = (data[at : at + 4096] for at in range(0, len(data), 4096))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def brotli(data: bytes) -> bytes:
    return FilterHarness(f"brotli:quality={BROTLI}").run(data)


#: Each filter that has no case of its own: what it is told, and what it is given.
OTHERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "upper": ("upper", bytes),
    "replace": ("replace-bytes:find=ab:replace=xy", bytes),
    "count": ("count", bytes),
    "digest": ("digest", bytes),
    "tee": ("tee:path=/dev/null", bytes),
    "hexdump": ("hexdump:bytes=1:total=1", bytes),
    "encode": ("chunked-encode", bytes),
    "decode": ("chunked-decode", chunked),
    "brotli": (f"brotli:quality={BROTLI}", bytes),
    "unbrotli": ("unbrotli", brotli),
}


def ratio(ours: float, theirs: float) -> float:
    return ours / theirs


CASES: dict[str, Case] = {
    "pass": Case(
        title="an empty Python filter in a pipe, beside the pipe without it",
        unit="us a chunk more",
        prepare=empty_filter,
        figure=lambda ours, theirs: (ours - theirs) / PIPE_CHUNKS * 1e6,
        bar=3,
    ),
    "gzip": Case(
        title="gzip level 6, beside zlib.compressobj flushed as often",
        unit="x",
        prepare=partial(gzip, "on"),
        figure=ratio,
        bar=1.05,
    ),
    "gzip-held": Case(
        title="gzip level 6 flush=off, beside zlib.compressobj",
        unit="x",
        prepare=partial(gzip, "off"),
        figure=ratio,
        bar=1.05,
    ),
    "flush": Case(
        title="gzip level 6, beside gzip with flush=off",
        unit="x",
        prepare=gzip_flushing,
        figure=ratio,
    ),
    "gunzip": Case(
        title="gunzip, beside zlib.decompressobj without a bound",
        unit="x",
        prepare=gunzip,
        figure=ratio,
    ),
    "zstd": Case(
        title="zstd level 3, beside ZstdCompressor flushed as often",
        unit="x",
        prepare=zstd_compress,
        figure=ratio,
    ),
    "unzstd": Case(
        title="unzstd, beside ZstdDecompressor without a bound",
        unit="x",
        prepare=zstd_decompress,
        figure=ratio,
    ),
    "substitute": Case(
        title="substitute, text of which nothing matches",
        unit="MB/s",
        prepare=substitute,
        figure=lambda ours, theirs: SEARCH_CHUNKS * CHUNK / ours / 1e6,
        bar=500,
        at_least=True,
    ),
    **{
        name: Case(
            title=f"{spec}, by itself",
            unit="MB/s",
            prepare=partial(throughput, spec, encoded),
            figure=lambda ours, theirs: TEXT_BYTES / ours / 1e6,
        )
        for name, (spec, encoded) in OTHERS.items()
    },
}


def seconds(work: Work) -> float:
    """CPU time."""
    before = time.process_time()
    work()
    return time.process_time() - before


def measure(case: Case, rounds: int) -> list[float]:
    """The figure of each round, in which both do their work one after the other, the other one first each time."""
    ours, theirs = case.prepare()
    ours(), theirs()  # warm up
    found = []
    for number in range(rounds):
        if number % 2:
            second = seconds(theirs)
            found.append(case.figure(seconds(ours), second))
        else:
            first = seconds(ours)
            found.append(case.figure(first, seconds(theirs)))
    return found


def rows(names: list[str], rounds: int, missed: list[str]) -> Iterator[str]:
    """A line for each case; the names of those whose bar is missed are put into C{missed}."""
    for name in names:
        case = CASES[name]
        try:
            figures = measure(case, rounds)
        except BadConfiguration as error:
            yield f"{name:11}  skipped: {error}"
            continue
        figure = statistics.median(figures)
        if not case.is_met(figure):
            missed.append(name)
        value = f"{figure:.4g} {case.unit}"
        spread = f"{min(figures):.4g} to {max(figures):.4g}"
        yield f"{name:11}  {value:21}  {spread:16}  {case.verdict(figure):15}  {case.title}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default %(default)s, of which the median counts")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a bar is missed")
    options = parser.parse_args()
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    missed: list[str] = []
    print(f"{'case':11}  {'figure':21}  {'rounds':16}  {'bar':15}  what")
    for row in rows(options.cases or list(CASES), options.rounds, missed):
        print(row, flush=True)
    return 1 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
