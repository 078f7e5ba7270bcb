"""
Why a TLS connection did not come about, in one line of plain words.

What OpenSSL says of a handshake is a queue of (library, function, reason). The reasons that operators meet are told here by what is
to be done about them; any other is passed on as OpenSSL words it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509
from OpenSSL.SSL import X509VerificationCodes as Codes
from twisted.internet.error import ConnectionDone, ConnectionLost

from twisted_pipe.errors import PipeError, Side
from twisted_pipe.tls.distinguished import distinguished_name
from twisted_pipe.units import in_one_line

__all__ = ["PLAIN_HTTP_ANSWER", "TlsRefused", "explain", "is_plain_http", "verification_problem"]


class TlsRefused(PipeError, SSL.Error):
    """
    A handshake that we ended, and why. It is an error of OpenSSL's too: raised by a callback of a handshake, it comes out of
    C{do_handshake}, and Twisted's TLS ends the connection for it.
    """

    side = Side.CALLER

    def __init__(self, why: str) -> None:
        super().__init__([("", "", why)])  # OpenSSL's queue, which Twisted looks into
        self.why = why

    def __str__(self) -> str:
        return self.why


#: For a client that speaks HTTP where TLS is spoken (nginx answers 400, too).
PLAIN_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 49\r\nConnection: close\r\n\r\n"
    b"This port speaks HTTPS, the request was in HTTP.\n"
)

_GONE = "it closed the connection during the handshake"
_PLAIN_HTTP = ("http request", "https proxy request")
#: What OpenSSL says, and what we say; the first that is found counts.
_REASONS = (
    ("http request", "it speaks plain HTTP, not TLS"),
    ("https proxy request", "it speaks plain HTTP, not TLS"),
    ("wrong version number", "it does not speak TLS"),
    ("packet length too long", "it does not speak TLS"),
    ("unsupported protocol", "no TLS version in common"),
    ("version too low", "no TLS version in common"),
    ("no protocols available", "no TLS version in common"),
    ("alert protocol version", "it refused: no TLS version in common"),
    ("no shared cipher", "no cipher in common"),
    ("no suitable signature algorithm", "no signature algorithm in common"),
    ("no suitable key share", "no key exchange in common"),
    ("no suitable groups", "no key exchange in common"),
    ("peer did not return a certificate", "it sent no certificate, and one is wanted"),
    ("no application protocol", "no application protocol (ALPN) in common"),
    ("alert certificate expired", "it refused our certificate: expired"),
    ("alert certificate revoked", "it refused our certificate: revoked"),
    ("alert unknown ca", "it refused our certificate: unknown CA"),
    ("alert bad certificate", "it refused our certificate"),
    ("alert unsupported certificate", "it refused our certificate: wrong kind or purpose"),
    ("alert certificate unknown", "it refused our certificate"),
    ("alert certificate required", "it wants a certificate of ours"),
    ("unrecognized name", "it knows no server of that name"),
    ("alert handshake failure", "it refused the handshake: no cipher in common, or it wants a certificate of ours"),
    ("alert no application protocol", "it refused: no application protocol (ALPN) in common"),
    ("alert access denied", "it refused: access denied"),
    ("unexpected eof", _GONE),
)
_ALERT = re.compile(r"(?:(?:ss|t)lv?\d*(?:\.\d)?|ssl/tls) (alert .+)")

_UNKNOWN_CA = "its certificate is of an unknown CA"
_SELF_SIGNED = "its certificate is self-signed"
#: By X509 verification code. Each is said of the other side's certificate.
_VERIFICATION = {
    Codes.ERR_CERT_HAS_EXPIRED: "its certificate has expired",
    Codes.ERR_CERT_NOT_YET_VALID: "its certificate is not yet valid",
    Codes.ERR_UNABLE_TO_GET_ISSUER_CERT: _UNKNOWN_CA,
    Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: _UNKNOWN_CA,
    Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: _UNKNOWN_CA,
    Codes.ERR_CERT_UNTRUSTED: _UNKNOWN_CA,
    Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: _UNKNOWN_CA,
    Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: _SELF_SIGNED,
    Codes.ERR_CERT_REVOKED: "its certificate has been revoked",
    Codes.ERR_CERT_CHAIN_TOO_LONG: "its chain of certificates is longer than allowed",
    Codes.ERR_INVALID_PURPOSE: "its certificate is not meant for this purpose",
    Codes.ERR_UNABLE_TO_GET_CRL: "there is no revocation list of its CA",
    Codes.ERR_CRL_HAS_EXPIRED: "the revocation list has expired",
    Codes.ERR_CRL_NOT_YET_VALID: "the revocation list is not yet valid",
    Codes.ERR_CERT_SIGNATURE_FAILURE: "the signature of its certificate is wrong",
    Codes.ERR_INVALID_CA: "its certificate was issued by one that is no CA",
}


def verification_problem(code: int, certificate: X509 | None = None) -> str:
    """
    What a certificate is refused for.

    @param code: OpenSSL's (C{X509_V_ERR_…}).
    @param certificate: which; named in what is said.
    """
    said = _VERIFICATION.get(code, f"its certificate cannot be verified (OpenSSL error {code})")
    if certificate is None:
        return said
    try:
        subject = distinguished_name(certificate.to_cryptography())
    except ValueError:  # OpenSSL takes names that cryptography cannot read
        subject = "a subject that cannot be read"
    return f"{said} ({subject or 'no subject'})"


def explain(error: BaseException) -> str:
    """
    Why a handshake failed, as said of the other side: C{"its certificate has expired (CN=example.org)"}.

    @param error: what C{do_handshake} raised, or what Twisted lost the connection for.
    """
    if isinstance(error, SSL.Error) and not isinstance(error, (TlsRefused, SSL.SysCallError)):
        reasons = list(_reasons_of(error))
        said = next((ours for text, ours in _REASONS if any(text in each for each in reasons)), None)
        return said or _plain(reasons) or _GONE
    if isinstance(error, SSL.SysCallError):
        number, text = (*error.args, "", "")[:2]
        return _GONE if number == -1 else f"connection lost: {text}"
    if isinstance(error, (ConnectionDone, ConnectionLost)):
        return _GONE
    # what comes of the other side may hold anything, and is written to logs
    said_by = " ".join(str(error).split())
    return in_one_line(said_by) or type(error).__name__


def is_plain_http(error: BaseException) -> bool:
    """Whether a handshake failed because the client spoke HTTP; then it is owed L{PLAIN_HTTP_ANSWER}."""
    return isinstance(error, SSL.Error) and any(each in _PLAIN_HTTP for each in _reasons_of(error))


def _reasons_of(error: BaseException) -> Iterator[str]:
    """What OpenSSL says, in lower case."""
    queue: Any = error.args[0] if error.args else ()
    for entry in queue if isinstance(queue, (list, tuple)) else ():
        yield str(entry[-1]).lower()


def _plain(reasons: list[str]) -> str:
    """What OpenSSL says of an alert is said shorter."""
    texts = [f"it sent {match[1]}" if (match := _ALERT.fullmatch(each)) else each for each in reasons if each]
    return "; ".join(dict.fromkeys(texts))
