"""TLS passed on by the name it asks for, undecrypted: real clients, real servers; and decided as nginx does."""

from __future__ import annotations

import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from configured import configured
from nginx import http_block, running_nginx
from programs import free_port, peer
from test_tls import certificate

from twisted_pipe.preface.client_hello import ClientHello, ClientHelloParser

REACTORS = ["", "epoll"]
NAMES = ("a.example", "b.example", "default")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, int]]:
    """TLS servers that say who they are, and the default one, which speaks plainly, too."""
    pem = certificate(tmp_path / "both.pem")
    ports = {name: free_port() for name in NAMES}
    text = "".join(
        f"server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {pem}; ssl_certificate_key {pem}; "
        f'ssl_protocols TLSv1.2 TLSv1.3; location / {{ return 200 "{name} $ssl_server_name $ssl_protocol\\n"; }} '
        f"error_page 497 =200 @plain; location @plain {{ return 200 '{name} plain\\n'; }} }}\n"
        for name, port in ports.items()
    )
    with running_nginx(tmp_path / "nginx", http_block(text), *ports.values()):
        yield ports


def router(port: int, servers: dict[str, int], preread_timeout: str = "20s") -> str:
    return f"""
        [[servers]]
        protocol = "tcp"
        listen = "127.0.0.1:{port}"
        proxy = "127.0.0.1:{servers["default"]}"
        log_sessions = true
        preread_timeout = "{preread_timeout}"
        routes = [
            {{ names = ["a.example", "*.a.example"], proxy = "127.0.0.1:{servers["a.example"]}" }},
            {{ names = "c.example", alpn = "acme-tls/1", proxy = "127.0.0.1:{servers["a.example"]}" }},
            {{ alpn = ["b", "h2-only"], proxy = "127.0.0.1:{servers["b.example"]}" }},
        ]
    """


def asks(
    port: int, name: str | None, *alpn: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, piece: int = 1 << 20
) -> bytes:
    """Who answers to a client of Python's, which sends its hello in pieces."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(alpn)
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(coming, going, server_hostname=name)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def pass_on() -> None:
            data = going.read()
            for at in range(0, len(data), piece):
                sock.sendall(data[at : at + piece])
            got = sock.recv(65536)
            coming.write(got) if got else coming.write_eof()

        def run(step: Callable[[], object]) -> object:
            while True:
                with suppress(ssl.SSLWantReadError):
                    return step()
                pass_on()

        run(client.do_handshake)
        client.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        try:
            while data := run(lambda: client.read(65536)):
                answer += data  # type: ignore[operator]
        except ssl.SSLError:
            pass  # no close_notify
    return answer.partition(b"\r\n\r\n")[2]


class TestRouting:
    @pytest.mark.parametrize("reactor", REACTORS)
    def test_clients_of_python(self, tmp_path: Path, servers: dict[str, int], reactor: str) -> None:
        ours = free_port()
        with configured(tmp_path, router(ours, servers), ours, reactor) as pipe:
            for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                shown = newest.name.replace("_", ".").encode()
                for name, alpn, server in (
                    ("a.example", (), b"a.example"),
                    ("www.A.example", ("http/1.1",), b"a.example"),
                    ("other.example", (), b"default"),
                    (None, (), b"default"),
                    ("other.example", ("http/1.1", "b"), b"b.example"),
                    ("c.example", ("http/1.1", "acme-tls/1"), b"a.example"),
                    ("c.example", ("b", "http/1.1"), b"b.example"),
                    ("c.example", (), b"default"),
                ):
                    for piece in (1 << 20, 7):
                        answer = asks(ours, name, *alpn, newest=newest, piece=piece)
                        asked = b"" if name is None else name.encode()
                        assert answer.lower() == b" ".join((server, asked, shown)).lower() + b"\n"
            assert "open: a.example" in pipe.log

    @pytest.mark.parametrize("reactor", REACTORS)
    def test_curl_and_openssl(self, tmp_path: Path, servers: dict[str, int], reactor: str) -> None:
        ours = free_port()
        with configured(tmp_path, router(ours, servers), ours, reactor):
            for name, server in (("a.example", "a.example"), ("other.example", "default")):
                for option in ("--http1.1", "--http2"):
                    got = subprocess.run(
                        [
                            peer("curl"),
                            "-sk",
                            option,
                            "--resolve",
                            f"{name}:{ours}:127.0.0.1",
                            f"https://{name}:{ours}/",
                        ],
                        stdout=subprocess.PIPE,
                        check=True,
                        timeout=30,
                    ).stdout
                    assert got.decode().split()[:2] == [server, name], option
                for option in ("-tls1_2", "-tls1_3"):
                    client = [peer("openssl"), "s_client", "-quiet", "-connect", f"127.0.0.1:{ours}", option]
                    got = subprocess.run(
                        [*client, "-servername", name, "-ign_eof"],
                        input=b"GET / HTTP/1.0\r\n\r\n",
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        timeout=30,
                        check=False,
                    ).stdout
                    assert got.rpartition(b"\r\n\r\n")[2].decode().split()[:2] == [server, name], option

    @pytest.mark.parametrize("reactor", REACTORS)
    def test_what_is_no_tls_is_for_the_default(self, tmp_path: Path, servers: dict[str, int], reactor: str) -> None:
        ours = free_port()
        with configured(tmp_path, router(ours, servers), ours, reactor):
            with socket.create_connection(("127.0.0.1", ours), timeout=20) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                got = b"".join(iter(lambda: client.recv(65536), b""))
            assert got.endswith(b"default plain\n"), got

    @pytest.mark.parametrize("reactor", REACTORS)
    def test_who_waits_to_be_spoken_to_first(self, tmp_path: Path, reactor: str) -> None:
        ours = free_port()
        with socket.create_server(("127.0.0.1", 0)) as greeter:
            ports = dict.fromkeys(NAMES, greeter.getsockname()[1])
            with (
                configured(tmp_path, router(ours, ports, "2s"), ours, reactor),
                socket.create_connection(("127.0.0.1", ours), timeout=20) as client,
            ):
                greeter.settimeout(20)
                server, _ = greeter.accept()
                server.sendall(b"220 hello\r\n")
                assert client.recv(100) == b"220 hello\r\n"
                server.close()


STREAM = """
load_module {module};
stream {{
    map $ssl_preread_server_name $to {{ hostnames; default {default}; .a.example {first}; }}
    server {{ listen 127.0.0.1:{port}; ssl_preread on; preread_timeout 2s; proxy_pass 127.0.0.1:$to; }}
}}
"""
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@pytest.mark.skipif(not MODULE.exists(), reason="nginx's stream module is not installed")
def test_nginx_decides_alike(tmp_path: Path) -> None:
    """
    Whole or broken, TLS or not, the same server gets the same bytes. (Of who says nothing, or ends within a hello, nginx closes the
    connection.)
    """
    theirs, ours = free_port(), free_port()
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as default:
        ports = {"a.example": first.getsockname()[1], "b.example": default.getsockname()[1]}
        ports["default"] = ports["b.example"]
        hello = recorded(lambda port: asks(port, "a.example"))
        other = recorded(lambda port: asks(port, "x.a.example", "h2", newest=ssl.TLSVersion.TLSv1_2))
        cases = [hello, other, b"GET / HTTP/1.0\r\n\r\n", b"\x16\3\1\0\5hello", hello[:5] + b"\2" + hello[6:]]
        text = STREAM.format(module=MODULE, port=theirs, first=ports["a.example"], default=ports["default"])
        with (
            running_nginx(tmp_path / "nginx", text, theirs),
            configured(tmp_path, router(ours, ports), ours),
        ):
            for data in cases:
                assert who_gets(ours, data, first, default) == who_gets(theirs, data, first, default), data[:20]


def who_gets(port: int, data: bytes, *servers: socket.socket) -> tuple[int, bytes]:
    """Which of the servers is connected to for it, and what it gets until the client ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        asked, _, _ = select.select(servers, [], [], 20)
        assert len(asked) == 1
        sock, _ = asked[0].accept()
        with sock:
            sock.settimeout(20)
            return servers.index(asked[0]), b"".join(iter(lambda: sock.recv(65536), b""))


def recorded(client: Callable[[int], object]) -> bytes:
    """The first that a client sends."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            with suppress(OSError, subprocess.SubprocessError):  # nobody answers
                client(server.getsockname()[1])

        thread = threading.Thread(target=run)
        thread.start()
        sock, _ = server.accept()
        with sock:
            got = b""
            parser = ClientHelloParser()
            while not got or parser.parse(got) is None:
                got += sock.recv(65536)
        thread.join(20)
    return got


class TestHellos:
    def assert_understood(self, hello: bytes, name: str, alpn: tuple[bytes, ...]) -> ClientHello:
        parser = ClientHelloParser()
        for cut in range(1, len(hello)):
            assert parser.parse(hello[:cut]) is None
        found = parser.parse(hello)
        assert found is not None
        assert (found.server_name, found.alpn) == (name, alpn)
        return found

    def test_of_curl(self) -> None:
        def client(port: int) -> None:
            where = f"a.example:{port}:127.0.0.1"
            subprocess.run(
                [peer("curl"), "-sk", "--http2", "--resolve", where, f"https://a.example:{port}/"],
                check=True,
                timeout=20,
            )

        self.assert_understood(recorded(client), "a.example", (b"h2", b"http/1.1"))

    def test_of_openssl(self) -> None:
        for option, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):

            def client(port: int, option: str = option) -> None:
                where, who = ("-connect", f"127.0.0.1:{port}"), ("-servername", "A.example", "-alpn", "imap,x")
                subprocess.run(
                    [peer("openssl"), "s_client", option, *where, *who],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=True,
                    timeout=20,
                )

            assert self.assert_understood(recorded(client), "a.example", (b"imap", b"x")).version == version
