from __future__ import annotations

import os
import socket

from twisted.python.lockfile import FilesystemLock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.net.stale_socket import remove_stale_socket


class StaleSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.relpath(self.mktemp())
        os.makedirs(os.path.dirname(self.path), exist_ok=True)

    def bound(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, kind)
        self.addCleanup(sock.close)
        sock.bind(self.path)
        return sock

    def test_nobody_listens(self) -> None:
        self.bound().close()
        remove_stale_socket(self.path)
        self.assertFalse(os.path.lexists(self.path))

    def test_with_its_lock(self) -> None:
        """It names a process that lives, as it does when a container is started anew: it is us."""
        self.bound().close()
        self.assertTrue(FilesystemLock(f"{self.path}.lock").lock())
        remove_stale_socket(self.path)
        self.assertFalse(os.path.lexists(f"{self.path}.lock"))

    def test_somebody_listens(self) -> None:
        listener = self.bound()
        listener.listen()
        self.assertTrue(FilesystemLock(f"{self.path}.lock").lock())
        remove_stale_socket(self.path)
        self.assertTrue(os.path.lexists(self.path))
        self.assertTrue(os.path.lexists(f"{self.path}.lock"))

    def test_somebody_listens_whose_queue_is_full(self) -> None:
        listener = self.bound()
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(self.path)
            remove_stale_socket(self.path)
            self.assertTrue(os.path.lexists(self.path))

    def test_another_kind_of_socket(self) -> None:
        """Of datagrams: somebody may receive them."""
        self.bound(socket.SOCK_DGRAM)
        remove_stale_socket(self.path)
        self.assertTrue(os.path.lexists(self.path))

    def test_a_file(self) -> None:
        """A mistake in the path costs nobody's file."""
        with open(self.path, "w") as file:
            file.write("dear")
        remove_stale_socket(self.path)
        self.assertTrue(os.path.exists(self.path))

    def test_a_link_to_one_that_is_stale(self) -> None:
        self.bound().close()
        os.symlink(os.path.abspath(self.path), f"{self.path}.link")
        remove_stale_socket(f"{self.path}.link")
        self.assertTrue(os.path.lexists(self.path))
        self.assertTrue(os.path.lexists(f"{self.path}.link"))

    def test_nothing_there(self) -> None:
        remove_stale_socket(self.path)
        remove_stale_socket("/no/such/directory/socket")

    def test_a_lock_alone(self) -> None:
        """What stays when binding fails behind it, or when the socket's file alone was cleaned away."""
        self.assertTrue(FilesystemLock(f"{self.path}.lock").lock())
        remove_stale_socket(self.path)
        self.assertFalse(os.path.lexists(f"{self.path}.lock"))

    def test_a_link_that_is_no_lock(self) -> None:
        os.symlink("elsewhere", f"{self.path}.lock")
        remove_stale_socket(self.path)
        self.assertTrue(os.path.lexists(f"{self.path}.lock"))

    def test_abstract(self) -> None:
        remove_stale_socket("\0abstract")
