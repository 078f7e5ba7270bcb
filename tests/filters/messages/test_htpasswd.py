"""Files of users."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.htpasswd import UserFile

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="


class UserFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.file = UserFile(str(self.path))

    def write(self, text: str) -> None:
        self.path.write_bytes(text.encode())
        os.utime(self.path, ns=(0, self.path.stat().st_mtime_ns + 1_000_000_000))

    def refused(self, why: str) -> None:
        error = self.assertRaises(BadConfiguration, self.file.read)
        self.assertIn(why, error.expected)

    def test_users_and_hashes(self) -> None:
        self.write(f"# ours\n\nalice:{SHA}\r\nbob:{SHA}:a comment\n")
        self.assertTrue(self.file.read())
        self.assertEqual(self.file.users, {b"alice": SHA.encode(), b"bob": SHA.encode()})

    def test_it_is_read_again_when_it_has_changed_only(self) -> None:
        self.write(f"alice:{SHA}\n")
        self.assertEqual((self.file.read(), self.file.read()), (True, False))
        self.write(f"bob:{SHA}\n")
        self.assertTrue(self.file.read())
        self.assertEqual(list(self.file.users), [b"bob"])

    def test_a_wrong_one_leaves_the_users_and_is_told_once(self) -> None:
        self.write(f"alice:{SHA}\n")
        self.file.read()
        self.write("alice:plain\n")
        self.refused("line 1 has a hash of another kind than bcrypt")
        self.assertFalse(self.file.read())
        self.assertEqual(list(self.file.users), [b"alice"])

    def test_what_is_wrong_is_said_with_its_line_and_without_the_secret(self) -> None:
        for text, why in (
            (f"a:{SHA}\nbob\n", "line 2 is not USER:HASH"),
            (f":{SHA}", "line 1 is not"),
            ("a:pw", "line 1 has"),
        ):
            self.write(text)
            self.refused(why)
        self.assertNotIn("pw", str(self.assertRaises(BadConfiguration, UserFile(str(self.path)).read).expected))

    def test_one_that_is_not_there(self) -> None:
        self.refused("cannot be read: No such file or directory")

    def test_one_that_is_no_such_file(self) -> None:
        self.write("#" * (4 * 1024 * 1024 + 1))
        self.refused("must have at most")
