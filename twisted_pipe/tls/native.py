"""
Three calls of OpenSSL that pyOpenSSL makes itself and does not offer.

This is the only place that looks into pyOpenSSL's private parts:

  - Its callback for server names can refuse a name only by an exception, which it prints with a traceback and forgets.
  - It does not tell whether a session was resumed.
  - What it sets for the verification of one connection is a callback of its own for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

__all__ = ["on_server_name", "session_reused", "verify_as"]

_UNRECOGNIZED_NAME = 112  # RFC 8446, section 6.2
_GO_ON, _ALERT_FATAL = 0, 2  # SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_ALERT_FATAL

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]


def on_server_name(context: SSL.Context, choose: Callable[[SSL.Connection], None]) -> None:
    """
    Ask C{choose} for every connection of a context when the client has said what it wants, with or without a name. Whether a
    session is resumed is known by then. A client whose hello is asked for again (RFC 8446, section 4.1.4) is asked about twice.

    @param choose: it may change the connection's context. What it raises comes out of C{do_handshake}, and the client gets the
        alert C{unrecognized_name}.
    """
    raised: Any = SSL._CallbackExceptionHelper()

    def called(ssl: Any, alert: Any, _: Any) -> int:
        connection = SSL.Connection._reverse_mapping[ssl]
        try:
            choose(connection)
        except Exception as error:
            # do_handshake looks for it in the connection's context. That is another one by now if this is the client's second
            # hello (HelloRetryRequest), and here it would wait for the next client.
            connection.set_context(context)
            raised._problems.append(error)
            alert[0] = _UNRECOGNIZED_NAME
            return _ALERT_FATAL
        return _GO_ON

    inside: Any = context
    inside._ocsp_helper = (
        raised  # a place where do_handshake looks for what callbacks have raised; OCSP itself is not used
    )
    inside._tlsext_servername_callback = _ffi.callback("int (*)(SSL *, int *, void *)", called)
    _lib.SSL_CTX_set_tlsext_servername_callback(inside._context, inside._tlsext_servername_callback)


def session_reused(connection: SSL.Connection) -> bool:
    """Whether the handshake resumes, or has resumed, an earlier session."""
    inside: Any = connection
    return bool(_lib.SSL_session_reused(inside._ssl))


def verify_as(connection: SSL.Connection, context: SSL.Context) -> None:
    """Verify the other side as C{context} says: that does not follow when a connection changes its context."""
    inside: Any = connection
    verifying: Any = context
    callback = verifying._verify_callback or _ffi.NULL
    inside._verify_helper, inside._verify_callback = verifying._verify_helper, verifying._verify_callback
    _lib.SSL_set_verify(inside._ssl, context.get_verify_mode(), callback)
