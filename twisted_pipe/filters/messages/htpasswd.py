"""A file of users and the hashes of their passwords, as C{htpasswd} writes it; read anew when it has changed."""

from __future__ import annotations

import os

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.password_hashes import is_known

__all__ = ["UserFile"]

_LARGEST = 4 * 1024 * 1024  # bytes
_KINDS = "bcrypt ($2y$, htpasswd -B), SHA-crypt ($5$, $6$), apr1 and {SHA}"


@attrs.define
class UserFile:
    """
    @ivar path: of the file.
    @ivar users: the hash of each.
    """

    path: str
    users: dict[bytes, bytes] = attrs.field(factory=dict, init=False, repr=False)
    _seen: object = attrs.field(default=None, init=False, repr=False)

    def read(self) -> bool:
        """
        Read it if it is not what it was when it was last read, right or wrong.

        @return: whether it was read.
        @raise BadConfiguration: it cannot be, or has a line that is no user with a known hash. The users are still those of before.
        """
        try:
            found = os.stat(self.path)
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if state == self._seen:
                return False
            self._seen = state
            if found.st_size > _LARGEST:
                raise BadConfiguration("file", self.path, f"must have at most {_LARGEST} bytes")
            with open(self.path, "rb") as file:
                data = file.read(_LARGEST)
        except OSError as error:
            self._seen = None
            raise BadConfiguration("file", self.path, f"cannot be read: {error.strerror}") from error
        self.users = dict(self._user(place, line) for place, line in enumerate(data.splitlines(), 1) if _says(line))
        return True

    def _user(self, place: int, line: bytes) -> tuple[bytes, bytes]:
        user, colon, rest = line.partition(b":")
        stored = rest.partition(b":")[0].strip()
        if not (user and colon):
            raise BadConfiguration("file", self.path, f"line {place} is not USER:HASH")
        if not is_known(stored):
            raise BadConfiguration("file", self.path, f"line {place} has a hash of another kind than {_KINDS}")
        return user, stored


def _says(line: bytes) -> bool:
    """Whether it is neither empty nor a comment."""
    return bool(line.strip()) and not line.startswith(b"#")
