"""PROXY headers from HAProxy, to nginx and HAProxy, and from who must not send one."""

from __future__ import annotations

import http.client
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from configured import configured
from nginx import http_block, running_nginx
from programs import free_port, peer, running_server, wait_until
from test_tls import certificate

from twisted_pipe.preface.addresses import InetAddress
from twisted_pipe.preface.proxy_protocol import ProxyHeader, Version, write_header
from twisted_pipe.preface.tlv import Tlv, TlvType

WHO = "$remote_addr $remote_port $server_addr $server_port $realip_remote_addr $proxy_protocol_addr"
TLVS = "$proxy_protocol_tlv_authority $proxy_protocol_tlv_unique_id $proxy_protocol_tlv_ssl_version"
CLIENT = "203.0.113.7 5000 198.51.100.1 443 127.0.0.1 203.0.113.7"
HEADERS = {
    version: ProxyHeader(
        version=version,
        source=InetAddress(ip_address("203.0.113.7"), 5000),
        destination=InetAddress(ip_address("198.51.100.1"), 443),
        tlvs=() if version is Version.TEXT else (Tlv(TlvType.AUTHORITY, b"www.example"), Tlv(0xE0, bytes(3000))),
    )
    for version in Version
}
REACTORS = ["", "epoll"]


def front(
    port: int, trusted: str = '"127.0.0.1"', body: str = f"{WHO}|{TLVS}", more: str = "", timeout: str = "20s"
) -> str:
    """One who says whom he takes his clients for."""
    return f"""
        [[servers]]
        listen = {{ address = "127.0.0.1:{port}", proxy_protocol = {{ trusted = {trusted}, timeout = "{timeout}" }} }}
        {more}
        [[servers.routes]]
        prefix = "/"
        answer = {{ body = "{body}" }}
    """


def conversation(port: int, *pieces: bytes) -> bytes:
    """All that comes in answer. A reset is its end, too."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        try:
            for piece in pieces:
                client.sendall(piece)
            while data := client.recv(65536):
                got += data
        except ConnectionError:
            pass
        return got


def body(port: int) -> str:
    """Of an answer to a plain request."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("GET", "/")
    answer = client.getresponse().read().decode()
    client.close()
    return answer


@contextmanager
def haproxy(directory: Path, text: str) -> Iterator[None]:
    """HAProxy with these sections, when all of its ports accept."""
    file = directory / "haproxy.cfg"
    file.write_text(f"defaults\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n{text}")
    ports = map(int, re.findall(r"bind 127\.0\.0\.1:(\d+)", text))
    with running_server([peer("haproxy"), "-db", "-q", "-f", str(file)], *ports, log=directory / "haproxy.log"):
        yield


class TestFromProxies:
    @pytest.mark.parametrize("reactor", REACTORS)
    def test_haproxy_says_who_the_client_is(self, tmp_path: Path, reactor: str) -> None:
        ports = {option: free_port() for option in ("send-proxy", "send-proxy-v2", "crc32c,unique-id,authority")}
        ours = free_port()
        sections = ""
        for name, (option, port) in enumerate(ports.items()):
            sent = option if option.startswith("send") else f"send-proxy-v2 proxy-v2-options {option}"
            sections += f"listen l{name}\n bind 127.0.0.1:{port}\n mode tcp\n unique-id-format id-%pid\n"
            sections += f" server s 127.0.0.1:{ours} {sent}\n"
        with haproxy(tmp_path, sections), configured(tmp_path, front(ours), ours, reactor):
            for option, port in ports.items():
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    got = b"".join(iter(lambda: client.recv(65536), b""))
                    own = client.getsockname()[1]
                who, tlvs = got.partition(b"\r\n\r\n")[2].decode().split("|")
                assert who == f"127.0.0.1 {own} 127.0.0.1 {port} 127.0.0.1 127.0.0.1", option
                assert ("id-" in tlvs) is ("unique-id" in option), tlvs

    @pytest.mark.parametrize("reactor", REACTORS)
    def test_haproxy_speaks_tls_behind_it(self, tmp_path: Path, reactor: str) -> None:
        pem, port, ours = certificate(tmp_path / "both.pem"), free_port(), free_port()
        section = (
            f"listen l\n bind 127.0.0.1:{port}\n mode tcp\n"
            f" server s 127.0.0.1:{ours} ssl verify none sni str(www.example) send-proxy-v2\n"
        )
        text = front(ours, body=f"$scheme {WHO}", more=f'tls = {{ certificate = "{pem}" }}')
        with haproxy(tmp_path, section), configured(tmp_path, text, ours, reactor):
            assert re.fullmatch(rf"https 127.0.0.1 \d+ 127.0.0.1 {port} 127.0.0.1 127.0.0.1", body(port))

    @pytest.mark.parametrize("reactor", REACTORS)
    def test_cut_at_every_byte(self, tmp_path: Path, reactor: str) -> None:
        ours, request = free_port(), b"GET / HTTP/1.0\r\n\r\n"
        with configured(tmp_path, front(ours), ours, reactor):
            for version, header in HEADERS.items():
                data = write_header(header) + request
                cuts = range(1, len(data), 1 if len(data) < 200 else 97)
                for cut in cuts:
                    answer = conversation(ours, data[:cut], data[cut:])
                    assert CLIENT.encode() in answer, (version, cut)
                answer = conversation(ours, *(bytes([byte]) for byte in data[:200]), data[200:])
                assert CLIENT.encode() in answer, version
                assert (b"www.example" in answer) is (version is Version.BINARY)


class TestWhoIsNotLetIn:
    @pytest.mark.parametrize("reactor", REACTORS)
    def test_each_is_closed_with_one_line(self, tmp_path: Path, reactor: str) -> None:
        ours = free_port()
        huge = write_header(HEADERS[Version.BINARY])[:14] + struct.pack("!H", 65535)
        cases = {
            b"GET / HTTP/1.0\r\n\r\n": "no PROXY header: it begins with b'GET / HTTP/1.0\\r\\n'",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n": "'99999' is no port",
            b"PROXY TCP4 " + b"x" * 10_000_000: "its line does not end within 107 bytes",
            huge + bytes(10_000_000): "it says that it has 65551 bytes, at most 4096 are taken",
            b"\r\n\r\n\0\r\nQUIT\n\x31": "its version is 3, not 2",
        }
        with configured(tmp_path, front(ours, timeout="2s"), ours, reactor) as pipe:
            before = pipe.memory()
            for data in cases:
                assert conversation(ours, data) == b""
            assert conversation(ours) == b"", "who says nothing is closed after the timeout"
            wait_until(lambda: "timeout of 2 s expired" in pipe.log, 5, "its line")
            lines = [line for line in pipe.log.splitlines() if "refused" in line]
            for line, why in zip(lines, [*cases.values(), "preface timeout of 2 s expired"], strict=True):
                assert re.search(r"client 127\.0\.0\.1:\d+: refused: PROXY protocol: ", line), line
                assert line.endswith(why), line
            assert pipe.memory() - before < 4 << 20

    @pytest.mark.parametrize("reactor", REACTORS)
    def test_nobody_else_is_believed(self, tmp_path: Path, reactor: str) -> None:
        ours = free_port()
        with configured(tmp_path, front(ours, '["10.0.0.0/8", "unix:"]'), ours, reactor) as pipe:
            assert conversation(ours, write_header(HEADERS[Version.TEXT]), b"GET / HTTP/1.0\r\n\r\n") == b""
            said = "refused: PROXY protocol: it is none of the trusted proxies"
            wait_until(lambda: said in pipe.log, 5, said)


class TestToServers:
    def sender(self, protocol: str, port: int, upstream: int, version: str, more: str = "") -> str:
        route = 'routes = [{ prefix = "/", proxy = "app" }]' if protocol == "http" else 'proxy = "app"'
        return f"""
            [[servers]]
            protocol = "{protocol}"
            listen = "127.0.0.1:{port}"
            {route}
            [upstreams.app]
            servers = "127.0.0.1:{upstream}"
            send_proxy_protocol = "{version}"
            {more}
        """

    @pytest.mark.parametrize("reactor", REACTORS)
    @pytest.mark.parametrize("version", ["v1", "v2"])
    @pytest.mark.parametrize("protocol", ["tcp", "http"])
    def test_nginx_learns_who_the_client_is(self, tmp_path: Path, protocol: str, version: str, reactor: str) -> None:
        """Each client of its own, however many requests they send in turn; each on one connection."""
        ours, theirs = free_port(), free_port()
        said = "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port $connection"
        server = (
            f"server {{ listen 127.0.0.1:{theirs} proxy_protocol; default_type text/plain; "
            f'location / {{ return 200 "{said}"; }} }}'
        )
        with (
            running_nginx(tmp_path / "nginx", http_block(server), theirs),
            configured(tmp_path, self.sender(protocol, ours, theirs, version), ours, reactor),
        ):
            clients = [http.client.HTTPConnection("127.0.0.1", ours, timeout=20) for _ in range(3)]
            connections: list[set[str]] = [set() for _ in clients]
            for _ in range(3):
                for place, client in enumerate(clients):
                    client.request("GET", "/")
                    address, port, server_port, connection = client.getresponse().read().decode().split()
                    assert client.sock is not None
                    assert (address, int(port), int(server_port)) == (*client.sock.getsockname(), ours)
                    connections[place].add(connection)
            for client in clients:
                client.close()
            assert [len(each) for each in connections] == [1, 1, 1]
            assert len(set.union(*connections)) == 3

    @pytest.mark.parametrize("reactor", REACTORS)
    def test_before_tls(self, tmp_path: Path, reactor: str) -> None:
        ours, theirs, pem = free_port(), free_port(), certificate(tmp_path / "both.pem")
        server = (
            f"server {{ listen 127.0.0.1:{theirs} ssl proxy_protocol; ssl_certificate {pem}; ssl_certificate_key {pem}; "
            f'location / {{ return 200 "$scheme $proxy_protocol_server_port"; }} }}'
        )
        text = self.sender("http", ours, theirs, "v2", "tls = { verify = false }")
        with (
            running_nginx(tmp_path / "nginx", http_block(server), theirs),
            configured(tmp_path, text, ours, reactor),
        ):
            assert body(ours) == f"https {ours}"

    def test_what_was_said_to_us_is_passed_on_to_haproxy(self, tmp_path: Path) -> None:
        ours, theirs = free_port(), free_port()
        section = (
            f"listen l\n bind 127.0.0.1:{theirs} accept-proxy\n"
            " http-request return status 200 content-type text/plain lf-string "
            '"%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority]"\n'
        )
        text = self.sender("tcp", ours, theirs, "v2")
        listen = f'{{ address = "127.0.0.1:{ours}", proxy_protocol = {{ trusted = "127.0.0.1" }} }}'
        text = text.replace(f'"127.0.0.1:{ours}"', listen)
        with haproxy(tmp_path, section), configured(tmp_path, text, ours):
            answer = conversation(ours, write_header(HEADERS[Version.BINARY]), b"GET / HTTP/1.0\r\n\r\n")
            assert answer.endswith(b"203.0.113.7 5000 198.51.100.1 443 www.example"), answer
