"""
C{twisted-pipe new-filter NAME}: the beginning of a filter of one's own, a whole package that works as it is.

Its files lie in C{template/}, where they are linted and type-checked like everything else; the three names in them are replaced.
"""

from __future__ import annotations

import keyword
import re
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NoReturn

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import FILTERS
from twisted_pipe.plugin.declared import is_plugin_name, name_rule
from twisted_pipe.service.refusal import reason_of

__all__ = ["new_filter", "write_filter"]

_PROGRAM = "twisted-pipe new-filter"
_FILES = (
    "README.md",
    "pyproject.toml",
    "setup.cfg",
    "sample_package/__init__.py",
    "sample_package/filter.py",
    "sample_package/test_filter.py",
    "twisted/plugins/sample_package_dropin.py",
)
_SAMPLE = re.compile("sample-name|sample_package|SampleClass")
#: What the module of the filter calls other things.
_TAKEN = ("FilterGenerator", "PipeFilter")


class _Parser(ArgumentParser):
    def __init__(self) -> None:
        super().__init__(
            prog=_PROGRAM,
            description="Write the package of a new filter, with tests, that does little and works: a place to begin.",
            allow_abbrev=False,
        )
        self.add_argument("name", metavar="NAME", help=f"what it is called in --filter NAME: {name_rule('filter')}")
        self.add_argument(
            "--directory", metavar="DIR", help="where to; must be empty or not there yet [default: the package's name]"
        )

    def error(self, message: str) -> NoReturn:
        raise SystemExit(f"{_PROGRAM}: {message}; --help tells more")


def new_filter(arguments: Sequence[str]) -> None:
    """
    Do what the command line says, and tell what was done and what comes next.

    @param arguments: those after C{new-filter}.
    @raise SystemExit: with one line, when it cannot be done.
    """
    options = _Parser().parse_args(arguments)
    package = _package_of(options.name)
    directory = Path(options.directory or package)
    try:
        written = write_filter(options.name, directory)
    except BadConfiguration as error:
        raise SystemExit(f"{_PROGRAM}: {error}") from None
    except OSError as error:
        raise SystemExit(f"{_PROGRAM}: {error.filename}: {reason_of(error)}") from None
    for path in written:
        print(f"wrote {path}")
    print(
        f"\nNext: the filter is in {directory / package / 'filter.py'}\n\n"
        f"  cd {directory}\n"
        f"  python -m twisted.trial {package}    # or: python -m pytest\n"
        "  pip install -e .\n"
        f"  twisted-pipe --listen 8080 --upstream 127.0.0.1:9000 --filter {options.name}"
    )


def write_filter(name: str, directory: Path) -> list[Path]:
    """
    Write the package.

    @param name: of the filter.
    @return: the files.
    @raise BadConfiguration: the name cannot be or is taken, or there is something in C{directory}.
    @raise OSError: it cannot be written.
    """
    if not is_plugin_name(name):
        raise BadConfiguration("NAME", name, name_rule("filter"))
    for other in FILTERS.all():
        if other.name == name:
            raise BadConfiguration("NAME", name, f"there is a filter of this name: {FILTERS.origin_of(other)}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadConfiguration("--directory", str(directory), "is there already; nothing is overwritten")
    names = {"sample-name": name, "sample_package": _package_of(name), "SampleClass": _class_of(name)}

    def named(text: str) -> str:
        return _SAMPLE.sub(lambda match: names[match[0]], text)

    template = resources.files("twisted_pipe.service") / "template"
    written = []
    for file in _FILES:
        path = directory / named(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(named((template / file).read_text("utf-8")), "utf-8")
        written.append(path)
    return written


def _package_of(name: str) -> str:
    stem = name.replace("-", "_")
    return f"{stem}_filter" if stem[:1].isalpha() else f"filter_{stem}"


def _class_of(name: str) -> str:
    camel = "".join(part.capitalize() for part in name.split("-"))
    return f"Filter{camel}" if not camel.isidentifier() or keyword.iskeyword(camel) or camel in _TAKEN else camel
