"""What pages name is there: files, keys of the configuration, lines of the log."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
PACKAGE = ROOT / "twisted_pipe"


def joined(text: str) -> str:
    """Source with what is written as several literals, one after the other, as one."""
    return re.sub(r'"\s*\n\s*f?"', "", text)


SOURCE = "\n".join(joined(path.read_text()) for path in PACKAGE.rglob("*.py"))
KEYS = frozenset(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/reference/configuration.md").read_text(), re.MULTILINE))
OPTIONS = frozenset(re.findall(r"^    (\w+)=", (ROOT / "docs/reference/plugins.md").read_text(), re.MULTILINE))
#: Keys of kinds of values: of a filter, a resolver, a check, as a table.
_OF_TABLES = frozenset({"name", "types", "resolver", "check", "on_failure", "filter_timeout"})
#: What a message filter sets, in Python.
_OF_REQUESTS = frozenset({"upstream"})
#: What the system says, not we.
_SYSTEM = re.compile("address already in use|Connection refused|Connection reset by peer")


def prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


class FactTests(SynchronousTestCase):
    def test_lines_of_the_log(self) -> None:
        """Those of the page on trouble are said somewhere, word for word between the C{…}."""
        rows = re.findall(r"^\| (`.*?) \|", prose(ROOT / "docs/howto/troubleshoot.md"), re.MULTILINE)
        checked = 0
        for span in re.findall(r"`([^`]+)`", "\n".join(rows)):
            for piece in filter(None, (each.strip(" :'") for each in span.split("…"))):
                # who is to blame, and how long a timeout is, are put together with the rest
                said = _SYSTEM.sub("", re.sub("^(?:client|upstream): ", "", piece)).strip(" :").removesuffix(" of")
                self.assertTrue(said in SOURCE, f"{span}: {said}")
                checked += 1
        self.assertTrue(checked > 40, checked)

    def test_keys(self) -> None:
        """C{`name = value`} in the text is a key of the file, or an option of a plugin."""
        known = KEYS | OPTIONS | _OF_TABLES | _OF_REQUESTS
        for page in (PAGES[0], *(ROOT / "docs/howto").glob("*.md")):
            for name in re.findall(r"`(\w+) = (?:[\"'\[{\d]|true|false)", prose(page)):
                self.assertTrue(name in known, (page.name, name))

    def test_files(self) -> None:
        """A path of the source, from its top or that of the package, is there."""
        room = r"(?:tests|docs|twisted_pipe|core|net|http|upstream|proxies|tls|filters|plugin|service|preface|messages)"
        for page in PAGES:
            for path in re.findall(rf"(?:`|python )({room}/[\w/]*\w(?:\.py|\.md|/)?)(?![\w.*])", page.read_text()):
                self.assertTrue(
                    (ROOT / path).exists() or (PACKAGE / path).exists() or path == "http/1", (page.name, path)
                )

    def test_rooms(self) -> None:
        """The plan of the package in architecture.md names modules that there are, and no room is left out."""
        page = (ROOT / "docs/explanation/architecture.md").read_text()
        plan = page.partition("## The rooms")[2].split("```")[1]
        rooms = set(re.findall(r"^  (\w+)/ ", plan, re.MULTILINE))
        self.assertEqual(rooms, {path.parent.name for path in PACKAGE.glob("*/__init__.py")})
        for room in ("core", "plugin", "net", "messages"):  # of the others it names what one begins with
            for module in {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}:
                self.assertTrue(re.search(rf"\b{module}\b", plan), f"{room}/{module}")
