"""The plugins of docs/howto/names.md and health.md do what the pages say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from tests.upstream.checking import FakeConnector
from tests.upstream.resolving import found
from twisted_pipe.errors import CheckFailed, NotResolved
from twisted_pipe.interfaces import IHealthCheck, IUpstreamResolver
from twisted_pipe.upstream.group import UpstreamServer
from twisted_pipe.upstream.resolution import Resolution

DOCS = Path(__file__).parent.parent.parent / "docs" / "howto"


@attrs.frozen
class Entry:
    host: str
    port: int
    weight: int


def listing(page: str) -> dict[str, Any]:
    """What the page's one listing defines."""
    (text,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(text, names)
    return names


class HowToTests(SynchronousTestCase):
    def test_a_resolver(self) -> None:
        registry = listing("names.md")["Registry"]
        self.assertTrue(verifyClass(IUpstreamResolver, registry))
        answers: list[Any] = [[Entry("10.0.0.1", 80, 3)], None]

        class Here(registry):  # type: ignore[misc]
            def ask(self, name: str) -> Any:
                assert name == "app"
                return succeed(answers.pop(0))

        here = Here(None, place="x")
        self.assertEqual([here.takes("registry:app"), here.takes("app:80")], [True, False])
        told = self.successResultOf(here.resolve("registry:app"))
        self.assertEqual(told, Resolution(found("10.0.0.1:80*3"), 10.0))
        self.failureResultOf(here.resolve("registry:app"), NotResolved)

    def test_a_check(self) -> None:
        smtp = listing("health.md")["Smtp"]
        self.assertTrue(verifyClass(IHealthCheck, smtp))
        for greeting, fine in ((b"220 mail.test", True), (b"554 go away", False), (b"", False)):
            connector = FakeConnector()
            checking = smtp(connector).check(UpstreamServer("10.0.0.1:25", None))
            (stream,) = connector.streams
            stream.say(greeting)
            self.assertFalse(stream.open)
            self.assertEqual(stream.sent, b"QUIT\r\n" if fine else b"")
            if fine:
                self.successResultOf(checking)
            else:
                self.failureResultOf(checking, CheckFailed)
