"""A configuration file is read, and what is wrong with its shape is found."""

from __future__ import annotations

import re
import sys
from typing import Any

from twisted_pipe.service.config.model import ConfigurationFile
from twisted_pipe.service.config.problems import BadFile, Problems
from twisted_pipe.service.config.structure import structure
from twisted_pipe.service.refusal import reason_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["load", "read_document"]

_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|(end of document))\)", re.DOTALL)


def load(file: str) -> tuple[ConfigurationFile, Problems]:
    """
    What a file says, and what is wrong with it so far; that part is left out of the former.

    @raise BadFile: it cannot be read, or is no TOML.
    """
    problems = Problems(file, read_document(file))
    return structure(problems), problems


def read_document(file: str) -> dict[str, Any]:
    """
    The tables of a TOML file.

    @raise BadFile: it cannot be read, or is no TOML.
    """
    try:
        with open(file, "rb") as opened:
            return tomllib.loads(opened.read().decode().removeprefix("\ufeff"))  # a mark of some editors
    except OSError as error:
        raise BadFile([f"{file}: cannot be read: {reason_of(error)}"]) from error
    except UnicodeDecodeError as error:
        raise BadFile([f"{file}: byte {error.start + 1}: must be UTF-8"]) from error
    except tomllib.TOMLDecodeError as error:
        raise BadFile([f"{file}: {_explain(str(error))}"]) from error
    except RecursionError as error:
        raise BadFile([f"{file}: is nested too deeply"]) from error


def _explain(text: str) -> str:
    """What the parser says, with the place first."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return f"no TOML: {text}"
    place = f"line {match[2]}, column {match[3]}" if match[2] else match[4]
    return f"{place}: no TOML: {match[1]}"
