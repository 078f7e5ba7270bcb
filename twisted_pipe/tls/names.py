"""Names of hosts: which certificate is for one, and which one an upstream's address has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from twisted_pipe.ip import is_ip

__all__ = ["NameTable", "host_of", "server_name_of"]

T = TypeVar("T")

_ADDRESS = re.compile(
    r"(?:[a-z0-9]+:(?=[^:]+:\d))?(?P<host>\[[^\]]*\]|[^:/\[\]]+)(?::\d+.*)?", re.ASCII | re.IGNORECASE | re.DOTALL
)


class NameTable(Generic[T]):
    """
    Values by host, exact or by C{*.} and what follows the first label (RFC 6125, section 6.4.3). The first one given for a
    name counts.
    """

    __slots__ = ("_exact", "_wild")

    def __init__(self, entries: Iterable[tuple[Iterable[str], T]]) -> None:
        """
        @param entries: names, and their value.
        """
        self._exact: dict[str, T] = {}
        self._wild: dict[str, T] = {}
        for names, value in entries:
            for name in names:
                if name.startswith("*."):
                    self._wild.setdefault(name[2:].lower(), value)
                else:
                    self._exact.setdefault(name.lower(), value)

    def get(self, host: str) -> T | None:
        """
        @param host: lower case.
        """
        found = self._exact.get(host)
        return found if found is not None else self._wild.get(host.partition(".")[2])


def server_name_of(host: str) -> bytes:
    """How C{host} is asked for (SNI); nothing for an address (RFC 6066, section 3), and for what is no name."""
    if is_ip(host):
        return b""
    try:
        return host.encode("ascii" if host.isascii() else "idna")
    except UnicodeError:
        return b""


def host_of(address: str) -> str:
    """
    The host of C{HOST:PORT}, C{[IPV6]:PORT}, C{HOST} or C{tcp:HOST:PORT…}; empty if it has none, as C{unix:/PATH}.
    """
    match = _ADDRESS.fullmatch(address)
    return match["host"].strip("[]") if match else ""
