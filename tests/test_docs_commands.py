"""Each command that a page has people type is one that C{--test} would find right."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import trustme
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import PipeError
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.service.parameters import EXAMPLES

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
#: What a reader gets by these is a page or a package, not a proxy.
_NO_PROXY = ("new-filter", "--help", "--version")
#: The plugins of a page's own listings, which nobody has installed here.
_MADE_ON_THE_PAGE = ("sticky", "by-key", "mask", "mask-long", "mask-asked", "rot13")
_COMMAND = re.compile(r"(?:twisted-pipe|twistd --reactor=\w+(?: -\S+)* pipe) (.*)", re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each command in the listings of C{text}, blocks of C{sh} and those set in by four spaces."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"(?:^    .*\S.*\n)+", text, re.MULTILINE)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        for part in line.partition("  #")[0].split("&&"):
            if found := _COMMAND.fullmatch(part.strip().removesuffix("&").strip()):
                yield shlex.split(found[1])


def spans(text: str) -> Iterator[list[str]]:
    """The options that stand in the text: C{`--limit-rate 2m`}."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for span in re.findall(r"`(--[a-z-]+[ =][^`]+)`", prose):
        if "…" not in span and "NAME" not in span:
            yield shlex.split(span)


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        """What the commands name is there."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        Path("pipe.toml").write_text((ROOT / "docs/reference/pipe.toml").read_text())
        certificate = trustme.CA().issue_cert("example.org")
        for name in ("cert.pem", "key.pem"):
            certificate.private_key_and_cert_chain_pem.write_to_path(name)

    def check(self, page: str, arguments: list[str]) -> None:
        """Parse and check as C{--test} does; what is wrong ends the process."""
        here = [re.sub(r"^/(?:run|etc|var/spool|tmp)(?:/pipe)?(?=/|$)", ".", each) for each in arguments]
        here = ["pipe.toml" if each == "./pipe.toml" or each == "./etc/pipe.toml" else each for each in here]
        try:
            options = PipeOptions()
            options.parseOptions(here)
            options.configuration(MemoryReactorClock())
        except (SystemExit, PipeError, UsageError) as error:
            self.fail(f"{page}: {shlex.join(arguments)}: {error}")

    def test_each_is_right(self) -> None:
        checked = 0
        for name, text in [(page.name, page.read_text()) for page in PAGES] + [("--help", EXAMPLES)]:
            for arguments in commands(text):
                words = {word.partition(":")[0] for word in arguments}
                if arguments[0].startswith(_NO_PROXY) or words & {*_MADE_ON_THE_PAGE}:
                    continue
                self.check(name, arguments)
                checked += 1
        self.assertTrue(checked >= 9, checked)

    def test_each_option_in_the_text_is_right(self) -> None:
        """Beside a place to listen and an upstream, where it says none itself."""
        checked = 0
        for page in (PAGES[0], *(ROOT / "docs/howto").glob("*.md")):
            for arguments in spans(page.read_text()):
                words = {word.partition(":")[0] for word in arguments}
                if arguments[0].startswith(_NO_PROXY) or words & {*_MADE_ON_THE_PAGE}:
                    continue
                more = [] if "--listen" in arguments or "--config" in arguments else ["--listen", "8080"]
                more += [] if "--upstream" in arguments or "--config" in arguments else ["--upstream", "9000"]
                self.check(page.name, [*more, *arguments])
                checked += 1
        self.assertTrue(checked >= 8, checked)

    def test_those_of_the_tutorial(self) -> None:
        """Its filters are found from where it has people type."""
        page = ROOT / "docs/tutorial/first_filter.md"
        path = os.pathsep.join([".", *filter(None, map(os.path.abspath, sys.path))])
        found = [each for each in commands(page.read_text()) if not each[0].startswith(_NO_PROXY)]
        self.assertEqual(len(found), 3)
        for arguments in found[1:]:
            ran = subprocess.run(
                [sys.executable, "-c", "from twisted_pipe.service.run import main; main()", *arguments, "--test"],
                cwd=page.with_suffix(""),
                env={**os.environ, "PYTHONPATH": path},
                capture_output=True,
                text=True,
            )
            self.assertIn("command line: configuration is right", ran.stdout, ran.stderr)
