"""C{twisted-pipe new-filter}: what it writes works at once, and what it is asked for in vain is one line."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.plugin.declared import is_plugin_name
from twisted_pipe.service.new_filter import BYTES, MESSAGES, new_filter, write_filter
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

    def test_of_messages(self) -> None:
        lines = self.said("--message", "my-lines").splitlines()
        self.assertEqual(below(self.folder / "my_lines_filter"), FILES)
        self.assertEqual(sorted(lines[: len(FILES)]), [f"wrote my_lines_filter/{name}" for name in FILES])
        self.assertIn('  twisted-pipe --config pipe.toml    # with message_filters = ["my-lines"]', lines[-1])
        dropin = Path("my_lines_filter/twisted/plugins/my_lines_filter_dropin.py").read_text()
        self.assertIn('MessageFilterPlugin(\n    "my-lines",', dropin)
        self.assertIn('"my_lines_filter.filter:MyLines"', dropin)

    def test_what_both_kinds_have_is_the_same(self) -> None:
        texts = []
        for template in (BYTES, MESSAGES):
            written = write_filter("my-lines", Path(template.folder), template)
            texts.append({str(path.relative_to(template.folder)): path.read_text() for path in written})
        byte, message = texts
        same = sorted(name for name in FILES if byte[name] == message[name])
        self.assertEqual(same, ["my_lines_filter/__init__.py", "pyproject.toml", "setup.cfg"])
        ends = {text["README.md"].partition("\n`twisted-pipe --help-filter ")[2] for text in texts}
        self.assertEqual(len(ends), 1)
        self.assertIn("\n## Test it\n", ends.pop())

    def test_directory(self) -> None:
        for arguments in (["--directory", "a/b", "my-lines"], ["my-lines", "--directory=c"]):
            self.assertIn(f"cd {'a/b' if 'a/b' in arguments else 'c'}\n", self.said(*arguments))
        self.assertEqual((below(Path("a/b")), below(Path("c"))), (FILES, FILES))

    def test_an_empty_directory_will_do(self) -> None:
        Path("empty").mkdir()
        self.assertEqual(len(write_filter("my-lines", Path("empty"))), len(FILES))

    def test_any_name_makes_python(self) -> None:
        names = ("x", "7zip", "none", "class", "pipe-filter", "filter", "a--b-", "sample-name")
        for template in (BYTES, MESSAGES):
            for name in names:
                for path in write_filter(name, Path(template.folder, name), template):
                    self.assertNotIn("sample_package", str(path))
                    if path.suffix == ".py":
                        text = path.read_text()
                        compile(text, str(path), "exec")
                        self.assertTrue(path.parent.name.isidentifier(), path)
                        self.assertNotIn("class None", text)
        dropin = Path("bytes/7zip/twisted/plugins/filter_7zip_dropin.py").read_text()
        self.assertIn('FilterPlugin("7zip", ', dropin)
        self.assertIn("filter_7zip.filter:Filter7zip", dropin)
        source = Path("bytes/pipe-filter/pipe_filter_filter/filter.py").read_text()
        self.assertIn("class FilterPipeFilter(PipeFilter):", source)

    def test_no_name_hides_what_the_module_imports(self) -> None:
        for template in (BYTES, MESSAGES):
            [source] = [path for path in write_filter("x", Path(template.folder), template) if path.name == "filter.py"]
            imports = [node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ImportFrom)]
            imported = {alias.name for node in imports for alias in node.names}
            self.assertTrue(imported & {"PipeFilter", "MessageFilter"})
            for each in imported:
                name = re.sub("(?<=[a-z])(?=[A-Z])", "-", each).lower()
                folder = Path(f"{template.folder} {name}")
                if is_plugin_name(name):
                    [source] = [path for path in write_filter(name, folder, template) if path.name == "filter.py"]
                    [made] = [node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef)]
                    self.assertNotIn(made.name, imported)

    def test_nothing_of_the_sample_is_left(self) -> None:
        for template in (BYTES, MESSAGES):
            for path in write_filter("my-lines", Path(template.folder), template):
                self.assertNotIn("sample", path.read_text().lower(), path)


class RefusalTests(NewFilterCase):
    def test_name(self) -> None:
        for name in ("Upper", "a_b", "", "a b", "../a"):
            rule = "a filter's name is lower case letters, digits and dashes, no dash first"
            self.assertEqual(self.refused(name), f"NAME: {name!r}: {rule}")
        self.assertIn("NAME: 'Upper': a message filter's name is lower case", self.refused("--message", "Upper"))
        self.assertEqual(below(self.folder), [])

    def test_name_that_is_taken(self) -> None:
        """By one of its kind."""
        self.assertTrue(self.refused("upper").startswith("NAME: 'upper': there is a filter of this name: "))
        said = self.refused("--message", "cors")
        self.assertTrue(said.startswith("NAME: 'cors': there is a message filter of this name: "), said)
        self.said("cors")
        self.said("--message", "upper")

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
        usage = " ".join(PipeOptions().getUsage().split())
        self.assertIn("twisted-pipe new-filter NAME writes the package of a new filter, with --message of", usage)

    def test_its_own_help(self) -> None:
        output = io.StringIO()
        with redirect_stdout(output):
            self.assertRaises(SystemExit, new_filter, ["--help"])
        self.assertIn("--message a message filter, which sees the heads of HTTP", " ".join(output.getvalue().split()))

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=60)

    def test_imports_no_reactor(self) -> None:
        for arguments in (["my-lines"], ["--message", "other"]):
            script = (
                f"import sys; sys.argv = ['twisted-pipe', 'new-filter', *{arguments}]\n"
                "from twisted_pipe.service.run import main; main()\n"
                "print([name for name in sys.modules if name in ('twisted.internet.reactor', 'twisted_pipe.net')])"
            )
            said = self.python("-c", script)
            self.assertEqual((said.stdout.splitlines()[-1], said.stderr), ("[]", ""))

    def test_its_tests_pass(self) -> None:
        """Under trial and under pytest, where it was written, without being installed."""
        for arguments, count in (["my-lines"], 4), (["--message", "my-lines"], 5):
            self.said(*arguments, "--directory", f"{count}")
            os.chdir(f"{count}")
            said = self.python("-m", "twisted.trial", "my_lines_filter")
            self.assertTrue(said.stdout.endswith(f"PASSED (successes={count})\n"), said.stdout + said.stderr)
            said = self.python("-m", "pytest", "-q")
            last = said.stdout.split(" in ")[0].splitlines()[-1]
            self.assertEqual((said.returncode, last), (0, f"{count} passed"), said)
            os.chdir(self.folder)

    def mistaken(self, right: str, wrong: str, *arguments: str) -> str:
        """What the tests of a package say when C{right} in its filter is C{wrong}."""
        self.said("my-lines", "--directory", "here", *arguments)
        os.chdir("here")
        source = Path("my_lines_filter/filter.py")
        text = source.read_text()
        self.assertEqual(text.count(right), 1)
        source.write_text(text.replace(right, wrong))
        return self.python("-m", "twisted.trial", "my_lines_filter").stdout

    def test_its_tests_find_a_mistake(self) -> None:
        """The likeliest: state that is forgotten between two pieces of the stream."""
        said = self.mistaken("line if self._within_line else prefix + line", "prefix + line")
        self.assertIn("it makes something else from byte", said)

    def test_its_tests_find_a_mistake_about_messages(self) -> None:
        """The likeliest: what the client has written is taken for what it means."""
        said = self.mistaken("request.uri.startswith", "request.target.startswith", "--message")
        self.assertIn("FAILED (failures=1, successes=4)", said)
        self.assertIn("/%70rivate/a", said)
