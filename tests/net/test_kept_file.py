"""Streams that go to a file as a whole, and from there to any number of downstreams."""

from __future__ import annotations

import errno
import os
from typing import Any

import attrs

from tests.net.disks import DISK, NO_SPILL, DiskCase, HandThreads
from tests.net.fakes import MemoryTransport, fds_in
from tests.net.test_driver_sockets import SocketCase
from twisted_pipe.errors import Cancelled
from twisted_pipe.net.keptfile import KeptFile

DATA = bytes(index * 7 % 251 for index in range(3000))


class KeptCase(DiskCase):
    def kept(self, limits: Any = None, **more: Any) -> Any:
        """A pipe whose owner takes the file as soon as there is one."""
        pipe = self.pipe(self.upstream, None, (), limits, keep_file=True, **more)
        pipe.wanted.addCallback(lambda _: self.taken.append(pipe.take_file()))
        return pipe

    def setUp(self) -> None:
        super().setUp()
        self.taken: list[KeptFile | None] = []

    def whole(self, data: bytes = DATA) -> KeptFile:
        pipe = self.kept()
        pipe.write(data)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).stored)
        [file] = self.taken
        assert file is not None
        return file

    def deliver(self, file: KeptFile, downstream: Any, **more: Any) -> Any:
        return self.pipe(None, downstream, file=file, **more)


class KeptTests(KeptCase):
    def test_it_ends_cleanly_when_it_is_taken(self) -> None:
        pipe = self.kept()
        pipe.write(DATA)
        pipe.upstream_ended()
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.stored, outcome.bytes_spilled), (True, True, len(DATA)))
        self.assertEqual(outcome.bytes_out, 0)
        self.assertEqual([repr(file) for file in self.taken], ["<KeptFile 2.9 KiB>"])
        for file in self.taken:
            assert file is not None
            file.close()

    def test_it_is_delivered_as_often_as_it_is_wanted(self) -> None:
        file = self.whole()
        for number in range(3):
            downstream = MemoryTransport()
            pipe = self.deliver(file, downstream, head=b"HEAD %d " % number)
            self.assertEqual((downstream.value(), downstream.ends), (b"HEAD %d " % number + DATA, ["half"]))
            self.assertEqual(self.outcome(pipe).bytes_out, 7 + len(DATA))
        file.close()

    def test_one_that_was_delivered_in_part(self) -> None:
        """What was taken of it is there for the next."""
        file = self.whole()
        pipe = self.deliver(file, MemoryTransport(room=700))
        pipe.abandon(Cancelled("to another"))
        downstream = MemoryTransport()
        self.deliver(file, downstream)
        self.assertEqual(downstream.value(), DATA)
        file.close()

    def test_an_empty_one(self) -> None:
        file = self.whole(b"")
        downstream = MemoryTransport()
        self.assertTrue(self.outcome(self.deliver(file, downstream, head=b"HEAD")).clean)
        self.assertEqual((downstream.value(), file.size), (b"HEAD", 0))
        file.close()

    def test_it_counts_until_it_is_closed(self) -> None:
        quota = self.spill.quota
        file = self.whole()
        self.assertEqual((quota.used, len(fds_in(self.directory))), (3000, 1))
        self.deliver(file, MemoryTransport())
        self.assertEqual((quota.used, len(fds_in(self.directory))), (3000, 1))
        file.close()
        file.close()
        self.assertEqual((quota.used, fds_in(self.directory)), (0, []))

    def test_only_when_it_is_whole(self) -> None:
        pipe = self.kept()
        pipe.write(DATA)
        self.assertEqual((pipe.take_file(), self.taken), (None, []))
        pipe.abandon(Cancelled("enough"))
        self.assertIsNone(pipe.take_file())
        self.assertEqual((self.spill.quota.used, fds_in(self.directory)), (0, []))

    def test_not_of_a_pipe_that_delivers_it(self) -> None:
        pipe = self.pipe(self.upstream, None, keep_file=True)
        pipe.write(DATA)
        pipe.upstream_ended()
        self.downstream.room = 1
        pipe.deliver_to(self.downstream)
        self.assertIsNone(pipe.take_file())
        self.assertEqual(self.take_all(), DATA)
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.stored), (True, False))

    def test_nor_of_one_that_keeps_no_file(self) -> None:
        pipe = self.pipe(self.upstream, None)
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertIsNone(pipe.take_file())
        pipe.abandon(Cancelled("enough"))

    def test_written_in_threads(self) -> None:
        threads = self.spill.threads = HandThreads()  # type: ignore[assignment]
        pipe = self.kept()
        pipe.write(DATA)
        pipe.upstream_ended()
        while threads.jobs:
            self.assertEqual(self.taken, [])
            threads.finish()
        self.assertTrue(self.outcome(pipe).stored)
        [file] = self.taken
        downstream = MemoryTransport()
        self.deliver(file, downstream)
        self.assertEqual(downstream.value(), DATA)
        file.close()


class OrdinaryTests(KeptCase):
    """What the file cannot hold is delivered once."""

    def assert_ordinary(self, limits: Any = None) -> None:
        pipe = self.kept(limits)
        pipe.write(DATA)
        self.assertEqual((self.taken, pipe.full), ([None], True))
        downstream = MemoryTransport()
        pipe.deliver_to(downstream)
        pipe.upstream_ended()
        self.assertEqual(downstream.value(), DATA)
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.stored), (True, False))
        self.assertEqual((self.spill.quota.used, fds_in(self.directory)), (0, []))

    def test_too_large(self) -> None:
        self.assert_ordinary(attrs.evolve(DISK, max_temp_file_size=1000))

    def test_its_file_is_closed_when_all_of_it_was_sent(self) -> None:
        pipe = self.kept(attrs.evolve(DISK, max_temp_file_size=1000))
        pipe.write(DATA)
        pipe.deliver_to(MemoryTransport())
        self.assertEqual((pipe.ended, self.spill.quota.used, fds_in(self.directory)), (False, 0, []))
        pipe.abandon(Cancelled("enough"))

    def test_no_file(self) -> None:
        self.assert_ordinary(NO_SPILL)

    def test_a_full_disk(self) -> None:
        self.fail_writes(errno.ENOSPC)
        self.assert_ordinary()
        self.flushLoggedErrors()


class SocketTests(SocketCase):
    def test_from_socket_to_file_to_socket(self) -> None:
        files: list[Any] = []
        data = os.urandom(500_000)
        pipe = self.pipe(self.up, None, keep_open=True, keep_file=True, length=len(data))
        pipe.wanted.addCallback(lambda _: files.append(pipe.take_file()))
        self.feed(data)
        [file] = files
        self.assertEqual(file.size, len(data))
        self.pipe(None, self.down, file=file, head=b"HEAD")
        self.assertTrue(self.drain() == b"HEAD" + data)
        file.close()
