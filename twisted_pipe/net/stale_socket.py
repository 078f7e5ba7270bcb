"""
UNIX sockets whose process is gone.

Their file stays, and nobody can bind there. The file of a lock that Twisted keeps beside it does not tell: it holds the number of
a process, and in a container the next one has the same. Whether somebody listens does.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress

from twisted.logger import Logger

__all__ = ["remove_stale_socket"]

_log = Logger()


def remove_stale_socket(path: str) -> None:
    """
    Remove the file of a UNIX socket that nobody listens on, and its lock; a lock alone keeps nobody's place, either. Whatever else
    is there stays, for binding to fail.

    @raise OSError: it cannot be removed.
    """
    if path.startswith("\0"):
        return
    if not os.path.lexists(path):
        _remove_lock(path)
        return
    if not _is_socket(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except OSError:  # somebody does, or we may not know
            return
        else:
            return
    os.unlink(path)
    _remove_lock(path)
    _log.info("{path}: removed: a socket that nobody listened on", path=path)


def _remove_lock(path: str) -> None:
    """Twisted's is a symbolic link to the number of a process."""
    lock = f"{path}.lock"
    if os.path.islink(lock) and os.readlink(lock).isdigit():
        with suppress(FileNotFoundError):
            os.unlink(lock)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False
