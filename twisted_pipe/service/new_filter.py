"""
C{twisted-pipe new-filter [--message] NAME}: the beginning of a filter of one's own, a whole package that works as it is.

Its files lie in C{template/}, where they are linted and type-checked like everything else; the three names in them are replaced.
What both kinds of filter have is in C{common/} alone: whole files, and the end of the README.
"""

from __future__ import annotations

import keyword
import re
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NoReturn

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import FILTERS
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.plugin.declared import is_plugin_name, name_rule
from twisted_pipe.plugin.discovery import PluginKind
from twisted_pipe.service.refusal import reason_of

__all__ = ["BYTES", "MESSAGES", "FilterTemplate", "new_filter", "write_filter"]

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
_COMMON = "common"
#: What the modules of the filters call other things.
_TAKEN = frozenset(
    {
        "BadConfiguration",
        "ClassVar",
        "FilterGenerator",
        "MessageFilter",
        "PipeFilter",
        "Reply",
        "RequestMessage",
        "ResponseMessage",
    }
)


@attrs.frozen
class FilterTemplate:
    """
    What there is to begin with.

    @ivar folder: of C{template/}, with what C{common/} has not.
    @ivar kind: what becomes of it.
    @ivar usage: a command that tries the filter, with C{{}} for its name.
    """

    folder: str
    kind: PluginKind
    usage: str


#: Of what flows through a pipe.
BYTES = FilterTemplate("bytes", FILTERS, "twisted-pipe --listen 8080 --upstream 127.0.0.1:9000 --filter {}")
#: Of the heads of HTTP.
MESSAGES = FilterTemplate(
    "messages", MESSAGE_FILTERS, """twisted-pipe --config pipe.toml    # with message_filters = ["{}"]: see README.md"""
)


class _Parser(ArgumentParser):
    def __init__(self) -> None:
        super().__init__(
            prog=_PROGRAM,
            description="Write the package of a new filter, with tests, that does little and works: a place to begin.",
            allow_abbrev=False,
        )
        self.add_argument(
            "name",
            metavar="NAME",
            help=f"what it is called in --filter NAME, or in message_filters: {name_rule('filter')}",
        )
        self.add_argument(
            "--message",
            dest="template",
            action="store_const",
            const=MESSAGES,
            default=BYTES,
            help="a message filter, which sees the heads of HTTP [default: a filter of bytes]",
        )
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
        written = write_filter(options.name, directory, options.template)
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
        f"  {options.template.usage.format(options.name)}"
    )


def write_filter(name: str, directory: Path, template: FilterTemplate = BYTES) -> list[Path]:
    """
    Write the package.

    @param name: of the filter.
    @param template: what to begin with.
    @return: the files.
    @raise BadConfiguration: the name cannot be or is taken, or there is something in C{directory}.
    @raise OSError: it cannot be written.
    """
    kind = template.kind
    if not is_plugin_name(name):
        raise BadConfiguration("NAME", name, name_rule(kind.noun))
    for other in kind.all():
        if other.name == name:
            raise BadConfiguration("NAME", name, f"there is a {kind.noun} of this name: {kind.origin_of(other)}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadConfiguration("--directory", str(directory), "is there already; nothing is overwritten")
    names = {"sample-name": name, "sample_package": _package_of(name), "SampleClass": _class_of(name)}

    def named(text: str) -> str:
        return _SAMPLE.sub(lambda match: names[match[0]], text)

    written = []
    for file in _FILES:
        path = directory / named(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(named(_text_of(file, template)), "utf-8")
        written.append(path)
    return written


def _text_of(file: str, template: FilterTemplate) -> str:
    """What the template has of it, then what all have."""
    folder = resources.files("twisted_pipe.service") / "template"
    parts = [folder / part / file for part in (template.folder, _COMMON)]
    return "".join(part.read_text("utf-8") for part in parts if part.is_file())


def _package_of(name: str) -> str:
    stem = name.replace("-", "_")
    return f"{stem}_filter" if stem[:1].isalpha() else f"filter_{stem}"


def _class_of(name: str) -> str:
    camel = "".join(part.capitalize() for part in name.split("-"))
    return f"Filter{camel}" if not camel.isidentifier() or keyword.iskeyword(camel) or camel in _TAKEN else camel
