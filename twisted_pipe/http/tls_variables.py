"""Variables of a client's TLS, in nginx's names; nothing of a plain connection. For connections of any protocol."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from twisted_pipe.http.facts import ClientFacts, TlsFacts
from twisted_pipe.http.variable import Variable

__all__ = ["TLS_VARIABLES"]


def _variable(name: str, summary: str, read: Callable[[TlsFacts], str], plain: bool = False) -> Variable:
    def get(facts: ClientFacts) -> bytes | None:
        return None if facts.tls is None else read(facts.tls).encode("utf-8", "backslashreplace") or None

    return Variable(name, summary, get, plain)


TLS_VARIABLES: tuple[Variable, ...] = (
    _variable("ssl_protocol", "The version of the client's TLS, TLSv1.3.", lambda tls: tls.version, plain=True),
    _variable("ssl_cipher", "Its cipher, in OpenSSL's words.", lambda tls: tls.cipher, plain=True),
    _variable("ssl_server_name", "The host that the client's TLS asked for (SNI).", lambda tls: tls.server_name),
    _variable("ssl_alpn_protocol", "What it agreed on by ALPN, http/1.1.", lambda tls: tls.alpn),
    _variable(
        "ssl_session_reused",
        "r if it resumed a session, . if not.",
        lambda tls: "r" if tls.reused else ".",
        plain=True,
    ),
    _variable(
        "ssl_client_verify",
        "SUCCESS, FAILED:REASON, or NONE if the client sent no certificate.",
        lambda tls: tls.client_verify,
    ),
    _variable(
        "ssl_client_s_dn", "The subject of the client's certificate, as in RFC 2253.", lambda tls: tls.client_subject
    ),
    _variable("ssl_client_i_dn", "Who issued it, likewise.", lambda tls: tls.client_issuer),
    _variable("ssl_client_serial", "Its serial number, hexadecimal.", lambda tls: tls.client_serial, plain=True),
    _variable(
        "ssl_client_fingerprint", "Its SHA-1 fingerprint, hexadecimal.", lambda tls: tls.client_fingerprint, plain=True
    ),
    _variable(
        "ssl_client_escaped_cert",
        "The client's certificate in PEM form, percent-encoded.",
        lambda tls: quote(tls.client_certificate, safe=""),
        plain=True,
    ),
)
