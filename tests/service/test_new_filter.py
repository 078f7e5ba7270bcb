"""C{twisted-pipe new-filter}: what it writes works at once, and what it is asked for in vain is one line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.new_filter import new_filter, write_filter
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.service.run import main

FILES = [
    "README.md",
    "my_lines_filter/__init__.py",
    "my_lines_filter/filter.py",
    "my_lines_filter/test_filter.py",
    "pyproject.toml",
    "setup.cfg",
    "twisted/plugins/my_lines_filter_dropin.py",
]


def below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


class NewFilterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)

    def said(self, *arguments: str) -> str:
        output = io.StringIO()
        with redirect_stdout(output):
            new_filter(arguments)
        return output.getvalue()

    def refused(self, *arguments: str) -> str:
        error: SystemExit = self.assertRaises(SystemExit, new_filter, arguments)
        self.assertIsInstance(error.code, str)  # which Python prints to stderr, and exits with 1
        self.assertNotIn("\n", str(error.code))
        return str(error.code).removeprefix("twisted-pipe new-filter: ")


class WriteTests(NewFilterCase):
    def test_tells_what_it_wrote_and_what_comes_next(self) -> None:
        lines = self.said("my-lines").splitlines()
        self.assertEqual(below(self.folder / "my_lines_filter"), FILES)
        self.assertEqual(sorted(lines[: len(FILES)]), [f"wrote my_lines_filter/{name}" for name in FILES])
        self.assertIn("  cd my_lines_filter", lines)
        self.assertTrue(lines[-1].endswith("--filter my-lines"), lines)

    def test_directory(self) -> None:
        for arguments in (["--directory", "a/b", "my-lines"], ["my-lines", "--directory=c"]):
            self.assertIn(f"cd {'a/b' if 'a/b' in arguments else 'c'}\n", self.said(*arguments))
        self.assertEqual((below(Path("a/b")), below(Path("c"))), (FILES, FILES))

    def test_an_empty_directory_will_do(self) -> None:
        Path("empty").mkdir()
        self.assertEqual(len(write_filter("my-lines", Path("empty"))), len(FILES))

    def test_any_name_makes_python(self) -> None:
        for name in ("x", "7zip", "none", "class", "pipe-filter", "filter-generator", "filter", "a--b-", "sample-name"):
            for path in write_filter(name, Path(name)):
                self.assertNotIn("sample_package", str(path))
                if path.suffix == ".py":
                    text = path.read_text()
                    compile(text, str(path), "exec")
                    self.assertTrue(path.parent.name.isidentifier(), path)
                    self.assertNotIn("class None", text)
        self.assertIn('FilterPlugin("7zip", ', Path("7zip/twisted/plugins/filter_7zip_dropin.py").read_text())
        self.assertIn("filter_7zip.filter:Filter7zip", Path("7zip/twisted/plugins/filter_7zip_dropin.py").read_text())
        self.assertIn(
            "class FilterPipeFilter(PipeFilter):", Path("pipe-filter/pipe_filter_filter/filter.py").read_text()
        )

    def test_nothing_of_the_sample_is_left(self) -> None:
        for path in write_filter("my-lines", Path("here")):
            text = path.read_text().lower()
            self.assertNotIn("sample", text, path)


class RefusalTests(NewFilterCase):
    def test_name(self) -> None:
        for name in ("Upper", "a_b", "", "a b", "../a"):
            rule = "a filter's name is lower case letters, digits and dashes, no dash first"
            self.assertEqual(self.refused(name), f"NAME: {name!r}: {rule}")
        self.assertEqual(below(self.folder), [])

    def test_name_that_is_taken(self) -> None:
        self.assertTrue(self.refused("upper").startswith("NAME: 'upper': there is a filter of this name: "))

    def test_nothing_is_overwritten(self) -> None:
        self.said("my-lines")
        mine = Path("my_lines_filter/my_lines_filter/filter.py")
        mine.write_text("mine")
        self.assertEqual(
            self.refused("my-lines"), "--directory: 'my_lines_filter': is there already; nothing is overwritten"
        )
        self.assertEqual(mine.read_text(), "mine")
        self.assertRaises(BadConfiguration, write_filter, "other", mine)

    def test_cannot_be_written(self) -> None:
        Path("file").write_text("")
        self.assertEqual(self.refused("a", "--directory", "file/a"), "file/a: not a directory")

    def test_command_line(self) -> None:
        for arguments in ([], ["a", "b"], ["a", "--dir", "b"], ["a", "--directory"]):
            self.assertTrue(self.refused(*arguments).endswith("; --help tells more"), arguments)


class CommandTests(NewFilterCase):
    def test_is_part_of_the_console_script(self) -> None:
        self.patch(sys, "argv", ["twisted-pipe", "new-filter", "my-lines"])
        with redirect_stdout(io.StringIO()):
            main()
        self.assertEqual(below(self.folder / "my_lines_filter"), FILES)

    def test_is_in_the_help(self) -> None:
        self.assertIn("twisted-pipe new-filter NAME", " ".join(PipeOptions().getUsage().split()))

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=60)

    def test_imports_no_reactor(self) -> None:
        script = (
            "import sys; sys.argv = ['twisted-pipe', 'new-filter', 'my-lines']\n"
            "from twisted_pipe.service.run import main; main()\n"
            "print([name for name in sys.modules if name in ('twisted.internet.reactor', 'twisted_pipe.net')])"
        )
        said = self.python("-c", script)
        self.assertEqual((said.stdout.splitlines()[-1], said.stderr), ("[]", ""))

    def test_its_tests_pass(self) -> None:
        """Under trial and under pytest, where it was written, without being installed."""
        self.said("my-lines")
        os.chdir("my_lines_filter")
        said = self.python("-m", "twisted.trial", "my_lines_filter")
        self.assertTrue(said.stdout.endswith("PASSED (successes=4)\n"), said.stdout + said.stderr)
        said = self.python("-m", "pytest", "-q")
        self.assertEqual((said.returncode, said.stdout.split(" in ")[0].splitlines()[-1]), (0, "4 passed"), said)

    def test_its_tests_find_a_mistake(self) -> None:
        """The likeliest: state that is forgotten between two pieces of the stream."""
        self.said("my-lines")
        os.chdir("my_lines_filter")
        source = Path("my_lines_filter/filter.py")
        text = source.read_text()
        source.write_text(text.replace("line if self._within_line else prefix + line", "prefix + line"))
        self.assertNotEqual(source.read_text(), text)
        said = self.python("-m", "twisted.trial", "my_lines_filter")
        self.assertIn("it makes something else from byte", said.stdout)
