"""C{twisted-pipe} with message filters, curl before it: passwords, an authorisation service, CORS, and a third party's filter."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import bcrypt
import pytest
import pytest_twisted
from http_proxy import HttpProxy, http_proxy
from programs import peer, wait_until
from twisted.internet.threads import deferToThread

TENANT = Path(__file__).parent.parent / "thirdparty" / "tenant_filter"
PAGE = b"<html>the old page</html>"


class Handler(BaseHTTPRequestHandler):
    """
    Both the application and the authorisation service: C{/check} says 204 with C{X-User} for C{Cookie: user=NAME}, 403 for C{root},
    401 else; C{/check?slow} after a second, C{/check?held} when C{released} is set; anything else gives the request's fields back,
    C{/page} a page.
    """

    protocol_version = "HTTP/1.1"
    asked, released = threading.Event(), threading.Event()

    def do_GET(self) -> None:
        asked = self.headers["X-Original-URI"]
        if self.path.startswith("/check"):
            if asked is not None and "slow" in asked:
                time.sleep(1)
            if asked is not None and "held" in asked:
                self.asked.set()
                self.released.wait(30)
            user = (self.headers["Cookie"] or "").removeprefix("user=")
            status = 401 if not user else 403 if user == "root" else 204
            self.answer(status, b"", {"X-User": user, "WWW-Authenticate": "Cookie"})
        elif self.path.startswith("/page"):
            self.answer(200, PAGE, {"Content-Type": "text/html", "X-Accepted": self.headers["Accept-Encoding"] or ""})
        else:
            length = int(self.headers["Content-Length"] or 0)
            self.rfile.read(length)
            self.answer(200, str(self.headers).encode(), {"Content-Type": "text/plain"})

    do_POST = do_OPTIONS = do_GET

    def answer(self, status: int, body: bytes, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def application() -> Iterator[int]:
    """Its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


ROUTES = """
[[servers.routes]]
prefix = "/staff/"
proxy = "app"
message_filters = [
    "request-id",
    "security-headers",
    {{ name = "basic-auth", file = "users", realm = "Staff", user_header = "X-User", pass_authorization = false }},
]

[[servers.routes]]
prefix = "/auth/"
proxy = "app"
message_filters = {{ name = "auth-request", url = "http://127.0.0.1:{app}/check", set = "X-User" }}

[[servers.routes]]
prefix = "/closed/"
proxy = "app"
message_filters = {{ name = "auth-request", url = "http://127.0.0.1:1/check" }}

[[servers.routes]]
prefix = "/api/"
proxy = "app"
message_filters = [
    {{ name = "cors", origins = "https://app.example.org", methods = "GET,PUT", headers = "X-Mine" }},
    {{ name = "basic-auth", file = "users" }},
]

[[servers.routes]]
prefix = "/page"
proxy = "app"
message_filters = {{ name = "substitution", find = "old", replace = "new" }}
filters = [{{ name = "gzip", types = "text/html" }}]
"""


@attrs.frozen
class Got:
    """What curl got."""

    status: int
    fields: dict[str, str]
    body: str


@attrs.frozen
class Bench:
    proxy: HttpProxy

    def curl(self, target: str, *arguments: str) -> Got:
        url = f"http://127.0.0.1:{self.proxy.port}{target}"
        command = [peer("curl"), "-sS", "-i", "--max-time", "20", *arguments, url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        head, _, body = done.stdout.partition("\n\n" if "\r" not in done.stdout else "\r\n\r\n")
        line, *fields = head.splitlines()
        pairs = (field.partition(": ") for field in fields)
        return Got(int(line.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


def write_users(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    slow = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    (directory / "users").write_text(f"alice:{slow}\nbob:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")


@pytest.fixture(scope="module", params=["", "asyncio"], ids=["epollet", "asyncio"])
def bench(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("filters")
    write_users(directory)
    with (
        application() as app,
        http_proxy(directory, app, "", ROUTES.format(app=app), reactor=request.param) as proxy,
    ):
        yield Bench(proxy)


@pytest_twisted.ensureDeferred
async def test_a_password_is_asked_for(bench: Bench) -> None:
    """And hashed off the reactor: bcrypt takes its time."""
    got = await deferToThread(bench.curl, "/staff/")
    assert (got.status, got.fields["www-authenticate"]) == (401, 'Basic realm="Staff", charset="UTF-8"')
    assert got.fields["x-frame-options"] == "SAMEORIGIN"
    assert len(got.fields["x-request-id"]) == 32
    assert (await deferToThread(bench.curl, "/staff/", "-u", "alice:wrong")).status == 401
    for user in ("alice", "bob"):
        for _ in range(2):
            got = await deferToThread(bench.curl, "/staff/", "-u", f"{user}:secret", "-H", "X-User: root")
            assert got.status == 200
            assert f"X-User: {user}" in got.body
            assert "root" not in got.body
            assert "Authorization" not in got.body
            assert f"X-Request-ID: {got.fields['x-request-id']}" in got.body


@pytest_twisted.ensureDeferred
async def test_a_body_is_not_sent_before_the_password_is_right(bench: Bench, tmp_path: Path) -> None:
    """curl waits for 100 Continue."""
    (tmp_path / "body").write_bytes(bytes(500_000))
    upload = ("--data-binary", f"@{tmp_path / 'body'}", "-H", "Expect: 100-continue", "--expect100-timeout", "60")
    began = time.monotonic()
    got = await deferToThread(bench.curl, "/staff/", *upload)
    assert got.status == 401
    assert time.monotonic() - began < 40


@pytest_twisted.ensureDeferred
async def test_an_authorisation_service(bench: Bench) -> None:
    got = await deferToThread(bench.curl, "/auth/", "-b", "user=alice", "-H", "X-User: root")
    assert got.status == 200
    assert "X-User: alice" in got.body
    assert "root" not in got.body
    assert (await deferToThread(bench.curl, "/auth/", "-b", "user=root")).status == 403
    got = await deferToThread(bench.curl, "/auth/")
    assert (got.status, got.fields["www-authenticate"]) == (401, "Cookie")


@pytest_twisted.ensureDeferred
async def test_one_that_is_not_there(bench: Bench) -> None:
    assert (await deferToThread(bench.curl, "/closed/")).status == 500
    wait_until(lambda: "cannot be asked" in bench.proxy.pipe.log, 5, "a line in the log")
    assert "filter 'auth-request': AuthServiceFailed: http://127.0.0.1:1/check cannot be asked" in bench.proxy.pipe.log


@pytest_twisted.ensureDeferred
async def test_others_are_served_while_one_waits(bench: Bench) -> None:
    Handler.asked.clear()
    Handler.released.clear()
    waiting = deferToThread(bench.curl, "/auth/?held", "-b", "user=alice")
    try:
        assert await deferToThread(Handler.asked.wait, 30)
        got = await deferToThread(bench.curl, "/page")
        assert (got.status, waiting.called) == (200, False)
    finally:
        Handler.released.set()
    assert (await waiting).status == 200


@pytest_twisted.ensureDeferred
async def test_a_browsers_preflight_needs_no_password(bench: Bench) -> None:
    asked = ("-X", "OPTIONS", "-H", "Origin: https://app.example.org", "-H", "Access-Control-Request-Method: PUT")
    got = await deferToThread(bench.curl, "/api/", *asked)
    assert (got.status, got.fields["access-control-allow-methods"]) == (204, "GET, PUT")
    got = await deferToThread(bench.curl, "/api/", "-H", "Origin: https://app.example.org")
    assert (got.status, got.fields["access-control-allow-origin"]) == (401, "https://app.example.org")
    got = await deferToThread(bench.curl, "/api/", "-u", "bob:secret", "-H", "Origin: https://evil.example")
    assert got.status == 200
    assert "access-control-allow-origin" not in got.fields


@pytest_twisted.ensureDeferred
async def test_text_is_replaced_and_coded_again(bench: Bench) -> None:
    got = await deferToThread(bench.curl, "/page", "--compressed")
    assert got.body == PAGE.decode().replace("old", "new")
    assert (got.fields["content-encoding"], got.fields["x-accepted"]) == ("gzip", "identity")


@pytest_twisted.ensureDeferred
async def test_clients_that_go_leave_nothing_behind(bench: Bench) -> None:
    """They reset their connections while the service ponders."""

    def go() -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", bench.proxy.port)) as client:
                client.sendall(b"GET /auth/?slow HTTP/1.1\r\nHost: a\r\nCookie: user=alice\r\n\r\n")
                time.sleep(0.01)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    await deferToThread(go)
    wait_until(lambda: bench.proxy.clients() == 0, 5, "their end")
    got = await deferToThread(bench.curl, "/auth/", "-b", "user=alice")
    assert got.status == 200
    bench.proxy.check_alive()


@pytest_twisted.ensureDeferred
async def test_a_third_partys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed with pip, found by its entry point: it looks keys up in a database."""
    target, source = tmp_path / "site", tmp_path / "source"
    shutil.copytree(TENANT, source)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(source)]
    done = await deferToThread(subprocess.run, install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH", "")])))
    directory = tmp_path / "proxy"
    directory.mkdir()
    with closing(sqlite3.connect(directory / "tenants.sqlite")) as database, database:
        database.execute("CREATE TABLE tenants (key TEXT PRIMARY KEY, name TEXT, upstream TEXT)")
        database.execute("INSERT INTO tenants VALUES ('k1', 'blue', 'app')")
    route = (
        '[[servers.routes]]\nprefix = "/tenants/"\nanswer = { status = 404 }\n'
        'message_filters = { name = "tenant", database = "tenants.sqlite" }\n'
    )
    with application() as app, http_proxy(directory, app, "", route) as proxy:
        bench = Bench(proxy)
        got = await deferToThread(bench.curl, "/tenants/", "-H", "X-API-Key: k1")
        assert got.status == 200
        assert "X-Tenant: blue" in got.body
        assert (await deferToThread(bench.curl, "/tenants/", "-H", "X-API-Key: k2")).status == 403
        assert (await deferToThread(bench.curl, "/tenants/")).status == 401
        proxy.check_alive()
