"""TLS in front of the proxy: what is encrypted for the client is plain for the upstream."""

from __future__ import annotations

import datetime
import hashlib
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest_twisted
from conftest import MIB, Origin, Running
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from programs import free_port, peer
from twisted.internet.threads import deferToThread

Start = Callable[..., Running]


def certificate(path: Path) -> Path:
    """A key and a certificate of its own, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


def fetch(port: int, name: str) -> bytes:
    """The body of an answer, through TLS, by a client that offers no ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, context.wrap_socket(plain) as client:
        client.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")[2]


@pytest_twisted.ensureDeferred
async def test_tls_listener(origin: Origin, start_pipe: Start, tmp_path: Path) -> None:
    """The fast path must not find the socket below the TLS and pass its bytes on as they are."""
    expected = origin.file("8m", 8 * MIB)
    pem = certificate(tmp_path / "both.pem")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    listen = f"ssl:{port}:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    pipe = start_pipe("--listen", listen, "--upstream", origin.upstream)
    for _ in range(3):
        body = await deferToThread(fetch, port, "8m")
        assert hashlib.md5(body, usedforsecurity=False).hexdigest() == expected
    assert pipe.process.poll() is None


@pytest_twisted.ensureDeferred
async def test_clients_that_offer_alpn(origin: Origin, start_pipe: Start, tmp_path: Path) -> None:
    """As every browser and curl do: h2 and http/1.1."""
    expected = origin.file("8m", 8 * MIB)
    pem = certificate(tmp_path / "both.pem")
    port = free_port()
    listen = f"ssl:{port}:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    pipe = start_pipe("--listen", listen, "--protocol=http", "--upstream", f"http://127.0.0.1:{origin.port}")
    command = [peer("curl"), "-skv", "-m", "20", f"https://127.0.0.1:{port}/8m"]
    done = await deferToThread(subprocess.run, command, capture_output=True, timeout=30)
    assert hashlib.md5(done.stdout, usedforsecurity=False).hexdigest() == expected, done.stderr
    assert b"offers h2,http/1.1" in done.stderr
    assert b"ALPN: server accepted http/1.1" in done.stderr
    assert pipe.process.poll() is None
