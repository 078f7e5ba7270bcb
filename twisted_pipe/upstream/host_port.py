"""Servers that are given by name: C{HOST:PORT} where C{HOST} has to be looked up."""

from __future__ import annotations

import re

from twisted_pipe.ip import is_ipv4

__all__ = ["is_host_name", "split_host_port"]

_NAMED = re.compile(r"([^:/\\=\[\]\s]+):(\d{1,5})", re.ASCII)
_ENDPOINTS = frozenset({"tcp", "ssl", "tls", "unix"})  # what a Twisted endpoint string may begin with
_NUMBER = re.compile(r"[\d.]+", re.ASCII)
_LONGEST = 253  # RFC 1035, section 2.3.4, as text


def split_host_port(address: str) -> tuple[str, int] | None:
    """Host and port of C{"app.example.org:8080"}; None for anything else, such as an address that needs no looking up."""
    match = _NAMED.fullmatch(address)
    if match is None or match[1].lower() in _ENDPOINTS or not is_host_name(match[1]):
        return None
    port = int(match[2])
    return (match[1], port) if 0 < port <= 65535 else None


def is_host_name(text: str) -> bool:
    """Whether it can be a name of the DNS, or of a hosts file: no address, no label that is empty or too long."""
    if is_ipv4(text) or _NUMBER.fullmatch(text):
        return False
    try:
        return 0 < len(text.encode("idna")) <= _LONGEST
    except UnicodeError:
        return False
