"""How many connections the process may have at once."""

from __future__ import annotations

import resource
from typing import Any

from twisted_pipe.errors import BadConfiguration

__all__ = ["check_worker_connections"]


def check_worker_connections(option: str, count: int, reactor: Any) -> int:
    """
    C{count}, 0 for no limit.

    @raise BadConfiguration: this reactor has no such limit, or the system does not let us open as many files.
    """
    if count and not hasattr(reactor, "connections"):
        raise BadConfiguration(
            option, count, "must be left out on this reactor: only epollet can (twistd --reactor=epollet)"
        )
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if count > files:
        raise BadConfiguration(option, count, f"must be at most the limit on open files, which is {files} (ulimit -n)")
    return count
