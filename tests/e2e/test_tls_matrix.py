"""
TLS with real programs on both sides: curl and C{openssl s_client}, nginx as a TLS origin, on our reactor and on another one.

What is refused is refused with one line in the log that says why.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
from conftest import MIB, Running
from programs import wait_until
from tls_bench import Files, Origins, curl, origins, proxy, s_client

CONFIGURATION = """
temp_path = "{directory}"

[upstreams.plain]
servers = ["127.0.0.1:{plain}"]

[[servers]]
listen = {{ address = "127.0.0.1:PORT" }}
names = "a.example"
client_max_body_size = 0
tls = {{ certificate = "{files}/a.pem", reject_unknown_names = {reject} }}
[[servers.routes]]
prefix = "/"
proxy = "plain"
request_headers.set.X-Facts = "$ssl_protocol $ssl_server_name $ssl_client_verify $ssl_alpn_protocol"

[[servers]]
listen = "127.0.0.1:PORT"
names = ["b.example", "*.b.example"]
tls = {{ certificate = "{files}/b.pem", verify_client = "on", client_ca = "{files}/ca.pem" }}
[[servers.routes]]
prefix = "/"
proxy = "plain"
request_headers.set.X-Facts = "$ssl_client_verify $ssl_client_s_dn $ssl_client_serial $ssl_client_fingerprint"
"""
UPSTREAM = """
[upstreams.{name}]
servers = ["127.0.0.1:{port}"]
keepalive = {keepalive}
[upstreams.{name}.tls]
trusted_ca = "{files}/ca.pem"
server_name = "a.example"
{more}
"""
UPSTREAM_SERVER = """
[[servers]]
listen = "127.0.0.1:PORT"
client_max_body_size = 0
"""
ROUTE = """
[[servers.routes]]
prefix = "/{name}/"
uri = "/"
proxy = "{name}"
"""

REACTORS = ("epollet", "epoll")


@attrs.frozen
class Bench:
    """Certificates, and nginx."""

    files: Files
    origins: Origins

    def configuration(self, directory: Path, reject: bool = False) -> str:
        return CONFIGURATION.format(
            directory=directory,
            files=self.files.folder,
            plain=self.origins.ports["plain"],
            reject="true" if reject else "false",
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    files = Files(tmp_path_factory.mktemp("certificates"))
    files.issue("a.pem", "a.example")
    files.issue("b.pem", "b.example", "*.b.example")
    files.issue("alice.pem", "alice@example.org")
    files.issue("late.pem", "late@example.org", expired=True)
    files.issue("eve.pem", "eve@example.org", ca=files.other)
    with origins(files, tmp_path_factory.mktemp("nginx")) as found:
        yield Bench(files, found)


@pytest.fixture(scope="module", params=REACTORS)
def server(bench: Bench, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("proxy")
    with proxy(directory, bench.configuration(directory), request.param) as running:
        yield running


def refusals(running: Running) -> list[str]:
    return [line.partition("refused: ")[2] for line in running.log.splitlines() if "refused: " in line]


def check_refused(running: Running, before: int, why: str) -> None:
    """One more than before, for that."""
    wait_until(lambda: len(refusals(running)) > before, 10, f"a line that says {why}\n{running.log[-2000:]}")
    (said,) = refusals(running)[before:]
    assert said.startswith(f"TLS: {why}"), said


VERSIONS = {"1.2": ("--tls-max", "1.2"), "1.3": ("--tlsv1.3",)}


@pytest.mark.parametrize("version", VERSIONS)
def test_names(bench: Bench, server: Running, version: str) -> None:
    done = curl(bench.files, server.port, "a.example", "/facts", *VERSIONS[version])
    assert done.stdout.split() == [f"TLSv{version}".encode(), b"a.example", b"NONE", b"http/1.1"], done.stderr
    alice = ("--cert", str(bench.files.folder / "alice.pem"))
    for name in ("b.example", "x.b.example"):
        done = curl(bench.files, server.port, name, "/facts", *VERSIONS[version], *alice)
        assert b"SUCCESS CN=alice@example.org" in done.stdout, done.stderr
    done = curl(bench.files, server.port, "c.example", "/facts", "-k", *VERSIONS[version])
    assert b"c.example NONE" in done.stdout, done.stderr  # by the default server


def test_no_name(bench: Bench, server: Running) -> None:
    said = s_client(bench.files, server.port, "-noservername", "-verify_hostname", "a.example")
    assert "Verification: OK" in said
    assert " NONE" in said


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        ("", "it sent no certificate, and one is wanted"),
        ("eve.pem", "its certificate is of an unknown CA (CN=eve@example.org"),
        ("late.pem", "its certificate has expired (CN=late@example.org"),
    ],
)
def test_certificates_of_clients(bench: Bench, server: Running, version: str, certificate: str, why: str) -> None:
    before = len(refusals(server))
    given = ("--cert", str(bench.files.folder / certificate)) if certificate else ()
    done = curl(bench.files, server.port, "b.example", "/facts", *VERSIONS[version], *given)
    assert done.returncode != 0
    assert b"alert" in done.stderr or b"verification failed" in done.stderr, done.stderr
    check_refused(server, before, why)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions(bench: Bench, server: Running, version: str, tmp_path: Path) -> None:
    """Are resumed; with the default server only, because the other one asks for certificates."""
    path = str(tmp_path / "session")
    options = (version, "-servername", "a.example")
    assert "\nNew, " in s_client(bench.files, server.port, *options, "-sess_out", path)
    assert "\nReused, " in s_client(bench.files, server.port, *options, "-sess_in", path)


def test_a_session_is_no_way_around_a_certificate(bench: Bench, server: Running, tmp_path: Path) -> None:
    path = str(tmp_path / "session")
    s_client(bench.files, server.port, "-tls1_3", "-servername", "a.example", "-sess_out", path)
    before = len(refusals(server))
    said = s_client(bench.files, server.port, "-tls1_3", "-servername", "b.example", "-sess_in", path)
    assert "unrecognized name" in said
    check_refused(server, before, "it resumes a session with 'b.example' that was made with another server")


def test_nor_is_a_host_other_than_the_name(bench: Bench, server: Running) -> None:
    options = ("-H", "Host: b.example", "-o", "/dev/null", "-w", "%{http_code}")
    assert curl(bench.files, server.port, "a.example", "/facts", *options).stdout == b"421"
    alice = ("--cert", str(bench.files.folder / "alice.pem"))
    options = ("-H", "Host: x.b.example", *alice, "-w", "%{http_code}")
    assert curl(bench.files, server.port, "b.example", "/facts", *options).stdout.endswith(b"200")


def test_only_http_1_0(bench: Bench, server: Running) -> None:
    """As curl has offered it for a while."""
    done = curl(bench.files, server.port, "a.example", "/facts", "--http1.0")
    assert done.stdout.split()[-1:] in ([b"http/1.0"], [b"http/1.1"]), done.stderr
    assert "ALPN protocol: http/1.0" in s_client(bench.files, server.port, "-alpn", "http/1.0")


def test_only_http_2(bench: Bench, server: Running) -> None:
    before = len(refusals(server))
    said = s_client(bench.files, server.port, "-alpn", "h2")
    assert "no application protocol" in said
    check_refused(server, before, "it speaks only h2 (ALPN)")
    assert "ALPN protocol: http/1.1" in s_client(bench.files, server.port, "-alpn", "h2,http/1.1")


def test_no_version_in_common(bench: Bench, server: Running) -> None:
    before = len(refusals(server))
    assert curl(bench.files, server.port, "a.example", "/facts", "--tls-max", "1.1").returncode != 0
    check_refused(server, before, "no TLS version in common")


def test_plain_http(server: Running) -> None:
    before = len(refusals(server))
    command = ["curl", "-s", "-m", "5", "-w", "%{http_code}", f"http://127.0.0.1:{server.port}/"]
    assert subprocess.run(command, capture_output=True, timeout=10).stdout.endswith(b"400")
    check_refused(server, before, "it speaks plain HTTP, not TLS")


def test_half_a_handshake(server: Running) -> None:
    before = len(refusals(server))
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01")
    check_refused(server, before, "it closed the connection during the handshake")


def test_much(bench: Bench, server: Running, tmp_path: Path) -> None:
    """64 MiB, both ways."""
    content = os.urandom(MIB) * 64
    (tmp_path / "much").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    sent = curl(bench.files, server.port, "a.example", "/put/much", "-T", str(tmp_path / "much"))
    assert sent.returncode == 0, sent.stderr
    assert hashlib.sha256((bench.origins.root / "put" / "much").read_bytes()).hexdigest() == digest
    received = curl(bench.files, server.port, "a.example", "/put/much")
    assert hashlib.sha256(received.stdout).hexdigest() == digest


@pytest.mark.parametrize("reactor", REACTORS)
def test_unknown_names_are_refused(bench: Bench, tmp_path: Path, reactor: str) -> None:
    with proxy(tmp_path, bench.configuration(tmp_path, reject=True), reactor) as running:
        assert curl(bench.files, running.port, "a.example").returncode == 0
        for options, why in (
            (("-servername", "c.example"), "no server is named 'c.example'"),
            (("-noservername",), "it asks for no server by name (SNI)"),
        ):
            before = len(refusals(running))
            assert "unrecognized name" in s_client(bench.files, running.port, *options)
            check_refused(running, before, why)


@pytest.mark.parametrize("reactor", REACTORS)
def test_a_handshake_that_takes_too_long(bench: Bench, tmp_path: Path, reactor: str) -> None:
    text = bench.configuration(tmp_path).replace(
        "reject_unknown_names", "handshake_timeout = 0.5, reject_unknown_names"
    )
    with proxy(tmp_path, text, reactor) as running:
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=10) as client,
            suppress(ConnectionResetError),
        ):
            assert client.recv(10) == b""
        check_refused(running, 0, "handshake timeout of 0.5 s expired")


STREAM = """
[upstreams.app]
servers = ["127.0.0.1:{port}"]
tls = {{ trusted_ca = "{files}/ca.pem", server_name = "a.example" }}

[[servers]]
protocol = "tcp"
listen = "127.0.0.1:PORT"
proxy = "app"
tls = {{ certificate = "{files}/a.pem", verify_client = "optional", client_ca = "{files}/ca.pem" }}
"""


@pytest.mark.parametrize("reactor", REACTORS)
def test_any_protocol(bench: Bench, tmp_path: Path, reactor: str) -> None:
    """What is inside the client's TLS goes on inside another."""
    text = STREAM.format(port=bench.origins.ports["right"], files=bench.files.folder)
    content = os.urandom(MIB) * 16
    (tmp_path / "some").write_bytes(content)
    with proxy(tmp_path / "proxy", text, reactor) as running:
        assert curl(bench.files, running.port, "a.example").stdout.split() == [b"TLSv1.3", b".", b"a.example"]
        path = f"/put/{reactor}"
        assert curl(bench.files, running.port, "a.example", path, "-T", str(tmp_path / "some")).returncode == 0
        assert curl(bench.files, running.port, "a.example", path).stdout == content
        eve = ("--cert", str(bench.files.folder / "eve.pem"))
        assert curl(bench.files, running.port, "a.example", "/facts", *eve).returncode != 0
        check_refused(running, 0, "its certificate is of an unknown CA (CN=eve@example.org")
    with proxy(tmp_path / "again", text.replace('"a.example"', '"c.example"'), reactor) as running:
        assert curl(bench.files, running.port, "a.example").stdout == b""
        wait_until(lambda: "its certificate is not for c.example" in running.log, 5, running.log)


# upstreams

REFUSED = {
    "expired": "its certificate has expired (CN=a.example",
    "wrong_name": "its certificate is not for a.example but for b.example",
    "wrong_ca": "its certificate is of an unknown CA (CN=a.example",
    "too_old": "no TLS version in common",
    "not_tls": "it does not speak TLS",
}


@pytest.fixture(scope="module", params=REACTORS)
def to_tls(bench: Bench, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """C{/NAME/} is passed on to the origin of that name."""
    ports, files = bench.origins.ports, bench.files.folder
    alice = f'certificate = "{files}/alice.pem"'
    upstreams = {
        "right": ("right", ""),
        "expired": ("expired", ""),
        "wrong_name": ("wrong_name", ""),
        "wrong_ca": ("wrong_ca", ""),
        "wants_ours": ("wants_ours", alice),
        "without_ours": ("wants_ours", ""),
        "unverified": ("wrong_ca", "verify = false"),
        "old": ("old", ""),
        "too_old": ("old", 'min_version = "1.3"'),
        "not_tls": ("plain", ""),
        "fresh": ("right", ""),
        "fresh_old": ("old", ""),
        "fresh_always": ("right", "session_reuse = false"),
    }
    text = "".join(
        UPSTREAM.format(name=name, port=ports[origin], files=files, more=more, keepalive=8 * (name[:5] != "fresh"))
        for name, (origin, more) in upstreams.items()
    )
    text += UPSTREAM_SERVER + "".join(ROUTE.format(name=name) for name in upstreams)
    with proxy(tmp_path_factory.mktemp("proxy"), text, request.param) as running:
        yield running


def fetch(port: int, path: str, *options: str) -> tuple[bytes, bytes]:
    """Status, and body."""
    done = subprocess.run(
        ["curl", "-sS", "-m", "20", "-w", "\n%{http_code}", f"http://127.0.0.1:{port}{path}", *options],
        capture_output=True,
        timeout=30,
    )
    body, _, status = done.stdout.rpartition(b"\n")
    return status, body


@pytest.mark.parametrize("name", ["right", "unverified", "wants_ours", "old"])
def test_upstreams(to_tls: Running, name: str) -> None:
    status, body = fetch(to_tls.port, f"/{name}/facts")
    version = b"TLSv1.2" if name == "old" else b"TLSv1.3"
    assert (status, body.split()[0], body.split()[2]) == (b"200", version, b"a.example")


@pytest.mark.parametrize("name", REFUSED)
def test_upstreams_that_are_refused(to_tls: Running, name: str) -> None:
    before = len(to_tls.log)
    assert fetch(to_tls.port, f"/{name}/facts")[0] == b"502"
    wait_until(lambda: REFUSED[name] in to_tls.log[before:], 5, f"{REFUSED[name]} in {to_tls.log[before:]}")


def test_an_upstream_that_wants_a_certificate(to_tls: Running) -> None:
    """nginx says so by an answer."""
    status, body = fetch(to_tls.port, "/without_ours/facts")
    assert status == b"400"
    assert b"No required SSL certificate was sent" in body


@pytest.mark.parametrize(("name", "again"), [("fresh", b"r"), ("fresh_old", b"r"), ("fresh_always", b".")])
def test_sessions_with_upstreams_are_resumed(to_tls: Running, name: str, again: bytes) -> None:
    """With a connection for each request."""
    seen = [fetch(to_tls.port, f"/{name}/facts")[1].split()[1] for _ in range(4)]
    assert seen == [b".", again, again, again]


def test_much_to_and_from_an_upstream(bench: Bench, to_tls: Running, tmp_path: Path) -> None:
    content = os.urandom(MIB) * 64
    (tmp_path / "much").write_bytes(content)
    assert fetch(to_tls.port, "/right/put/back", "-T", str(tmp_path / "much"))[0] in (b"201", b"204")
    assert (bench.origins.root / "put" / "back").read_bytes() == content
    assert fetch(to_tls.port, "/right/put/back")[1] == content


# reload


def replace(path: Path, data: bytes) -> None:
    """In one step: nobody reads an empty file."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)


class Load:
    """Clients that connect, ask and leave, for as long as C{going} is set."""

    def __init__(self, files: Files, port: int) -> None:
        self.port = port
        self.going = threading.Event()
        self.going.set()
        self.serials: list[int] = []
        self.failures: list[str] = []
        self._context = ssl.create_default_context(cafile=str(files.folder / "ca.pem"))

    def run(self) -> None:
        while self.going.is_set():
            self._safely()

    def _safely(self) -> None:
        try:
            self._once()
        except Exception as error:
            self.failures.append(repr(error))

    def _once(self) -> None:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
            self._context.wrap_socket(plain, server_hostname="a.example") as client,
        ):
            certificate = client.getpeercert()
            for _ in range(3):
                client.sendall(b"GET /facts HTTP/1.1\r\nHost: a.example\r\n\r\n")
                answer = client.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 "), answer
            assert certificate is not None
            self.serials.append(int(str(certificate["serialNumber"]), 16))


@pytest.mark.parametrize("reactor", REACTORS)
def test_a_certificate_is_replaced_under_load(bench: Bench, tmp_path: Path, reactor: str) -> None:
    """No connection is lost, new ones get the new certificate, and a broken file changes nothing."""
    files = Files(tmp_path)
    path = files.issue("a.pem", "a.example")
    files.issue("b.pem", "b.example")
    text = bench.configuration(tmp_path).replace(str(bench.files.folder), str(tmp_path))
    with proxy(tmp_path / "proxy", text, reactor) as running:
        load = Load(files, running.port)
        with ThreadPoolExecutor(4) as threads:
            for _ in range(4):
                threads.submit(load.run)
            try:
                for count in range(1, 4):
                    wait_until(lambda wanted=count: len(set(load.serials)) == wanted, 10, "its use")  # type: ignore[misc]
                    files.issue("a.pem", "a.example")
                    wait_until(lambda wanted=count: running.log.count("loaded anew") >= wanted, 20, "a reload")  # type: ignore[misc]
                    time.sleep(0.5)
                wait_until(lambda: len(set(load.serials)) == 4, 10, "the use of the last")
                replace(path, b"oops")
                wait_until(lambda: "stays in use" in running.log, 20, "a line that says so")
                seen = len(load.serials)
                wait_until(lambda: len(load.serials) > seen + 20, 10, "more connections")
            finally:
                load.going.clear()
        assert load.failures == []
        assert len(set(load.serials)) == 4
        changes = sum(one != other for one, other in zip(load.serials, load.serials[1:], strict=False))
        # at each of three changes, the other three clients may still tell of the one before
        assert changes <= 3 * (1 + 2 * 3), "each is used until the next, however many threads look"
        assert running.log.count("stays in use") == 1
