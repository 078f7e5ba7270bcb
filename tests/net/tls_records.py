"""Records of TLS 1.3, made by hand: pyOpenSSL has no way to update keys."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.net.tls_peer import SECRETS, TlsPeer

_ALERT, _HANDSHAKE, _BYTES = 21, 22, 23
_TAG = 16


class Records:
    """
    What an end may send from here on (RFC 8446, sections 5.2, 5.3 and 7.3), by C{TLS_AES_256_GCM_SHA384}. Its OpenSSL must not
    send any more.
    """

    def __init__(self, secret: bytes, sent: int) -> None:
        """
        @param secret: its C{application_traffic_secret_0}.
        @param sent: how many records it has sent under that.
        """
        self._use(secret)
        self._sent = sent

    def bytes_of(self, data: bytes) -> bytes:
        """A record of the stream."""
        return self._record(_BYTES, data)

    def key_update(self, answer: bool) -> bytes:
        """
        A record that says that the next ones are under another key (section 4.6.3).

        @param answer: whether the other end has to say the same.
        """
        record = self._record(_HANDSHAKE, bytes((24, 0, 0, 1, answer)))
        self._use(_derive(self._secret, b"traffic upd", 48))
        return record

    def close_notify(self) -> bytes:
        """The record behind which no other comes."""
        return self._record(_ALERT, b"\1\0")

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = AESGCM(_derive(secret, b"key", 32))
        self._mask = int.from_bytes(_derive(secret, b"iv", 12), "big")
        self._sent = 0

    def _record(self, kind: int, content: bytes) -> bytes:
        head = b"\x17\3\3" + (len(content) + 1 + _TAG).to_bytes(2, "big")
        nonce = (self._mask ^ self._sent).to_bytes(12, "big")
        self._sent += 1
        return head + self._cipher.encrypt(nonce, content + bytes((kind,)), head)


def _derive(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label, without a context."""
    name = b"tls13 " + label
    return HKDFExpand(SHA384(), size, size.to_bytes(2, "big") + bytes((len(name),)) + name + b"\0").derive(secret)


def records_of(peer: TlsPeer) -> Records:
    """Of one whose handshake is over, and that has sent no bytes since."""
    return Records(*SECRETS[peer.connection])
