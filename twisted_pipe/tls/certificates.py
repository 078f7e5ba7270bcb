"""
Certificates, keys, CAs and revocation lists, out of files in PEM form. What is wrong with a file is told by what would be right.
"""

from __future__ import annotations

import datetime
import os
import re
import stat
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.tls.settings import CertificateFiles

__all__ = ["Certificate", "load_authorities", "load_certificate", "load_revoked", "read_file"]

T = TypeVar("T")

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")


@attrs.frozen(eq=False)
class Certificate:
    """
    @ivar files: where it is from.
    @ivar chain: the certificate itself, and those of its CAs in the same file.
    @ivar more: those of its CAs in another file.
    @ivar key: its private key, as C{cryptography} has it.
    @ivar names: the hosts it is for, lower case; C{*.example.org} for all of one label below.
    @ivar warnings: what is unwise about it, a line each.
    """

    files: CertificateFiles
    chain: tuple[x509.Certificate, ...]
    more: tuple[x509.Certificate, ...]
    key: Any
    names: frozenset[str]
    warnings: tuple[str, ...] = ()


def load_certificate(files: CertificateFiles) -> Certificate:
    """
    A certificate and its key.

    @raise BadConfiguration: C{certificate} or C{key} (which C{name} says) is none, or they do not belong together.
    """
    try:
        return _load_certificate(files)
    except BadConfiguration:
        raise
    except Exception as error:  # cryptography reads keys and extensions when they are asked for
        raise BadConfiguration("certificate", files.certificate, f"cannot be used: {error}") from error


def _load_certificate(files: CertificateFiles) -> Certificate:
    chain = _load_all("certificate", files.certificate, _CERTIFICATES, x509.load_pem_x509_certificate, "a certificate")
    key = _load_key(files.key_file)
    if _public(key.public_key()) != _public(chain[0].public_key()):
        later = any(_public(key.public_key()) == _public(each.public_key()) for each in chain[1:])
        said = f"must be the key of {files.certificate}, and it is another one's"
        if later:
            said = f"is the key of a later certificate in {files.certificate}: the server's own must stand first"
        raise BadConfiguration("key", files.key_file, said)
    warnings = [each for each in (_expiry(files.certificate, chain[0]), _readable(files.key_file)) if each]
    more = load_authorities("certificate", files.chain) if files.chain else ()
    return Certificate(files, tuple(chain), more, key, _names_of(chain[0]), tuple(warnings))


def load_authorities(option: str, path: str) -> tuple[x509.Certificate, ...]:
    """
    The CAs of a file.

    @param option: what errors call it.
    @raise BadConfiguration: it holds none.
    """
    return tuple(_load_all(option, path, _CERTIFICATES, x509.load_pem_x509_certificate, "the certificate of a CA"))


def load_revoked(option: str, path: str) -> tuple[x509.CertificateRevocationList, ...]:
    """
    The revocation lists of a file.

    @param option: what errors call it.
    @raise BadConfiguration: it holds none.
    """
    return tuple(_load_all(option, path, (b"X509 CRL",), x509.load_pem_x509_crl, "a revocation list"))


def read_file(option: str, path: str) -> bytes:
    """
    @raise BadConfiguration: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadConfiguration(option, path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def _load_all(option: str, path: str, kinds: Iterable[bytes], load: Callable[[bytes], T], wanted: str) -> list[T]:
    content = read_file(option, path)
    blocks = [match[0] for match in _BLOCK.finditer(content) if match[1] in kinds]
    if not blocks:
        hint = "; it looks like DER: openssl x509 -inform der converts it" if content[:1] == b"\x30" else ""
        raise BadConfiguration(option, path, f"must hold {wanted} in PEM form (-----BEGIN …-----){hint}")
    try:
        return [load(block) for block in blocks]
    except ValueError as error:
        raise BadConfiguration(option, path, f"must hold {wanted} in PEM form, and it is damaged: {error}") from error


def _load_key(path: str) -> Any:
    blocks = [match for match in _BLOCK.finditer(read_file("key", path)) if match[1].endswith(b"PRIVATE KEY")]
    if not blocks:
        raise BadConfiguration("key", path, "must hold a private key in PEM form (-----BEGIN PRIVATE KEY-----)")
    if b"ENCRYPTED" in blocks[0][0]:
        raise BadConfiguration(
            "key", path, "must be without a password, because nobody is there to type it: openssl pkey -in … -out …"
        )
    try:
        return load_pem_private_key(blocks[0][0], None)
    except (TypeError, ValueError) as error:
        raise BadConfiguration("key", path, "must hold a private key in PEM form, and it is damaged") from error


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _names_of(certificate: x509.Certificate) -> frozenset[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


def _expiry(path: str, certificate: x509.Certificate) -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    if now > certificate.not_valid_after_utc:
        return f"{path}: the certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        return f"{path}: the certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    return ""


def _readable(path: str) -> str:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    return f"{path}: everybody may read this private key (mode {mode:04o}); 0600 is wanted" if mode & 0o004 else ""
