"""The listings of README.md and docs/ are what they say: they compile, and the how-to's filters work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.filters.base import FilterPlugin
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.service.config.compile import compile_file
from twisted_pipe.testing import FilterHarness

ROOT = Path(__file__).parent.parent
CERTIFICATE = trustme.CA().issue_cert("example.org")


def listings(page: str) -> list[str]:
    """The Python listings of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


class ListingTests(SynchronousTestCase):
    def test_all_compile(self) -> None:
        pages = [path.relative_to(ROOT) for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
        found = 0
        for page in pages:
            for listing in listings(str(page)):
                # "await" at the top stands for the inside of somebody's coroutine
                body = "\n".join(f"    {line}" for line in listing.splitlines())
                compile(f"async def listing():\n{body}\n", str(page), "exec")
                found += 1
        self.assertTrue(found >= 6, found)

    def test_configuration_files(self) -> None:
        """Each listing of a configuration file is right."""
        found = 0
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
            for listing in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL):
                folder = Path(self.mktemp())
                folder.mkdir()
                (folder / "pipe.toml").write_text(listing)
                for name in set(re.findall(r'"([\w.-]+\.pem)"', listing)):
                    (folder / name).write_bytes(CERTIFICATE.private_key_and_cert_chain_pem.bytes())
                (folder / "users").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
                (folder / "login.html").write_text("who are you?")
                configuration = compile_file(str(folder / "pipe.toml"), MemoryReactorClock())
                self.assertTrue(configuration.servers, page.name)
                found += 1
        self.assertTrue(found >= 3, found)

    def test_filter_how_to(self) -> None:
        """Its listings, run in order, give the filters that the text describes."""
        names: dict[str, Any] = {"look_up": lambda client: succeed(b"stamp")}
        for listing in listings("docs/howto/filter.md"):
            exec(listing, names)
        names["test_upper"]()
        self.assertEqual(FilterHarness(names["First"]).run(b"a", b"b"), b"-- here it begins --\nab")
        self.assertEqual(FilterHarness(names["Stamped"]).run(b"a"), b"stampa")
        self.assertEqual(FilterHarness(names["Comments"]).run(b"a\n#b\nc\n"), b"a\nc\n")
        output = names["Stamp"](FilterContext()).received(memoryview(b"data"))
        next(output)
        self.assertEqual([output.send(b"stamp"), bytes(next(output))], [b"stamp", b"data"])
        self.assertEqual(names["Throttle"](context=FilterContext(), rate=100).rate, 100)
        self.assertIsInstance(names["rot13"], FilterPlugin)

    def test_tutorial(self) -> None:
        """Its listings are the files beside it, whose own tests pass."""
        folder = ROOT / "docs" / "tutorial" / "first_filter"
        shown = {}
        for listing in listings("docs/tutorial/first_filter.md"):
            name = listing.splitlines()[0].removeprefix("# ")
            shown[name] = listing
        files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}
        self.assertEqual(shown, files)
        tests = sorted(path.stem for path in folder.glob("test_*.py"))
        self.assertEqual(len(tests), 3)
        trial = [sys.executable, "-m", "twisted.trial", f"--temp-directory={os.path.abspath(self.mktemp())}", *tests]
        path = os.pathsep.join([str(folder), *filter(None, sys.path)])
        ran = subprocess.run(trial, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
        self.assertEqual(ran.returncode, 0, ran.stdout[-2000:] + ran.stderr[-2000:])
        self.assertIn("Ran 9 tests", ran.stdout)

    def test_reference(self) -> None:
        """Its pages say what the code says now; C{python docs/reference/generate.py} writes them anew."""
        folder = ROOT / "docs" / "reference"
        names: dict[str, Any] = {"__name__": "generate", "__file__": str(folder / "generate.py")}
        exec((folder / "generate.py").read_text(), names)
        for name, page in names["PAGES"].items():
            self.assertEqual((folder / name).read_text(), page(), name)

    def test_links(self) -> None:
        """What a page links to is there, heading included."""
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
            for target, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
                linked = page.parent / target if target else page
                self.assertTrue(linked.exists(), f"{page.name} links to {target}")
                if heading:
                    self.assertTrue(heading in headings(linked), f"{page.name} links to {target}#{heading}")
