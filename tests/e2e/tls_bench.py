"""What the tests of TLS with real programs have in common: certificates, nginx, C{twisted-pipe}, and clients."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trustme
from configured import configured
from conftest import Running
from nginx import http_block, running_nginx
from programs import free_port

__all__ = ["Files", "Origins", "curl", "origins", "proxy", "s_client"]

PAST = datetime.datetime(2020, 1, 1)
HTTP = """
    client_max_body_size 1g;
    ssl_protocols TLSv1.2 TLSv1.3;
"""
SERVER = """
    server {{
        listen 127.0.0.1:{port} {listen};
        {tls}
        root {directory}/www;
        location /put/ {{ dav_methods PUT; create_full_put_path on; }}
        location = /facts {{ return 200 "$ssl_protocol $ssl_session_reused $ssl_server_name $http_x_facts\\n"; }}
    }}
"""


class Files:
    """
    Certificates.

    @ivar folder: where they are. C{ca.pem} is the CA of all but those of C{other.pem}.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first, self.other = trustme.CA(), trustme.CA()
        self.first.cert_pem.write_to_path(folder / "ca.pem")
        self.other.cert_pem.write_to_path(folder / "other.pem")

    def issue(self, file: str, *names: str, ca: trustme.CA | None = None, expired: bool = False) -> Path:
        """A certificate and its key in one file, put in its place at once."""
        options: dict[str, Any] = {"not_before": PAST, "not_after": PAST.replace(month=2)} if expired else {}
        issued = (ca or self.first).issue_cert(*names, common_name=names[0], **options)
        path = self.folder / file
        new = path.with_suffix(".new")
        new.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        new.chmod(0o600)
        os.replace(new, path)
        return path


@attrs.define
class Origins:
    """
    @ivar ports: of nginx's servers: C{plain}, and others by what is with their TLS.
    @ivar root: their files.
    """

    ports: dict[str, int]
    root: Path


@contextmanager
def origins(files: Files, directory: Path) -> Iterator[Origins]:
    """One nginx with a server for each way that TLS can be right or wrong."""
    (directory / "www" / "put").mkdir(parents=True)
    settings = {
        "plain": "",
        "right": _certificate(files.issue("right.pem", "a.example", "127.0.0.1")),
        "expired": _certificate(files.issue("expired.pem", "a.example", expired=True)),
        "wrong_name": _certificate(files.issue("wrong.pem", "b.example")),
        "wrong_ca": _certificate(files.issue("stranger.pem", "a.example", ca=files.other)),
        "wants_ours": _certificate(files.folder / "right.pem")
        + f"ssl_verify_client on; ssl_client_certificate {files.folder}/ca.pem;",
        "old": _certificate(files.folder / "right.pem") + "ssl_protocols TLSv1.2;",
    }
    ports = {name: free_port() for name in settings}
    servers = "".join(
        SERVER.format(port=ports[name], listen="ssl" if tls else "", tls=tls, directory=directory)
        for name, tls in settings.items()
    )
    with running_nginx(directory, http_block(HTTP + servers), *ports.values()):
        yield Origins(ports, directory / "www")


def _certificate(path: Path) -> str:
    return f"ssl_certificate {path}; ssl_certificate_key {path};"


@contextmanager
def proxy(directory: Path, text: str, reactor: str = "") -> Iterator[Running]:
    """
    @param text: the configuration, in which C{PORT} stands for the port.
    @param reactor: of C{twistd}; else it is C{twisted-pipe}, on its own.
    """
    port = free_port()
    directory.mkdir(exist_ok=True)
    with configured(directory, text.replace("PORT", str(port)), port, reactor) as running:
        yield running
        assert running.process.poll() is None, running.log
        assert "Traceback" not in running.log, running.log


def curl(files: Files, port: int, name: str, path: str = "/facts", *options: str) -> subprocess.CompletedProcess[bytes]:
    """Ask for C{https://NAME/PATH} there."""
    return subprocess.run(
        [
            *("curl", "-sS", "-m", "20", "--cacert", str(files.folder / "ca.pem")),
            *("--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}{path}", *options),
        ],
        capture_output=True,
        timeout=30,
    )


def s_client(files: Files, port: int, *options: str) -> str:
    """What C{openssl s_client} says of a connection that sends a request."""
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(files.folder / "ca.pem")),
            *("-ign_eof", *options),
        ],
        input=b"GET /facts HTTP/1.0\r\nHost: a.example\r\n\r\n",
        capture_output=True,
        timeout=30,
    )
    return (done.stdout + done.stderr).decode(errors="replace")
