"""The handshake of TLS on a bare socket, step by step as its bytes come."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from OpenSSL import SSL
from twisted.python.failure import Failure

from twisted_pipe.net.tls_calls import forget_errors
from twisted_pipe.net.tls_stream import CUT_OFF, why_broken

if TYPE_CHECKING:
    from twisted_pipe.net.tls_socket import TlsSocket

__all__ = ["TlsHandshake", "why_refused"]

_THROWN_AWAY = 64 * 1024  # bytes of a read
_READS = 4


class TlsHandshake:
    """
    The C{SocketOwner} of both halves of a socket until the handshake is over. It tells its outcome once, and not at all if somebody
    closes the socket who tells nobody. It has no timeout.
    """

    __slots__ = ("_connection", "_done", "_explain", "_socket")

    def __init__(
        self,
        sock: TlsSocket,
        connection: SSL.Connection,
        done: Callable[[str | None], object],
        explain: Callable[[Exception], str],
    ) -> None:
        """See L{TlsSocket.handshake}."""
        self._socket = sock
        self._connection = connection
        self._done: Callable[[str | None], object] | None = done
        self._explain = explain

    def __repr__(self) -> str:
        return f"<TlsHandshake {'over' if self._done is None else self._connection.get_state_string().decode()}>"

    def begin(self) -> None:
        """The first step; the others come with events."""
        self._socket.reader = self._socket.writer = self
        self.socket_ready()

    def socket_ready(self) -> None:
        """Go on. Whichever half has an event, it may be what OpenSSL waits for."""
        sock, connection = self._socket, self._connection
        if self._done is None:
            return  # it was over when the reading half was run
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            sock.readable = sock.writing = False
        except SSL.WantWriteError:
            sock.writable = False
            sock.writing = True
        except Exception as error:  # OpenSSL's, or raised by a callback of its context
            forget_errors()
            self._refuse(self._explain(error))
        else:
            self._leave()
            sock.shaken(connection)
            self._tell(None)

    def socket_lost(self, reason: Failure) -> None:
        """Somebody else has closed the connection."""
        self._tell(reason.getErrorMessage())

    def _leave(self) -> None:
        sock = self._socket
        sock.reader = sock.writer = None
        sock.writing = False

    def _refuse(self, why: str) -> None:
        """Close it so that the peer gets the alert that OpenSSL has sent: closing with bytes unread would take it away."""
        sock = self._socket
        self._leave()
        with suppress(OSError):
            for _ in range(_READS):
                if not sock.socket.recv(_THROWN_AWAY):
                    break
        sock.close()
        self._tell(why)

    def _tell(self, why: str | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(why)


def why_refused(error: Exception) -> str:
    """The least that can be said of a handshake that failed, for who knows no better words."""
    if not isinstance(error, SSL.Error):
        return f"{type(error).__name__}: {error}"
    found = why_broken(error)
    return "the connection ended during the handshake" if found.strerror == CUT_OFF else str(found.strerror)
