"""Streams that are stored while a client is fed from the file (nginx C{proxy_store}, C{proxy_cache})."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

import attrs

from tests.net.disks import DISK, DiskCase, HandThreads
from tests.net.fakes import fds_in
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.net.storefile import StoreFile

DATA = bytes(index * 7 % 251 for index in range(3000))
CODES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Upper(PipeFilter):
    def received(self, data: memoryview) -> Any:
        return (bytes(data).upper(),)

    def ended(self) -> Any:
        return (b"!",)


class StoreCase(DiskCase):
    def setUp(self) -> None:
        DiskCase.setUp(self)
        self.told: list[tuple[str, int]] = []
        self.path = os.path.join(self.directory, "body")

    def store(self, filters: Any = (), limits: Any = None, **more: Any) -> Any:
        options = {"store": self.path, "on_stored": lambda *what: self.told.append(what), **more}
        return self.start(filters, limits, **options)

    def stored(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read()

    def assert_stored(self, data: bytes) -> None:
        """That, whole, in its place, told once, and nothing beside it."""
        self.assertEqual(self.told, [(self.path, len(data))])
        self.assertEqual(self.stored(), data)
        self.assertEqual((os.listdir(self.directory), fds_in(self.directory)), (["body"], []))

    def assert_not_stored(self) -> None:
        self.assertEqual((self.told, os.listdir(self.directory), fds_in(self.directory)), ([], [], []))


class StoringTests(StoreCase):
    def test_whole(self) -> None:
        pipe = self.store()
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual((self.downstream.value(), self.downstream.ends), (DATA, ["half"]))
        self.assert_stored(DATA)

    def test_the_client_is_fed_from_the_file(self) -> None:
        reads: list[tuple[int, int]] = []
        really = os.pread

        def read(fd: int, count: int, offset: int) -> bytes:
            reads.append((offset, count))
            return really(fd, count, offset)

        self.patch(os, "pread", read)
        pipe = self.store()
        pipe.write(DATA)
        self.assertEqual(sum(count for _, count in reads), len(self.downstream.value()))
        self.assertTrue(reads)

    def test_bytes_are_passed_on_as_they_come(self) -> None:
        pipe = self.store()
        for piece in (b"a", b"bc", b"def"):
            pipe.write(piece)
            self.assertTrue(self.downstream.value().endswith(piece))
        self.assertEqual(self.told, [])

    def test_nobody_sees_a_part_of_it(self) -> None:
        pipe = self.store()
        pipe.write(DATA)
        self.assertFalse(os.path.exists(self.path))
        pipe.upstream_ended()
        self.assert_stored(DATA)

    def test_nobody_else_may_read_it(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        pipe = self.store()
        pipe.write(DATA)
        (unfinished,) = os.listdir(self.directory)
        before = os.stat(os.path.join(self.directory, unfinished)).st_mode
        pipe.upstream_ended()
        after = os.stat(self.path).st_mode
        self.assertEqual((stat.S_IMODE(before), stat.S_IMODE(after)), (0o600, 0o600))

    def test_what_was_there_is_replaced_at_once(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"old")
            with open(self.path, "rb") as reader:
                pipe = self.store()
                pipe.write(DATA)
                file.flush()
                self.assertEqual(self.stored(), b"old")
                pipe.upstream_ended()
                self.assertEqual(reader.read(), b"old", "who had it open has it still")
        self.assert_stored(DATA)

    def test_a_link_is_replaced_and_not_followed(self) -> None:
        os.symlink("elsewhere", self.path)
        self.store(preread=b"x", length=1)
        self.assertFalse(os.path.islink(self.path))
        self.assert_stored(b"x")

    def test_an_empty_stream(self) -> None:
        self.store().upstream_ended()
        self.assert_stored(b"")

    def test_a_known_length_without_what_is_beyond(self) -> None:
        pipe = self.store(length=1950)
        pipe.write(DATA)
        self.assertEqual(self.outcome(pipe).surplus, 50)
        self.assert_stored(DATA[:1950])

    def test_the_preread_bytes(self) -> None:
        pipe = self.store(preread=b"head")
        pipe.write(b"body")
        pipe.upstream_ended()
        self.assert_stored(b"headbody")

    def test_what_the_filters_make(self) -> None:
        pipe = self.store([Upper(FilterContext())])
        pipe.write(b"hello" * 200)
        pipe.upstream_ended()
        self.assert_stored(b"HELLO" * 200 + b"!")
        self.assertEqual(self.downstream.value(), self.stored())

    def test_a_stuck_client_does_not_hold_the_upstream(self) -> None:
        self.downstream.room = 1
        pipe = self.store(limits=attrs.evolve(DISK, max_temp_file_size=0))
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertEqual((pipe.memory_bytes, pipe.received.called), (0, True))
        self.assertEqual(self.told, [], "not before the end")
        self.assertEqual(self.take_all(), DATA)
        self.assert_stored(DATA)

    def test_on_stored_raises(self) -> None:
        def fail(path: str, length: int) -> None:
            raise RuntimeError("the program's mistake")

        pipe = self.store(on_stored=fail, name="p")
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual((self.stored(), self.downstream.ends), (DATA, ["half"]))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_on_stored_is_not_needed(self) -> None:
        self.store(on_stored=None, preread=b"x", length=1)
        self.assertEqual(self.stored(), b"x")

    def test_cancelled_by_on_stored(self) -> None:
        pipe: Any = None
        pipe = self.store(on_stored=lambda *_: pipe.done.cancel())
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertEqual((self.stored(), self.outcome(pipe).bytes_out), (DATA, len(DATA)))

    def test_in_threads(self) -> None:
        self.spill.threads = threads = HandThreads()
        pipe = self.store()
        pipe.write(DATA)
        self.assertEqual(self.downstream.value(), b"")
        pipe.upstream_ended()
        threads.finish_all()
        self.assertEqual(self.downstream.value(), DATA)
        self.assert_stored(DATA)

    def test_nothing_stays_in_the_quota(self) -> None:
        self.spill.quota = SpillQuota(10_000)
        pipe = self.store()
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertEqual(self.spill.quota.used, 0)
        self.assert_stored(DATA)


class StoreFileTests(StoreCase):
    def test_closed_twice(self) -> None:
        file = StoreFile(self.path)
        file.close()
        file.close()
        self.assert_not_stored()

    def test_closed_after_it_was_kept(self) -> None:
        file = StoreFile(self.path)
        file.write(0, [b"ab", b"c"])
        self.assertEqual(file.read(1, 10), b"bc")
        self.assertRaises(EOFError, file.read, 3, 1)
        file.keep()
        file.close()
        self.assertEqual(self.stored(), b"abc")

    def test_a_name_as_long_as_names_may_be(self) -> None:
        """The one it has meanwhile must not be longer."""
        file = StoreFile(os.path.join(self.directory, "x" * 255))
        file.keep()
        self.assertEqual(os.listdir(self.directory), ["x" * 255])

    def test_a_relative_path_is_the_same_place_at_the_end(self) -> None:
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        file = StoreFile("body")
        os.mkdir(elsewhere := os.path.join(os.path.dirname(self.directory), "elsewhere"))
        os.chdir(elsewhere)
        file.keep()
        self.assertEqual(os.listdir(self.directory), ["body"])
