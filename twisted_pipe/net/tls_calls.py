"""
C{SSL_read} and C{SSL_write} without what pyOpenSSL does around them.

Its C{recv} allocates as many bytes as are asked for, and copies; its C{recv} and C{send} look for what callbacks of a handshake
have raised, which after the handshake is in vain. So the same functions are called here on a buffer that is always there, or right
on the caller's, and only what went wrong is left to pyOpenSSL: 2 us less of a small request, and a copy less of a large one.

And C{SSL_read} goes on by itself behind a record that holds no bytes of the stream: for as long as a client sends KeyUpdates (RFC
8446, section 4.6.3) or asks for renegotiations (TLS 1.2), which it can do faster than they are looked at. Here it says after each
that it wants to read, however much there is (C{SSL_MODE_AUTO_RETRY}, cleared).

This needs pyOpenSSL's insides (which Twisted uses, too). One that has others is used by its methods, as it is.
"""

from __future__ import annotations

from typing import Any, Protocol

from OpenSSL import SSL

from twisted_pipe.interfaces import BytesLike

try:
    from OpenSSL._util import ffi, lib
except ImportError:  # it has no such insides
    ffi = lib = None

__all__ = ["TlsCalls", "calls_of", "forget_errors"]

_SIZE = 68 * 1024  # bytes of the largest read that is copied


class TlsCalls(Protocol):
    """What is called once a connection stands. Each raises C{SSL.Error}s as pyOpenSSL does."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """
        At most C{size} bytes of one record.

        @raise SSL.WantReadError: the next record is not whole, or nothing of it was for us.
        """

    def recv_into(self, view: memoryview) -> int:
        """The same into C{view}. Returns how many."""

    def send(self, data: BytesLike) -> int:
        """Encrypt and send one record of C{data}, which is not empty. Returns how many bytes are in it."""


def calls_of(connection: SSL.Connection) -> TlsCalls:
    """Those of C{connection}, in the reactor's thread only."""
    return _Direct(connection) if _known(connection) else connection


def forget_errors() -> None:
    """
    To be called when an error has been handled: pyOpenSSL leaves what a failed system call has put in OpenSSL's queue, and OpenSSL
    before version 4 takes that for the next connection's.
    """
    if lib is not None:
        lib.ERR_clear_error()


def _known(connection: SSL.Connection) -> bool:
    functions = [
        getattr(lib, name, None) for name in ("SSL_read", "SSL_write", "SSL_clear_mode", "SSL_MODE_AUTO_RETRY")
    ]
    return (
        None not in (*functions, getattr(ffi, "from_buffer", None))
        and hasattr(connection, "_ssl")
        and hasattr(connection, "_raise_ssl_error")
    )


class _Direct:
    """A L{TlsCalls}."""

    __slots__ = ("_connection", "_ssl", "_tell")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._ssl = connection._ssl
        self._tell = connection._raise_ssl_error  # always raises for a result that is not above 0
        lib.SSL_clear_mode(self._ssl, lib.SSL_MODE_AUTO_RETRY)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if flags or size > _SIZE:
            data: bytes = self._connection.recv(size, flags)
            return data
        got = _read(self._ssl, _buffer, size)
        if got <= 0:
            self._tell(self._ssl, got)
        return _content(_buffer, got)[:]  # type: ignore[no-any-return]

    def recv_into(self, view: memoryview) -> int:
        with _from_buffer(view, require_writable=True) as buffer:
            got: int = _read(self._ssl, buffer, len(view))
        if got <= 0:
            self._tell(self._ssl, got)
        return got

    def send(self, data: BytesLike) -> int:
        if type(data) is bytes:
            sent: int = _write(self._ssl, data, len(data))
        else:
            with _from_buffer(data) as buffer:
                sent = _write(self._ssl, buffer, len(buffer))
        if sent <= 0:
            self._tell(self._ssl, sent)
        return sent


if lib is not None:
    _read, _write, _content, _from_buffer = lib.SSL_read, lib.SSL_write, ffi.buffer, ffi.from_buffer
    _buffer: Any = ffi.new("char[]", _SIZE)
