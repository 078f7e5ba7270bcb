"""A copy of what flows, in a file."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import time
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import LogEvent, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import MemoryTransport, PipeCase, errors_of, os_error
from twisted_pipe.errors import BadConfiguration, FilterFailed, UpstreamFailed
from twisted_pipe.filters import tee as module
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.filters.tee import Tee
from twisted_pipe.interfaces import Direction, FilterContext
from twisted_pipe.testing import FilterHarness, check_filter


class TeeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "copy"
        self.patch(module, "_numbers", itertools.count(1))

    def tee(self, name: str = "copy", context: FilterContext | None = None, **options: Any) -> FilterHarness:
        return FilterHarness(
            lambda context: Tee(context, path=str(self.folder / name), **options), context=context or FilterContext()
        )

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


class CopyTests(TeeCase):
    def test_everything_is_copied(self) -> None:
        data = bytes(range(256)) * 1000
        harness = self.tee()
        self.assertEqual(harness.run(data[:100], data[100:]), data)
        self.assertEqual(self.files(), {"copy": data})

    def test_what_is_there_is_kept(self) -> None:
        self.path.write_bytes(b"old ")
        self.tee().run(b"new")
        self.assertEqual(self.files(), {"copy": b"old new"})

    def test_for_its_owner_alone(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.tee().run(b"x")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_no_byte_no_file(self) -> None:
        self.assertEqual(self.tee().run(), b"")
        self.assertEqual(self.files(), {})

    def test_collected_up_to_a_bound(self) -> None:
        harness = self.tee(buffer=10)
        harness.feed(b"12345").feed(b"6789")
        self.assertEqual(self.files(), {})
        harness.feed(b"abc")
        self.assertEqual(self.files(), {"copy": b"123456789abc"})
        harness.feed(b"x").end()
        self.assertEqual(self.files(), {"copy": b"123456789abcx"})
        harness.stop()

    def test_at_once(self) -> None:
        self.tee(buffer=0).feed(b"x")
        self.assertEqual(self.files(), {"copy": b"x"})

    def test_default_bound(self) -> None:
        harness = self.tee()
        harness.feed(bytes(65535))
        self.assertEqual(self.files(), {})
        harness.feed(b"x")
        self.assertEqual(len(self.path.read_bytes()), 65536)

    def test_what_broke_off(self) -> None:
        self.tee().feed(b"half").stop(UpstreamFailed("reset"))
        self.assertEqual(self.files(), {"copy": b"half"})

    def test_file_that_was_moved_away(self) -> None:
        harness = self.tee(buffer=0)
        harness.feed(b"first")
        self.path.rename(self.folder / "moved")
        harness.feed(b"second").end()
        self.assertEqual(self.files(), {"copy": b"second", "moved": b"first"})

    def test_laws(self) -> None:
        data = b"some data\n" * 1000
        for options in ({}, {"buffer": "0"}, {"max_size": "1k"}):
            plugin = find_filter("tee").configure({"path": str(self.path), **options})
            check_filter(plugin, [(data[:200], data[:200]), (b"", b"")])

    def test_hands_on_what_it_was_lent(self) -> None:
        tee = Tee(FilterContext(), path=str(self.path))
        lent = memoryview(b"abc")
        [out] = tee.received(lent)
        self.assertIs(out, lent)

    def test_no_descriptor_is_left(self) -> None:
        before = os.listdir("/proc/self/fd")
        harness = self.tee(buffer=0, max_size=10)
        for _ in range(10):
            harness.feed(b"12345678")
        self.assertEqual(os.listdir("/proc/self/fd"), before)


class SharedTests(TeeCase):
    def test_chunks_stay_whole(self) -> None:
        """Two connections, one file: each write is of whole chunks."""
        one, two = self.tee(buffer=20), self.tee(buffer=20)
        for number in range(100):
            one.feed(b"<one %d>" % number)
            two.feed(b"<two %d>" % number)
        one.end()
        two.end()
        chunks = self.path.read_bytes().replace(b"><", b">|<").split(b"|")
        self.assertEqual([each for each in chunks if b"one" in each], [b"<one %d>" % number for number in range(100)])
        self.assertEqual([each for each in chunks if b"two" in each], [b"<two %d>" % number for number in range(100)])

    def test_one_write_at_the_end_of_the_file(self) -> None:
        writes: list[int] = []
        flags: list[int] = []
        really_open, really_write = os.open, os.write

        def record_open(path: str, flag: int, *mode: int) -> int:
            flags.append(flag)
            return really_open(path, flag, *mode)

        def record_write(fd: int, data: Any) -> int:
            writes.append(len(data))
            return really_write(fd, data)

        self.patch(os, "open", record_open)
        self.patch(os, "write", record_write)
        self.tee(buffer=100).run(b"x" * 60, b"y" * 60)
        self.assertEqual(writes, [120])
        self.assertTrue(flags[0] & os.O_APPEND)

    def test_rotated_by_another_connection(self) -> None:
        one, two = self.tee(buffer=0, max_size=8), self.tee(buffer=0, max_size=8)
        one.feed(b"aaaa")
        two.feed(b"bbbbb")
        one.feed(b"ccc")
        self.assertEqual(self.files(), {"copy": b"bbbbbccc", "copy.1": b"aaaa"})


class RotationTests(TeeCase):
    def test_renamed_before_it_is_too_large(self) -> None:
        harness = self.tee(buffer=0, max_size=10, keep=2)
        for chunk in (b"11111", b"22222", b"3", b"4444444444", b"5"):
            harness.feed(chunk)
        self.assertEqual(self.files(), {"copy": b"5", "copy.1": b"4444444444", "copy.2": b"3"})

    def test_how_many_are_kept(self) -> None:
        for keep, names in [(0, ["copy"]), (1, ["copy", "copy.1"]), (3, ["copy", "copy.1", "copy.2", "copy.3"])]:
            for path in self.folder.iterdir():
                path.unlink()
            harness = self.tee(buffer=0, max_size=4, keep=keep)
            for number in range(9):
                harness.feed(b"%04d" % number)
            files = self.files()
            self.assertEqual(list(files), names)
            self.assertEqual(list(files.values()), [b"%04d" % (8 - age) for age in range(keep + 1)])

    def test_chunks_are_not_cut(self) -> None:
        """So that a file is larger only if a chunk is."""
        harness = self.tee(max_size=10)
        harness.run(b"123456", b"7890ab", b"x" * 25, b"y")
        self.assertEqual(self.files(), {"copy": b"y", "copy.1": b"x" * 25, "copy.2": b"7890ab", "copy.3": b"123456"})

    def test_an_empty_file_is_not_renamed(self) -> None:
        self.tee(max_size=10).run(b"x" * 25)
        self.assertEqual(self.files(), {"copy": b"x" * 25})

    def test_what_is_there_counts(self) -> None:
        self.path.write_bytes(b"12345678")
        self.tee(max_size=10).run(b"abc")
        self.assertEqual(self.files(), {"copy": b"abc", "copy.1": b"12345678"})

    def test_a_missing_number(self) -> None:
        (self.folder / "copy.2").write_bytes(b"two")
        self.tee(buffer=0, max_size=1, keep=3).run(b"a", b"b")
        self.assertEqual(self.files(), {"copy": b"b", "copy.1": b"a", "copy.3": b"two"})

    def test_default(self) -> None:
        harness = self.tee(buffer=0, max_size=1)
        harness.run(*[b"%d" % number for number in range(9)])
        self.assertEqual(len(self.files()), 1 + 5)


class NameTests(TeeCase):
    def name(self, template: str, **context: Any) -> str:
        self.tee(template, FilterContext(**context)).run(b"x")
        [path] = self.folder.iterdir()
        path.unlink()
        return path.name

    def test_places(self) -> None:
        self.patch(time, "gmtime", lambda: time.struct_time((2026, 11, 22, 6, 10, 16, 6, 326, 0)))
        client = IPv4Address("TCP", "192.0.2.1", 4000)
        self.assertEqual(
            self.name("{time}-{client}-{direction}-{number}", client=client, direction=Direction.REQUEST),
            "20261122T061016Z-192.0.2.1-4000-request-1",
        )
        self.assertEqual(self.name("{direction}.{number}"), "response.2")

    def test_clients(self) -> None:
        for client, name in [
            (None, "unknown"),
            (IPv6Address("TCP", "fe80::1%eth0", 80), "fe80::1_eth0-80"),
        ]:
            self.assertEqual(self.name("{client}", client=client), name)
        self.assertRegex(self.name("{client}", client=UNIXAddress("/run/../x")), r"^UNIXAddress_.*run_\.\._x_$")

    def test_each_has_its_own(self) -> None:
        for number in range(3):
            self.tee("{number}").run(b"%d" % number)
        self.assertEqual(self.files(), {"1": b"0", "2": b"1", "3": b"2"})


class ErrorTests(TeeCase):
    def log(self, harness: FilterHarness, *chunks: bytes) -> list[LogEvent]:
        """What is logged while these chunks pass."""
        with capturedLogs() as events:
            self.assertEqual(harness.run(*chunks), b"".join(chunks))
        return list(events)

    def test_logged_once_and_passed_on(self) -> None:
        context = FilterContext(connection="a -> b")
        [event] = self.log(self.tee("missing/copy", context, buffer=0), b"one", b"two", b"three")
        self.assertEqual(
            eventAsText(event, includeTimestamp=False, includeSystem=False),
            f"a -> b, response: cannot copy to {self.folder}/missing/copy: [Errno 2] No such file or directory: "
            f"'{self.folder}/missing/copy'",
        )

    def test_only_at_the_end(self) -> None:
        [event] = self.log(self.tee("missing/copy"), b"one")
        self.assertIn("cannot copy to", event["log_format"])

    def test_abort(self) -> None:
        for options, feeding in [({"buffer": 0}, 1), ({"buffer": 100}, 2)]:
            harness = self.tee("missing/copy", on_error="abort", **options)
            failure: Any = None
            with capturedLogs() as events:
                try:
                    harness.feed(b"x")
                    self.assertEqual(feeding, 2)
                    harness.end()
                except FilterFailed as caught:
                    failure = caught
            self.assertIsInstance(failure.problem, FileNotFoundError)
            self.assertEqual(len(events), 1)
            self.assertEqual([type(reason) for reason in harness.stops], [FilterFailed])

    def test_abort_of_what_broke_off(self) -> None:
        """It is over already."""
        with capturedLogs() as events:
            self.tee("missing/copy", on_error="abort").feed(b"x").stop(UpstreamFailed("reset"))
        self.assertEqual(len(events), 1)

    def test_disk_full(self) -> None:
        """What it took last stays, cut as it is."""
        really_write = os.write

        def write(fd: int, data: Any) -> int:
            room = 5 - os.fstat(fd).st_size
            if not room:
                raise os_error(errno.ENOSPC)
            return really_write(fd, data[:room])

        self.patch(os, "write", write)
        before = os.listdir("/proc/self/fd")
        [event] = self.log(self.tee(buffer=0), b"123", b"4567", b"89")
        self.assertIn("No space left", event["error"])
        self.assertEqual(self.files(), {"copy": b"12345"})
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_short_writes(self) -> None:
        really_write = os.write
        self.patch(os, "write", lambda fd, data: really_write(fd, data[:2]))
        self.tee().run(b"1234567")
        self.assertEqual(self.files(), {"copy": b"1234567"})

    def test_cannot_rotate(self) -> None:
        self.path.write_bytes(b"old")
        (self.folder / "copy.1").mkdir()
        [event] = self.log(self.tee(max_size=4, keep=1), b"xyz")
        self.assertIn("Is a directory", event["error"])
        self.assertEqual(self.path.read_bytes(), b"old")

    def test_fifo_that_nobody_reads(self) -> None:
        """Opening it does not block."""
        os.mkfifo(self.path)
        [event] = self.log(self.tee(), b"x")
        self.assertIn("No such device", event["error"])


class OptionTests(SynchronousTestCase):
    def refused(self, **options: str) -> str:
        return str(self.assertRaises(BadConfiguration, find_filter("tee").configure, options))

    def test_all_of_them(self) -> None:
        plugin = find_filter("tee").configure(
            {"path": "/x/{number}", "max_size": "1m", "keep": "2", "buffer": "4k", "on_error": "abort"}
        )
        self.assertEqual(
            plugin.build(FilterContext()),
            Tee(FilterContext(), path="/x/{number}", max_size=1 << 20, keep=2, buffer=4096, on_error="abort"),
        )

    def test_refused(self) -> None:
        self.assertIn("filter tee: path: None: has to be given", self.refused())
        self.assertEqual(self.refused(path=""), "filter tee: path: '': must not be empty")
        known = "a path; what may stand in braces is {direction}, {client}, {time}, {number}"
        for path in ("/x/{host}", "/x/{number", "/x/number}", "/x/{}", "{{number}}", "/x/{client.host}", "a\0b"):
            self.assertEqual(self.refused(path=path), f"filter tee: path: {path!r}: {known}")
        self.assertIn("filter tee: on_error: 'stop': must be pass or abort", self.refused(path="x", on_error="stop"))
        self.assertIn("filter tee: keep: '-1': a whole number", self.refused(path="x", keep="-1"))
        self.assertIn("filter tee: max_size: 'x': a size", self.refused(path="x", max_size="x"))


class PipeTests(PipeCase):
    def test_abort_is_the_filters_fault(self) -> None:
        upstream, downstream = MemoryTransport(), MemoryTransport()
        with capturedLogs():
            pipe = self.pipe(
                upstream,
                downstream,
                [Tee(FilterContext(), path=self.mktemp() + "/missing/copy", on_error="abort")],
            )
            pipe.write(b"abc")
            pipe.upstream_ended()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "filter")
        self.assertNotIn("half", downstream.ends)
