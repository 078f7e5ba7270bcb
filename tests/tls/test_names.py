"""Which name is whose, and which host an address has."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.tls.names import NameTable, host_of, server_name_of


class NameTableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = NameTable([(["a.example", "*.example"], 1), (["A.example", "b.example", "*.b.example"], 2)])

    def test_exact_before_an_asterisk(self) -> None:
        self.assertEqual([self.table.get(name) for name in ("a.example", "b.example", "c.example")], [1, 2, 1])

    def test_an_asterisk_is_one_label(self) -> None:
        self.assertEqual(self.table.get("x.b.example"), 2)
        self.assertEqual(
            [self.table.get(name) for name in ("x.y.b.example", "example", ".example", "")], [None, None, 1, None]
        )


class HostTests(SynchronousTestCase):
    def test_host_of_an_address(self) -> None:
        for address, host in (
            ("example.org:443", "example.org"),
            ("example.org", "example.org"),
            ("127.0.0.1:443", "127.0.0.1"),
            ("[::1]:443", "::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("tcp:example.org:443", "example.org"),
            ("tcp:127.0.0.1:443:timeout=5", "127.0.0.1"),
            ("unix:/run/app.sock", ""),
            ("/run/app.sock", ""),
            ("", ""),
        ):
            self.assertEqual(host_of(address), host, address)

    def test_how_it_is_asked_for(self) -> None:
        for host, name in (
            ("a.example", b"a.example"),
            ("b\u00fccher.example", b"xn--bcher-kva.example"),
            ("192.0.2.7", b""),
            ("::1", b""),
            ("", b""),
            ("\u00fc" * 80, b""),
        ):
            self.assertEqual(server_name_of(host), name)
