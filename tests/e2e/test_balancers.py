"""Our balancers choose the servers that nginx chooses."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest
from configured import configured
from nginx import http_block, running_nginx
from programs import free_port

from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.server import UpstreamServer

HTTP = """
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Client;
    {upstreams}
    {servers}
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
"""
#: How nginx says it, how we do, the servers' weights, and which of them are down.
METHODS = {
    "plain": ("hash $arg_key;", "hash:key=$arg_key", (1, 1, 1, 1), ()),
    "plain_weighted": ("hash $arg_key;", "hash:key=$arg_key", (5, 1, 2, 1), ()),
    "plain_down": ("hash $arg_key;", "hash:key=$arg_key", (5, 1, 2, 1), (0,)),
    "ring": ("hash $arg_key consistent;", "hash:key=$arg_key:consistent=on", (1, 1, 1, 1), ()),
    "ring_weighted": ("hash $arg_key consistent;", "hash:key=$arg_key:consistent=on", (5, 1, 2, 1), ()),
    "ring_down": ("hash $arg_key consistent;", "hash:key=$arg_key:consistent=on", (5, 1, 2, 1), (0,)),
    "address": ("ip_hash;", "ip-hash", (1, 1, 1, 1), ()),
    "address_weighted": ("ip_hash;", "ip-hash", (3, 1, 2, 1), ()),
    "address_down": ("ip_hash;", "ip-hash", (3, 1, 2, 1), (2,)),
    "turns": ("", "round-robin", (5, 1, 1, 3), ()),
    "turns_down": ("", "round-robin", (5, 1, 1, 3), (1,)),
}
KEYS = 300


@attrs.frozen
class Balancing:
    """An nginx in front of its own servers."""

    port: int
    names: tuple[str, ...]

    def choices(self, method: str, asked: list[tuple[str, str]]) -> list[str]:
        """The servers that answer for each key and client address."""
        return choices(self.port, [(f"/{method}/?key={key}", {"X-Client": address}) for key, address in asked])


def choices(port: int, requests: list[tuple[str, dict[str, str]]], source: str = "127.0.0.1") -> list[str]:
    """The servers that answer these requests for targets with fields."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    found = []
    for target, fields in requests:
        client.request("GET", target, headers=fields)
        found.append(client.getresponse().read().decode())
    client.close()
    return found


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancing]:
    directory = tmp_path_factory.mktemp("balancers")
    names = (*(f"127.0.0.1:{free_port()}" for _ in range(3)), f"unix:{directory}/last")
    upstreams = "\n".join(_upstream(method, names) for method in METHODS)
    servers = "\n".join(f'server {{ listen {name}; return 200 "{name}"; }}' for name in names)
    locations = "\n".join(f"location /{method}/ {{ proxy_pass http://{method}/; }}" for method in METHODS)
    port = free_port()
    text = HTTP.format(port=port, upstreams=upstreams, servers=servers, locations=locations)
    with running_nginx(directory, http_block(text), port):
        yield Balancing(port, names)


def _upstream(method: str, names: tuple[str, ...]) -> str:
    said, _, weights, down = METHODS[method]
    servers = "".join(
        f"server {name} weight={weight}{' down' * (place in down)}; "
        for place, (name, weight) in enumerate(zip(names, weights, strict=True))
    )
    return f"upstream {method} {{ {said} {servers} }}"


@pytest.mark.parametrize("method", METHODS)
def test_the_same_servers_as_nginx(nginx: Balancing, method: str, tmp_path: Path) -> None:
    _, said, weights, down = METHODS[method]
    generator = random.Random(20261122)
    group = UpstreamGroup(
        [
            UpstreamServer(name, None, weight=weight, down=place in down)
            for place, (name, weight) in enumerate(zip(nginx.names, weights, strict=True))
        ],
        BALANCERS.parse(said),
    )
    asked = [
        (
            quote("".join(generator.choices("abcdefghij/-.:0123456789", k=generator.randrange(1, 40))), safe=""),
            ":".join(f"{generator.randrange(1, 65536):x}" for _ in range(8))
            if place % 3 == 0
            else ".".join(str(generator.randrange(1, 224)) for _ in range(4)),
        )
        for place in range(KEYS)
    ]
    ours = []
    for key, address in asked:
        found = group.pick((address if group.key == "$remote_addr" else key).encode())
        assert found is not None
        ours.append(found.name)
    assert ours == nginx.choices(method, asked)
    assert len(set(ours)) == len(weights) - len(down)


PIPE = """
[upstreams.web]
servers = [{servers}]
balance = "{balance}"

[[servers]]
listen = "tcp:{port}:interface=127.0.0.1"

[[servers.routes]]
prefix = "/"
proxy = "web"

[[servers]]
protocol = "tcp"
listen = "tcp:{tcp_port}:interface=127.0.0.1"
proxy = "stream"

[upstreams.stream]
servers = [{servers}]
balance = "ip-hash"
"""


def test_through_a_running_proxy(nginx: Balancing, tmp_path: Path) -> None:
    """The keys are those of requests, and of connections."""
    port, tcp_port = free_port(), free_port()
    servers = ", ".join(f'"{name}"' for name in nginx.names)
    balance = METHODS["ring"][1]
    with configured(
        tmp_path, PIPE.format(servers=servers, balance=balance, port=port, tcp_port=tcp_port), port
    ) as running:
        keys = [str(number) for number in range(KEYS)]
        ours = choices(port, [(f"/?key={key}", {}) for key in keys])
        assert ours == nginx.choices("ring", [(key, "127.0.0.1") for key in keys])
        addresses = [f"127.{number}.3.{1 + number % 7}" for number in range(40)]
        found = [choices(tcp_port, [("/", {})], address)[0] for address in addresses]
        assert found == nginx.choices("address", [("", address) for address in addresses])
        assert "no server" not in running.log
