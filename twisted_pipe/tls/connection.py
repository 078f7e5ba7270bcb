"""A connection of OpenSSL's, with what we know of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from OpenSSL import SSL

from twisted_pipe.tls.problems import PLAIN_HTTP_ANSWER, is_plain_http

__all__ = ["TlsConnection", "known_of"]


class TlsConnection(SSL.Connection):
    """
    pyOpenSSL hands the same object to its callbacks. Its C{app_data} is Twisted's, where Twisted carries the bytes.

    @ivar known: what the callbacks have to know.
    @ivar say_plainly: sends bytes without TLS; None: whoever speaks plain HTTP is told nothing.
    """

    known: Any = None
    say_plainly: Callable[[bytes], object] | None = None

    def do_handshake(self) -> None:
        """
        As OpenSSL's.

        @raise SSL.Error: likewise. A client that speaks plain HTTP has been told so.
        """
        try:
            SSL.Connection.do_handshake(self)
        except SSL.Error as error:
            if self.say_plainly is not None and is_plain_http(error):
                with suppress(OSError):  # a client that is gone is refused all the same
                    self.say_plainly(PLAIN_HTTP_ANSWER)
            raise
        self.say_plainly = None


def known_of(connection: SSL.Connection) -> Any:
    """What was kept with a connection; None for one that is not ours."""
    return connection.known if isinstance(connection, TlsConnection) else None
