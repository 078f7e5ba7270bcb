"""Paths in endpoint strings are relative to a directory that is named, and not to whatever the process is in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.service.endpoint_paths import CLIENT, SERVER, endpoint_parts


class PathsTests(SynchronousTestCase):
    def test_listeners(self) -> None:
        for text, placed in {
            "unix:a.sock": "unix:/f/a.sock",
            "UNIX:run/a.sock:660:lockfile=0": "UNIX:/f/run/a.sock:660:lockfile=0",
            "unix:mode=660:address=a.sock": "unix:mode=660:address=/f/a.sock",
            "ssl:8443:privateKey=k.pem:certKey=/c.pem:extraCertChain=ca.pem": (
                "ssl:8443:privateKey=/f/k.pem:certKey=/c.pem:extraCertChain=/f/ca.pem"
            ),
        }.items():
            self.assertEqual(SERVER.absolute(text, "/f"), placed)

    def test_servers(self) -> None:
        for text, placed in {
            "unix:a.sock": "unix:/f/a.sock",
            "unix:path=a.sock:timeout=3": "unix:path=/f/a.sock:timeout=3",
            "tls:a.test:443:trustRoots=ca:certificate=c.pem": "tls:a.test:443:trustRoots=/f/ca:certificate=/f/c.pem",
        }.items():
            self.assertEqual(CLIENT.absolute(text, "/f"), placed)

    def test_what_stays(self) -> None:
        """Other kinds, absolute paths, abstract sockets, what is no path, and what is quoted in any way."""
        for text in (
            "8080",
            "tcp:8080:interface=run",
            "unix:/a.sock",
            "unix:\0abstract",
            "unix:",
            "unix",
            "unix:/a\\:b\\=c\\\\d:mode=660",
            "ssl:8443:interface=k.pem",
            "tor:privateKey=x",
            "unix:/a\\",
            "",
        ):
            self.assertEqual(SERVER.absolute(text, "/f"), text)

    def test_what_has_to_be_quoted_is(self) -> None:
        self.assertEqual(SERVER.absolute("unix:a\\:b", "/x:y=z\\"), "unix:/x\\:y\\=z\\\\/a\\:b")

    def test_nowhere(self) -> None:
        """As Twisted takes them."""
        self.assertEqual(SERVER.absolute("unix:a.sock", ""), "unix:a.sock")

    def test_parts(self) -> None:
        for text, parts in {"a:b": ["a", "b"], "a\\:b:\\\\:": ["a:b", "\\", ""], "": [""]}.items():
            self.assertEqual(endpoint_parts(text), parts)
