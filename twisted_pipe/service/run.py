"""The console script C{twisted-pipe ARGS}: C{twistd pipe ARGS} in the foreground, on our own reactor."""

from __future__ import annotations

import sys

__all__ = ["main"]

_TWISTD = ("twistd", "--reactor=epollet", "--pidfile=", "-n", "pipe")


def main() -> None:
    """Run until Ctrl-C. twistd installs the reactor itself, so nothing may have imported one before."""
    from twisted.scripts import twistd

    sys.argv = [*_TWISTD, *sys.argv[1:]]
    twistd.run()
