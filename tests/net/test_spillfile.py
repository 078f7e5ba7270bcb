from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import faulty_close, fds_in, os_error
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.spillfile import SpillDirectory, SpillFile, default_temp_path


class SpillFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkdir(self.path)
        self.directory = SpillDirectory(self.path)

    def open(self, piece: int = 1 << 20) -> SpillFile:
        file = self.directory.open(piece)
        self.addCleanup(file.close)
        return file

    def on_disk(self) -> int:
        return sum(os.fstat(fd).st_blocks * 512 for fd in fds_in(self.path))

    def test_it_has_no_name(self) -> None:
        file = self.open()
        file.write(0, [b"x"])
        self.assertEqual((os.listdir(self.path), len(fds_in(self.path))), ([], 1))
        file.close()
        self.assertEqual((os.listdir(self.path), fds_in(self.path)), ([], []))

    def test_nothing_on_disk_before_something_is_written(self) -> None:
        self.open()
        self.assertEqual(fds_in(self.path), [])

    def test_nobody_else_may_read_it(self) -> None:
        file = self.open(10)
        file.write(0, [b"x" * 10])
        file.write(10, [b"x"])
        self.assertEqual(len(fds_in(self.path)), 2)
        for fd in fds_in(self.path):
            self.assertEqual(stat.S_IMODE(os.fstat(fd).st_mode), 0o600)
            self.assertFalse(os.get_inheritable(fd))

    def test_what_was_written_is_read(self) -> None:
        file = self.open()
        self.assertEqual(file.write(0, [b"abc", memoryview(b"de")]), 5)
        self.assertEqual(file.write(5, [b"fgh"]), 3)
        self.assertEqual(file.write(8, [bytearray(b"i")]), 1)
        self.assertEqual(file.read(0, 100), b"abcdefghi")
        self.assertEqual(file.read(2, 3), b"cde")
        (fd,) = fds_in(self.path)
        self.assertEqual(file.locate(7), (fd, 7))
        self.assertEqual(os.pread(fd, 1, 7), b"h")

    def test_in_pieces(self) -> None:
        """Each piece is a file of its own, from 0 on; a piece that was begun is gone on with."""
        file = self.open(4)
        for offset, data in ((0, b"ab"), (2, b"cd"), (4, b"efgh"), (8, b"ijk"), (11, b"l"), (12, b"m")):
            self.assertEqual(file.write(offset, [data]), len(data))
        self.assertEqual(len(fds_in(self.path)), 4)
        self.assertEqual(
            [file.read(*span) for span in ((0, 4), (5, 3), (10, 2), (12, 1))], [b"abcd", b"fgh", b"kl", b"m"]
        )
        for offset in range(13):
            fd, within = file.locate(offset)
            self.assertEqual((within, os.pread(fd, 1, within)), (offset % 4, b"abcdefghijklm"[offset : offset + 1]))

    def test_beyond_its_end(self) -> None:
        file = self.open()
        file.write(0, [b"abc"])
        self.assertRaises(EOFError, file.read, 3, 1)

    def test_writing_nothing_is_a_full_disk(self) -> None:
        file = self.open()
        self.patch(os, "pwritev", lambda fd, parts, offset: 0)
        self.assertEqual(self.assertRaises(OSError, file.write, 0, [b"abc"]).errno, errno.ENOSPC)
        file.close()
        self.assertEqual(fds_in(self.path), [])

    def test_a_piece_that_cannot_be_opened(self) -> None:
        """The others are as they were."""
        file = self.open(4)
        file.write(0, [b"abcd"])
        self.directory.path = "/missing"
        self.assertRaises(OSError, file.write, 4, [b"e"])
        self.assertEqual((file.read(0, 4), len(fds_in(self.path))), (b"abcd", 1))
        self.directory.path = self.path
        file.write(4, [b"e"])
        self.assertEqual(file.read(4, 1), b"e")

    def test_forgotten_pieces_are_given_back(self) -> None:
        """The space really is: whole pieces, as soon as the offset has left them, and nothing behind it changes."""
        piece = 256 << 10
        data = os.urandom(4 * piece)
        file = self.open(piece)
        for at in range(0, len(data), piece):
            file.write(at, [data[at : at + piece]])
        for fd in fds_in(self.path):
            os.fsync(fd)
        self.assertTrue(self.on_disk() >= len(data), self.on_disk())
        for offset, pieces in ((0, 4), (1, 4), (piece - 1, 4), (piece, 3), (piece + 4096, 3), (3 * piece + 5, 1)):
            for _ in range(2):
                file.forget(offset)
                self.assertEqual(len(fds_in(self.path)), pieces, offset)
            self.assertTrue(self.on_disk() <= pieces * piece + 65536, (offset, self.on_disk()))
            kept = offset // piece * piece  # also what is forgotten, in the piece that is not yet left
            self.assertEqual(
                b"".join(file.read(at, piece) for at in range(kept, len(data), piece)), data[kept:], f"after {offset}"
            )

    def test_written_on_after_forgetting(self) -> None:
        file = self.open(4)
        for at in range(0, 4000, 4):
            file.write(at, [b"%4d" % at])
            file.forget(at)
            self.assertEqual((file.read(at, 4), len(fds_in(self.path))), (b"%4d" % at, 1))

    def test_what_was_sent_does_not_change(self) -> None:
        """
        sendfile lends pages of the file to the socket: neither writing on, nor forgetting, nor closing may change them
        before the peer has read them. (Punching a hole does: the kernel zeroes a part of a large folio in place.)
        """
        piece = 2 << 20
        data = os.urandom(3 * piece)
        for kind, (ours, theirs) in self.socket_pairs():
            for step in (5000, 65536, 1 << 20):
                for start in (0, 1234567, piece - 300_000, piece + 54321):
                    file = self.open(piece)
                    at = 0
                    while at < len(data) - piece // 2:
                        at += file.write(at, [data[at : min(at + step, (at // piece + 1) * piece)]])
                    fd, within = file.locate(start)
                    sent = os.sendfile(ours.fileno(), fd, within, min(1 << 20, piece - within))
                    self.assertTrue(sent > 50_000, f"{kind}: {sent}")
                    file.forget(start + sent)
                    file.write(at, [data[at:]])
                    file.forget(start + sent)
                    if start:
                        file.close()
                    got = b""
                    while len(got) < sent:
                        got += theirs.recv(1 << 20)
                    right = data[start : start + sent]
                    first = next((at for at in range(sent) if got[at] != right[at]), None) if got != right else None
                    self.assertIsNone(first, f"{kind}, written by {step}, sent from {start}: wrong from {first} on")
                    file.close()

    def socket_pairs(self) -> Iterator[tuple[str, tuple[socket.socket, socket.socket]]]:
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        pairs = {"loopback": (client, listener.accept()[0]), "unix": socket.socketpair()}
        listener.close()
        for pair in pairs.values():
            for sock in pair:
                self.addCleanup(sock.close)
            pair[0].setblocking(False)
            pair[1].settimeout(10)
        yield from pairs.items()

    def test_closing_fails(self) -> None:
        """close(2) may say EIO, or on NFS ENOSPC; the descriptor is gone then, and the others must go, too."""
        file = self.open(4)
        for at in range(0, 32, 4):
            file.write(at, [b"abcd"])
        faulty_close(self, self.path)
        with contextlib.suppress(OSError):
            file.forget(16)
        self.assertEqual(len(fds_in(self.path)), 4)
        with contextlib.suppress(OSError):
            file.close()
        self.assertEqual(fds_in(self.path), [])

    def test_close(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        file = self.open(4)
        file.write(0, [b"abcd"])
        file.write(4, [b"e"])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 2)
        file.close()
        file.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class WithoutTmpfileTests(SpillFileTests):
    """The same on a file system that has no O_TMPFILE."""

    def setUp(self) -> None:
        SpillFileTests.setUp(self)
        really_open = os.open

        def no_tmpfile(path: Any, flags: int, *more: Any, **others: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise os_error(errno.EOPNOTSUPP)
            return really_open(path, flags, *more, **others)

        self.patch(os, "open", no_tmpfile)

    def test_a_name_that_cannot_be_removed(self) -> None:
        def fail(name: str) -> None:
            raise os_error(errno.EACCES)

        before = len(os.listdir("/proc/self/fd"))
        self.patch(os, "unlink", fail)
        self.assertEqual(self.assertRaises(OSError, self.open().write, 0, [b"x"]).errno, errno.EACCES)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class SpillDirectoryTests(SynchronousTestCase):
    def test_default(self) -> None:
        self.assertEqual(SpillDirectory().path, default_temp_path())
        SpillDirectory().check()

    def test_repr(self) -> None:
        self.assertEqual(repr(SpillDirectory("/there")), "<SpillDirectory /there>")

    def test_check_leaves_nothing(self) -> None:
        path = self.mktemp()
        os.mkdir(path)
        before = len(os.listdir("/proc/self/fd"))
        SpillDirectory(path).check()
        self.assertEqual(os.listdir(path), [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_missing(self) -> None:
        path = self.mktemp()
        error = self.assertRaises(BadConfiguration, SpillDirectory(path).check)
        self.assertEqual((error.name, error.value), ("temp_path", path))
        self.assertIn("does not exist", str(error))

    def test_not_a_directory(self) -> None:
        self.assertIn("is not a directory", str(self.assertRaises(BadConfiguration, SpillDirectory(__file__).check)))

    def test_not_writable(self) -> None:
        path = self.mktemp()
        os.mkdir(path)

        def fail(*_: object, **__: object) -> int:
            raise os_error(errno.EROFS)

        self.patch(os, "open", fail)
        error = self.assertRaises(BadConfiguration, SpillDirectory(path).check)
        self.assertIn("Read-only file system", str(error))
