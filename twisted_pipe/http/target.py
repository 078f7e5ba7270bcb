"""
What a request asks for: its target (RFC 9112, section 3.2), the host it names (RFC 9110, section 7.2), and the path that routes are
matched against.

The target is passed on as it was sent, byte for byte. Two servers that read one path differently are how access rules are walked
around, so only routes see the normal path, which is nginx's C{$uri}: decoded once, without dot segments, adjacent slashes merged.
An encoded slash or dot counts as a plain one there: C{/a%2f..%2fb} is C{/b}.

Bytes from 0x80 on, and the few printable ones that RFC 3986 does not allow, such as C{"} and C{|}, are passed on as nginx does:
browsers and scripts send them, and none can end a request line or a word of it. What could, control characters and space, is
refused. So is C{#}: a fragment is never sent, and servers do not agree on what one in a target means.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

__all__ = ["ORIGIN_FORM", "BadTarget", "Target", "check_host", "normal_path", "parse_target", "replace_prefix"]

_FORBIDDEN = bytes((*range(0x21), ord("#"), 0x7F))
#: The bytes that a target may have.
ORIGIN_FORM = bytes(set(range(256)).difference(_FORBIDDEN))

#: Scheme, authority, path, query.
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)([^?]*)(?:\?(.*))?", re.IGNORECASE | re.DOTALL)

#: A label of a reg-name (RFC 3986, section 3.2.2), which has an IPv4 address in it, too.
_LABEL = rb"(?:[0-9A-Za-z_~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
#: Name or bracketed address, port.
_HOST = re.compile(rb"(?:(%b(?:\.%b)*)\.?|(\[[0-9A-Fa-f:.]+\]))(?::([0-9]{0,5}))?" % (_LABEL, _LABEL))
_MOST_HOST = 262  # a name of 255 (RFC 3986, section 3.2.2), a dot and a port
_MOST_PORT = 65535

_PERCENT = ord("%")  # asking bytes for a number is six times as fast as asking them for one byte
_NOT_NORMAL = re.compile(rb"/[/.]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NEEDS_ESCAPE = {*range(0x21), *b'"#%<>?\\^`{|}', *range(0x7F, 0x100)}  # nginx since 1.21.1
#: What each byte of a normal path is sent as.
_ESCAPED = [b"%%%02X" % byte if byte in _NEEDS_ESCAPE else bytes((byte,)) for byte in range(0x100)]


class BadTarget(ValueError):
    """A target or a host that cannot be. Its text says what is wrong."""


class Target(NamedTuple):
    """
    A request's target, taken apart. (A tuple: one is made for every request, and a frozen class takes twice as long.)

    @ivar raw: what is passed on: the origin form as it was sent; that of an absolute form; C{b"*"}; or the authority of CONNECT.
    @ivar path: as it was sent, without query: C{b"/..."}, C{b"*"}, or empty for CONNECT.
    @ivar query: without C{?}; None if there is none.
    @ivar authority: that of an absolute form, which overrides C{Host} (RFC 9112, section 3.2.2), or of CONNECT; else None.
    @ivar scheme: C{b"http"} or C{b"https"} of an absolute form; else None.
    """

    raw: bytes
    path: bytes
    query: bytes | None = None
    authority: bytes | None = None
    scheme: bytes | None = None


def parse_target(method: bytes, target: bytes) -> Target:
    """
    @param target: between the two spaces of the request line.
    @raise BadTarget: it has none of the four forms of RFC 9112, section 3.2, or not the one that C{method} wants.
    """
    if target.translate(None, ORIGIN_FORM):
        raise _forbidden(target)
    if method == b"CONNECT":
        return _parse_authority(target)
    if target[:1] == b"/":
        path, mark, query = target.partition(b"?")
        return Target(target, path, query if mark else None)
    if target == b"*":
        if method != b"OPTIONS":
            raise BadTarget("its target is '*', which is for OPTIONS only")
        return Target(target, target)
    return _parse_absolute(method, target)


def _forbidden(target: bytes) -> BadTarget:
    byte = target.translate(None, ORIGIN_FORM)[0]
    what = "a fragment" if byte == ord("#") else f"the byte 0x{byte:02x}"
    return BadTarget(f"its target has {what}: {_shown(target)}")


def _parse_authority(target: bytes) -> Target:
    host, port = _split_host(target)
    if not (host and port):  # RFC 9110, section 9.3.6
        raise BadTarget(f"its target is not a host and a port, as CONNECT wants it: {_shown(target)}")
    return Target(target, b"", None, target)


def _parse_absolute(method: bytes, target: bytes) -> Target:
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise BadTarget(f"its target is neither a path nor an http or https URL: {_shown(target)}")
    scheme, authority, path, query = found.groups()
    if b"@" in authority:
        raise BadTarget(f"its target has user information: {_shown(target)}")  # RFC 9110, section 4.2.4
    if not check_host(authority):
        raise BadTarget(f"its target names no host: {_shown(target)}")  # RFC 9110, section 4.2.1
    if not path:
        path = b"*" if method == b"OPTIONS" and query is None else b"/"  # RFC 9112, section 3.2.4
    raw = path if query is None else b"%b?%b" % (path, query)
    return Target(raw, path, query, authority, scheme.lower())


@functools.lru_cache(maxsize=1024)
def check_host(value: bytes) -> bytes:
    """
    The host that a C{Host} field names, for choosing a site: lower case, without port and without a dot at its end. An IPv6 address
    keeps its brackets; what is empty stays empty (RFC 9110, section 7.2). Of international names only the Punycode is taken.

    @param value: the field's value, or an authority without user information.
    @raise BadTarget: it is no name, IPv4 address or bracketed IPv6 address with at most a port (0 to 65535, which may be empty);
        or a name has an empty label, or too many bytes.
    """
    return _split_host(value)[0]


def _split_host(value: bytes) -> tuple[bytes, bytes]:
    """Host and port, each of which may be empty."""
    if not value:
        return b"", b""
    if len(value) > _MOST_HOST:
        raise BadTarget(f"its host has more than {_MOST_HOST} bytes: {_shown(value)}")
    found = _HOST.fullmatch(value)
    if found is None:
        raise BadTarget(f"its host is neither a name nor an address: {_shown(value)}")
    name, address, port = found.groups(b"")
    if port and int(port) > _MOST_PORT:
        raise BadTarget(f"its port is greater than {_MOST_PORT}: {_shown(value)}")
    if address:
        try:
            ipaddress.IPv6Address(address[1:-1].decode())
        except ValueError:
            raise BadTarget(f"its host is no IPv6 address: {_shown(value)}") from None
    return (name or address).lower(), port


def normal_path(path: bytes) -> bytes:
    """
    The path that routes are matched against, as nginx's C{$uri}.

    @param path: of a L{Target}, as it was sent.
    @return: decoded once, without dot segments (RFC 3986, section 5.2.4), with adjacent slashes merged; C{path} itself if it is so.
    @raise BadTarget: it climbs above the root, or has a bad percent escape or a NUL byte. These are 400 in nginx, too.
    """
    if _PERCENT not in path:
        if not _NOT_NORMAL.search(path):
            return path
        return _without_dots(path)
    if _BAD_ESCAPE.search(path):
        raise BadTarget(f"its path has a '%' without two hexadecimal digits: {_shown(path)}")
    decoded = unquote_to_bytes(path)
    if b"\0" in decoded:
        raise BadTarget(f"its path has a NUL byte: {_shown(path)}")
    return _without_dots(decoded) if _NOT_NORMAL.search(decoded) else decoded


def _without_dots(path: bytes) -> bytes:
    kept: list[bytes] = []
    segment = b""
    for segment in path.split(b"/"):
        if segment == b"..":
            if not kept:
                raise BadTarget(f"its path climbs above the root: {_shown(path)}")
            kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    if segment in (b"", b".", b".."):
        kept.append(b"")  # what ended with a directory still does
    return b"/" + b"/".join(kept)


def replace_prefix(raw_target: bytes, prefix: bytes, uri: bytes) -> bytes:
    """
    The target of nginx's C{proxy_pass http://name/uri}: the normal path with C{uri} instead of C{prefix}. The rest of it is escaped
    anew if anything in the path was, and not else: with C{/p/} and C{/q/}, C{/p/%41"} is C{/q/A%22}, but C{/p//"} is C{/q/"} (so
    nginx 1.22). An encoded slash becomes a plain one.

    @param raw_target: L{Target.raw} of a path.
    @param prefix: what the normal path begins with: that of the route, or the whole path of an exact one.
    @return: with the query as it was sent.
    @raise BadTarget: L{normal_path} refuses the path.
    @raise ValueError: the path does not begin with C{prefix}.
    """
    path, mark, query = raw_target.partition(b"?")
    normal = normal_path(path)
    if not normal.startswith(prefix):
        raise ValueError(f"{_shown(normal)} does not begin with {prefix!r}")
    rest = normal[len(prefix) :]
    if _PERCENT in path:
        rest = b"".join([_ESCAPED[byte] for byte in rest])
    return b"%b%b%b%b" % (uri, rest, mark, query)


def _shown(text: bytes) -> str:
    """For an error: short, and in printable ASCII whatever it is."""
    return repr(text if len(text) <= 60 else text[:60] + b"...")[1:]
