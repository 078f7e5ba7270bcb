"""Records of a TLS 1.3 client, made by hand: OpenSSL updates its keys only when it likes."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.net.tls_peer import SECRETS, TlsPeer

_HANDSHAKE, _BYTES = 22, 23
_TAG = 16


class ClientRecords:
    """
    What a client may send from here on (RFC 8446, sections 5.2, 5.3 and 7.3), by C{TLS_AES_256_GCM_SHA384}. After a
    L{key_update} its OpenSSL must not send any more.
    """

    def __init__(self, secret: bytes) -> None:
        """
        @param secret: C{client_application_traffic_secret_0}; nothing has been sent under it.
        """
        self._use(secret)

    def bytes_of(self, data: bytes) -> bytes:
        """A record of the stream."""
        return self._record(_BYTES, data)

    def key_update(self, answer: bool) -> bytes:
        """
        A record that says that the next ones are under another key (section 4.6.3).

        @param answer: whether the server has to say the same.
        """
        record = self._record(_HANDSHAKE, bytes((24, 0, 0, 1, answer)))
        self._use(_derive(self._secret, b"traffic upd", 48))
        return record

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


def records_of(peer: TlsPeer) -> ClientRecords:
    """Of a client whose handshake is over, and that has sent nothing since."""
    return ClientRecords(SECRETS[peer.connection])
