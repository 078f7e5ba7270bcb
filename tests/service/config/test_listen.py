"""What a configuration file says of the sockets of clients and of servers."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

from tests.service.config.case import ROUTE, ConfigCase
from twisted_pipe.core.keepalive_probes import KeepaliveProbes
from twisted_pipe.net.listening import BACKLOG, ListenSettings, SocketOwner
from twisted_pipe.upstream.connect_settings import ConnectSettings

STREAM = """
[[servers]]
protocol = "tcp"
proxy = "app"
listen = "8080"
[upstreams.app]
servers = ["127.0.0.1:9000", "unix:/run/app.sock"]
"""


class ListenTests(ConfigCase):
    def listening(self, listen: str) -> ListenSettings:
        (listener,) = self.http(f"[[servers]]\nlisten = {listen}\n{ROUTE}").listeners
        return listener.settings

    def refused(self, listen: str) -> list[str]:
        return self.mistakes(f"[[servers]]\nlisten = {listen}\n{ROUTE}")

    def test_text_alone(self) -> None:
        self.assertEqual(self.listening('"8080"'), ListenSettings())
        self.assertEqual(self.listening('["127.0.0.1:8080"]'), ListenSettings())

    def test_backlog(self) -> None:
        """Of ours unless it is said, as a key or in an endpoint string."""
        self.assertEqual(self.listening('"tcp:8080"').backlog, BACKLOG)
        self.assertEqual(self.listening('"tcp:8080:backlog=7"').backlog, 7)
        self.assertEqual(self.listening('{ address = "8080", backlog = 9 }').backlog, 9)
        self.assertEqual(self.listening('{ address = "tcp:8080:backlog=7", backlog = 9 }').backlog, 9)

    def test_tcp(self) -> None:
        text = """{ address = "[::1]:8080", reuse_port = true, ipv6_only = false, socket_keepalive = "30s:10s:3",
            user_timeout = "5s", receive_buffer = "64k", send_buffer = "32k" }""".replace("\n", "")
        self.assertEqual(
            self.listening(text),
            ListenSettings(
                reuse_port=True,
                ipv6_only=False,
                keepalive=KeepaliveProbes(30, 10, 3),
                user_timeout=5,
                receive_buffer=65536,
                send_buffer=32768,
            ),
        )

    def test_unix(self) -> None:
        text = '{ address = "unix:/run/pipe.sock", mode = "0660", owner = "root:0", backlog = 5 }'
        self.assertEqual(self.listening(text), ListenSettings(mode=0o660, owner=SocketOwner(0, 0), backlog=5))

    def short_folder(self) -> None:
        """A path of a socket has at most 107 bytes."""
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def test_a_path_is_relative_to_the_file(self) -> None:
        self.short_folder()
        (listener,) = self.http(f'[[servers]]\nlisten = "unix:run/a.sock"\n{ROUTE}').listeners
        self.assertEqual(listener.place[-1], self.path("run/a.sock"))
        self.assertEqual(listener.text, "unix:run/a.sock")

    def test_so_are_those_of_servers(self) -> None:
        self.short_folder()
        servers = self.stream(STREAM.replace("unix:/run/app.sock", "unix:app.sock")).group.servers  # type: ignore[union-attr]
        self.assertEqual(servers[1].address, self.path("app.sock"))
        servers = self.stream('[[servers]]\nprotocol = "tcp"\nlisten = "1"\nproxy = "unix:b.sock"').group.servers  # type: ignore[union-attr]
        self.assertEqual(servers[0].address, self.path("b.sock"))
        route = ROUTE.replace("127.0.0.1:9000", "unix:c.sock")
        action: Any = self.route(f'[[servers]]\nlisten = "1"\n{route}').action
        self.assertEqual(action.upstream.group.servers[0].address, self.path("c.sock"))

    def test_keepalive_is_a_flag_too(self) -> None:
        for said, meant in (("true", KeepaliveProbes()), ("false", None), ('"::"', KeepaliveProbes())):
            settings = self.listening(f'{{ address = "8080", socket_keepalive = {said} }}')
            self.assertEqual(settings.keepalive, meant)

    def test_what_is_of_another_kind(self) -> None:
        said = {
            'address = "8080", ipv6_only = true': "servers[0].listen.ipv6_only: true: must be left out: it is not for IPv4",
            'address = "[::]:8080", mode = "0600"': "servers[0].listen.mode: '0600': must be left out: it is not for TCP",
            'address = "unix:/s", reuse_port = true': (
                "servers[0].listen.reuse_port: true: must be left out: it is not for a UNIX socket"
            ),
        }
        for listen, line in said.items():
            self.assertEqual(self.refused(f"{{ {listen} }}"), [line])

    def test_wrong_values(self) -> None:
        for key, value, rule in (
            ("mode", "432", "the mode of a file, in quotes"),
            ("mode", '"0888"', "the mode of a file, in quotes"),
            ("mode", '"rw-r--r--"', "the mode of a file, in quotes"),
            ("owner", '"no such user"', "must be a user or group of this system"),
            ("socket_keepalive", '"30s"', "idle:interval:count"),
            ("socket_keepalive", "30", "idle:interval:count"),
            ("backlog", "0", "a whole number, 1 or more"),
        ):
            (line,) = self.refused(f'{{ address = "unix:/s", {key} = {value} }}')
            self.assertIn(rule, line)
            self.assertTrue(line.startswith(f"servers[0].listen.{key}: "), line)

    def test_no_address(self) -> None:
        (line,) = self.refused("{ backlog = 5 }")
        self.assertEqual(line, 'servers[0].listen.address: missing: must be an address, such as "8080"')

    def test_a_wrong_address_is_told_where_it_stands(self) -> None:
        self.assertTrue(self.refused('["8080", "tcp:x"]')[0].startswith("servers[0].listen[1]: 'tcp:x': "))
        (line,) = self.refused('[{ address = "tcp:x" }]')
        self.assertTrue(line.startswith("servers[0].listen[0].address: 'tcp:x': "), line)


class SharedTests(ConfigCase):
    """Servers that share an address say the same of it, or only one says anything."""

    def servers(self, *listens: str) -> str:
        return "".join(
            f'[[servers]]\nnames = "host{number}"\nlisten = {listen}\n{ROUTE}' for number, listen in enumerate(listens)
        )

    def test_one_of_them_says(self) -> None:
        for listens in (
            ('{ address = "8080", backlog = 9 }', '"tcp:8080"'),
            ('"8080"', '{ address = "8080", backlog = 9 }'),
        ):
            (listener,) = self.http(self.servers(*listens)).listeners
            self.assertEqual(listener.settings.backlog, 9)

    def test_they_agree(self) -> None:
        (listener,) = self.http(self.servers(*['{ address = "8080", backlog = 9 }'] * 2)).listeners
        self.assertEqual(listener.settings.backlog, 9)

    def test_they_do_not(self) -> None:
        listens = [f'[{{ address = "8080", backlog = {backlog} }}]' for backlog in (8, 9)]
        self.assertEqual(
            self.mistakes(self.servers(*listens)), ["servers[1].listen[0]: must say the same of 8080 as servers[0]"]
        )


class ConnectTests(ConfigCase):
    def connect(self, *lines: str) -> ConnectSettings:
        group = self.stream(STREAM + "\n".join(lines)).group
        assert group is not None
        return group.connect

    def refused(self, *lines: str) -> str:
        (line,) = self.mistakes(STREAM + "\n".join(lines))
        return line

    def test_nothing_said(self) -> None:
        self.assertEqual(self.connect(), ConnectSettings())
        self.assertFalse(self.connect().wants_preparation)

    def test_all(self) -> None:
        settings = self.connect(
            'bind = "127.0.0.7:4000"', 'socket_keepalive = "1m::5"', "nodelay = false", 'user_timeout = "30s"'
        )
        self.assertEqual(
            settings,
            ConnectSettings(
                bind="127.0.0.7:4000", keepalive=KeepaliveProbes(60, 0, 5), nodelay=False, user_timeout=30.0
            ),
        )
        self.assertTrue(settings.wants_preparation)

    def test_each_is_a_reason_to_prepare(self) -> None:
        for line in ('bind = "127.0.0.7"', "socket_keepalive = true", "nodelay = false", "user_timeout = 1"):
            self.assertTrue(self.connect(line).wants_preparation, line)

    def test_wrong(self) -> None:
        for line, rule in (
            ('bind = "localhost"', "with numbers and no names"),
            ('bind = "127.0.0.1:99999"', "with numbers and no names"),
            ('bind = "::1"', "must be an address of the same family as 127.0.0.1:9000"),
            ('socket_keepalive = "on"', "idle:interval:count"),
        ):
            told = self.refused(line)
            self.assertTrue(told.startswith(f"upstreams.app.{line.split()[0]}: "), told)
            self.assertIn(rule, told)
