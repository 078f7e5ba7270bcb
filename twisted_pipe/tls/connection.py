"""A connection of OpenSSL's, with what we know of it."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

__all__ = ["TlsConnection", "known_of"]


class TlsConnection(SSL.Connection):
    """
    pyOpenSSL hands the same object to its callbacks. Its C{app_data} is Twisted's, where Twisted carries the bytes.

    @ivar known: what the callbacks have to know.
    """

    known: Any = None


def known_of(connection: SSL.Connection) -> Any:
    """What was kept with a connection; None for one that is not ours."""
    return connection.known if isinstance(connection, TlsConnection) else None
