"""Where a proxy passes requests on to, as people write it: an address, or a URL that holds one."""

from __future__ import annotations

import re

import attrs

__all__ = ["UpstreamUrl", "split_url"]

_PORT = re.compile(r".*:\d+", re.DOTALL)
_PATH = re.compile(r"/[^\s?#\x00-\x1f]*")
_RULE = "http:// or https://HOST:PORT/URI, http://unix:/PATH:/URI, HOST:PORT or unix:/PATH"
_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class UpstreamUrl:
    """
    @ivar address: C{HOST:PORT}, C{unix:/PATH}, an endpoint string, or the name of an upstream.
    @ivar uri: what replaces a route's prefix; None if nothing was said.
    @ivar scheme: C{"http"} or C{"https"}; empty if it was no URL. C{address} may lack a port only in a URL.
    """

    address: str
    uri: str | None = None
    scheme: str = ""

    @property
    def tls(self) -> bool:
        """Whether TLS is to be spoken."""
        return self.scheme == "https"

    @property
    def place(self) -> str:
        """C{address} with the port that URLs may leave out."""
        needed = self.scheme and not self.address.startswith("unix:") and not _PORT.fullmatch(self.address)
        return f"{self.address}:{_PORTS[self.scheme]}" if needed else self.address


def split_url(text: str) -> UpstreamUrl:
    """
    The parts of C{http://HOST:PORT/URI}, C{http://HOST/URI} or C{http://unix:/PATH:/URI} (nginx); also of C{https://}; anything
    that has no C{://} is an address.

    @raise ValueError: what would be right.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return UpstreamUrl(text)
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise ValueError(f"must be {_RULE}: no other scheme is understood")
    if rest.startswith("unix:"):
        path, colon, tail = rest[5:].partition(":")
        address, uri = f"unix:{path}", tail if colon else None
        known = path.startswith("/")
    else:
        address, slash, tail = rest.partition("/")
        uri = f"/{tail}" if slash else None
        known = bool(address) and "@" not in address and not re.search(r"[\s?#]", address)
    if not known or (uri is not None and not _PATH.fullmatch(uri)):
        raise ValueError(f"must be {_RULE}, without user, ? and #")
    return UpstreamUrl(address, uri, scheme)
