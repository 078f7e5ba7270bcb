"""
The paths in Twisted's endpoint strings: C{unix:run/http.sock}, C{ssl:8443:privateKey=key.pem}.

Twisted takes those that are not absolute from the directory of the process, and a daemon changes that between reading its
configuration and listening. Those of a configuration file are relative to the file's directory, like all its others.
"""

from __future__ import annotations

import os
import re

import attrs

__all__ = ["CLIENT", "SERVER", "EndpointPaths", "endpoint_parts"]

_PARTS = re.compile(r"(?:^|:)((?:\\.|[^:\\])*\\?)", re.DOTALL)  # a backslash at the end quotes nothing
_PART = re.compile(r"(?:((?:\\.|[^=\\])*)=)?(.*)", re.DOTALL)


@attrs.frozen
class EndpointPaths:
    """
    @ivar keys: the settings that are paths, of each type of endpoint.
    @ivar first: the one of them that is meant by the first part without a name, of each type.
    """

    keys: dict[str, tuple[str, ...]]
    first: dict[str, str]

    def absolute(self, text: str, folder: str) -> str:
        """
        The same endpoint, whose paths are below C{folder} if they were relative. Abstract UNIX sockets have none.

        @param text: as Twisted's C{serverFromString} or C{clientFromString} takes it.
        """
        kind, *parts = _PARTS.findall(text)
        keys = self.keys.get(kind.lower(), ())
        for place, part in enumerate(parts):
            name, value = _split(part)
            said = name if name or place else self.first.get(kind.lower(), "")
            path = _unquoted(value)
            if said in keys and path and not path.startswith(("/", "\0")):
                quoted = re.sub(r"([:=\\])", r"\\\1", os.path.join(folder, path))
                parts[place] = f"{name}={quoted}" if name else quoted
        return ":".join([kind, *parts])


SERVER = EndpointPaths(
    {"unix": ("address",), "ssl": ("privateKey", "certKey", "extraCertChain", "dhParameters")}, {"unix": "address"}
)
CLIENT = EndpointPaths(
    {
        "unix": ("path",),
        "ssl": ("privateKey", "certKey", "caCertsDir"),
        "tls": ("privateKey", "certificate", "trustRoots"),
    },
    {"unix": "path"},
)


def endpoint_parts(text: str) -> list[str]:
    """The parts between colons, without the backslashes that quote (as in C{serverFromString})."""
    return [_unquoted(part) for part in _PARTS.findall(text)]


def _split(part: str) -> tuple[str, str]:
    """Name and value, both as they are quoted; the name is empty if there is none."""
    match = _PART.fullmatch(part)
    assert match is not None  # it fits anything
    return match[1] or "", match[2]


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
