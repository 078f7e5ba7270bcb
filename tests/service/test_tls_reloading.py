"""Certificates are loaded anew when their files change, and each mistake is told once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent

from tests.tls.case import TlsCase, authority
from twisted_pipe.service.tls_reloading import INTERVAL, TlsReloading


class Reactor(MemoryReactorClock):
    """Whose threads are done at once."""

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(self, told: Callable[..., object], function: Any, *args: Any, **kwargs: Any) -> None:
        told(True, function(*args, **kwargs))

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)


class ReloadingTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.files = self.certificate("a.example", file="it.pem")
        self.whole = (self.folder / "it.pem").read_bytes()
        self.tls = self.server(self.files)
        self.reloading = TlsReloading(self.reactor, [self.tls])
        self.reloading.start()
        self.addCleanup(self.reloading.stop)

    def looks(self) -> list[str]:
        """What is said when the files are looked at next."""
        with capturedLogs() as events:
            self.reactor.advance(INTERVAL)
        return [formatEvent(event) for event in events]

    def now(self) -> str:
        return self.seen(self.meet(self.client(verify=False), self.tls))

    def test_files_that_have_not_changed_are_not_loaded(self) -> None:
        self.tls.load = None  # type: ignore[assignment,method-assign]
        self.assertEqual(self.looks(), [])

    def test_files_that_have_changed_are(self) -> None:
        self.certificate("b.example", file="it.pem")
        self.assertEqual(self.now(), "a.example")
        self.assertEqual(self.looks(), [f"TLS: loaded anew: {self.files.certificate}"])
        self.assertEqual(self.now(), "b.example")
        self.assertEqual(self.looks(), [])

    def test_a_mistake_is_told_once_when_it_has_lasted(self) -> None:
        self.write("it.pem", b"oops")
        said = f"TLS: certificate {self.files.certificate}: must hold a certificate in PEM form (-----BEGIN …-----); "
        self.assertEqual(self.looks(), [])
        self.assertEqual(self.looks(), [said + "what was loaded before stays in use"])
        self.assertEqual(self.looks(), [])
        self.assertEqual(self.now(), "a.example")

    def test_another_mistake_is_told_too(self) -> None:
        self.write("it.pem", b"oops")
        self.looks()
        self.looks()
        (self.folder / "it.pem").unlink()
        (said,) = self.looks()
        self.assertIn("cannot be read: no such file or directory", said)

    def test_two_files_that_are_replaced_one_after_another(self) -> None:
        issued = authority().issue_cert("b.example")
        self.write("it.pem", issued.cert_chain_pems[0].bytes())
        self.assertEqual(self.looks(), [])
        self.write("it.pem", issued.private_key_and_cert_chain_pem.bytes())
        self.assertEqual(self.looks(), [f"TLS: loaded anew: {self.files.certificate}"])

    def test_the_end_of_a_mistake(self) -> None:
        self.write("it.pem", b"oops")
        self.looks()
        self.looks()
        self.write("it.pem", self.whole)
        self.assertEqual(self.looks(), [f"TLS: loaded anew: {self.files.certificate}"])

    def test_warnings(self) -> None:
        self.write("it.pem", self.whole, 0o644)
        _, said = self.looks()
        self.assertIn("everybody may read this private key", said)

    def test_one_that_is_broken_keeps_nobody_else_from_being_loaded(self) -> None:
        other = self.certificate("other.example")
        tls = self.server(other)
        self.reloading.stop()
        self.reloading = TlsReloading(self.reactor, [self.tls, tls])
        self.reloading.start()
        self.addCleanup(self.reloading.stop)
        self.write("it.pem", b"oops")
        self.certificate("another.example", file="other.example.pem")
        self.assertEqual(self.looks(), [f"TLS: loaded anew: {other.certificate}"])

    def test_whatever_a_library_raises_keeps_nobody_else_from_being_loaded(self) -> None:
        def load() -> Any:
            raise ValueError("Invalid key")

        self.tls.load = load  # type: ignore[method-assign]
        self.write("it.pem", b"oops")
        self.assertEqual(self.looks(), [])
        self.assertEqual(
            self.looks(),
            [f"TLS: {self.files.certificate}: ValueError: Invalid key; what was loaded before stays in use"],
        )
        del self.tls.load  # type: ignore[method-assign]
        self.certificate("b.example", file="it.pem")
        self.assertEqual(self.looks(), [f"TLS: loaded anew: {self.files.certificate}"])

    def test_not_after_the_stop(self) -> None:
        self.reloading.stop()
        self.reloading.stop()
        self.certificate("b.example", file="it.pem")
        self.assertEqual((self.looks(), self.reactor.getDelayedCalls()), ([], []))

    def test_without_tls_nothing_is_looked_at(self) -> None:
        self.reloading.stop()
        TlsReloading(self.reactor, []).start()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
