"""A certificate for 127.0.0.1, and the one cipher that all are measured with."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CIPHER", "write_certificate"]

#: With TLS 1.2: for TLS 1.3 Python's ssl, which is the client here, does not let the cipher be chosen.
CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256"


def write_certificate(path: Path) -> None:
    """Key (ECDSA P-256, as L{CIPHER} needs) and certificate, new, in one PEM file."""
    import trustme  # not installed everywhere, and needed for one case only

    issued = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
