"""What OpenSSL contexts of both sides have in common."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.tls.certificates import Certificate, load_authorities, load_revoked
from twisted_pipe.tls.settings import SANE_CIPHERS, CipherSettings

__all__ = ["new_context", "trust", "use_certificates"]


def new_context(method: int, settings: CipherSettings) -> SSL.Context:
    """
    A context without compression and renegotiation, whose idle connections hold no buffers.

    @param method: C{SSL.TLS_SERVER_METHOD} or C{SSL.TLS_CLIENT_METHOD}.
    @raise BadConfiguration: there is no such cipher.
    """
    context = SSL.Context(method)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_min_proto_version(settings.min_version.number)
    if settings.max_version is not None:
        context.set_max_proto_version(settings.max_version.number)
    if settings.ciphers != SANE_CIPHERS:
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    try:
        context.set_cipher_list(settings.ciphers.encode())
    except SSL.Error as error:
        rule = "must be a list of ciphers of TLS 1.2, as OpenSSL writes it (openssl ciphers -v LIST)"
        raise BadConfiguration("ciphers", settings.ciphers, rule) from error
    return context


def use_certificates(context: SSL.Context, certificates: Iterable[Certificate]) -> None:
    """
    @param certificates: of different kinds of key.
    @raise BadConfiguration: a file has changed since it was read.
    """
    for certificate in certificates:
        _use_certificate(context, certificate)


def _use_certificate(context: SSL.Context, certificate: Certificate) -> None:
    try:
        # of the file: of what is in memory OpenSSL takes one chain for all kinds of key
        context.use_certificate_chain_file(certificate.files.certificate)
        context.use_privatekey(certificate.key)
        context.check_privatekey()
        for each in certificate.more:
            context.add_extra_chain_cert(each)
    except SSL.Error as error:
        said = f"OpenSSL does not take it: {_text_of(error)}"
        raise BadConfiguration("certificate", certificate.files.certificate, said) from error


def trust(context: SSL.Context, ca: tuple[str, str], crl: tuple[str, str]) -> bytes:
    """
    Verify with the CAs and the revocation lists of these files.

    @param ca: what errors call it, and the file.
    @param crl: likewise; an empty file for none.
    @return: what was in them, so that another state of them can be told.
    @raise BadConfiguration: they hold none.
    """
    store = context.get_cert_store()
    assert store is not None
    loaded = b""
    flags = crypto.X509StoreFlags.PARTIAL_CHAIN  # whoever is named is trusted, a root or not
    for authority in load_authorities(*ca):
        store.add_cert(crypto.X509.from_cryptography(authority))
        loaded += authority.public_bytes(Encoding.DER)
    if crl[1]:
        for revoked in load_revoked(*crl):
            store.add_crl(revoked)
            loaded += revoked.public_bytes(Encoding.DER)
        flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
    store.set_flags(flags)
    return loaded


def _text_of(error: SSL.Error) -> str:
    return "; ".join(str(entry[-1]) for entry in error.args[0]) if error.args else "no reason given"
