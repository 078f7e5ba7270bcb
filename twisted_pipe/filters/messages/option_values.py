"""Kinds of options that several message filters have."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.ip import IpNetwork, is_within
from twisted_pipe.messages.headers import field_line

__all__ = [
    "Networks",
    "parse_field_name",
    "parse_field_names",
    "parse_field_value",
    "parse_list",
    "parse_networks",
    "parse_optional_field_name",
]

_T = TypeVar("_T")
_COMMA = re.compile(r"\s*,\s*")


@attrs.frozen
class _Parser(Generic[_T]):
    """A function with what C{--help} calls its values."""

    kind: str
    parse: Callable[[str, str], _T]

    def __call__(self, name: str, text: str) -> _T:
        return self.parse(name, text)


@attrs.frozen
class Networks:
    """
    Addresses that clients may have.

    @ivar everybody: whether any is among them.
    @ivar unix: whether clients that come by a UNIX socket are.
    @ivar networks: the others.
    """

    everybody: bool = False
    unix: bool = False
    networks: tuple[IpNetwork, ...] = ()

    def __str__(self) -> str:
        words = ["*"] * self.everybody + ["unix:"] * self.unix + [str(each) for each in self.networks]
        return ",".join(words) or "none"

    def __contains__(self, client: str) -> bool:
        if self.everybody:
            return True
        return self.unix if client == "unix:" else is_within(client, self.networks)


def _list(name: str, text: str) -> tuple[str, ...]:
    return tuple(part for part in _COMMA.split(text.strip()) if part)


def _networks(name: str, text: str) -> Networks:
    words = _list(name, text)
    try:
        networks = tuple(ipaddress.ip_network(word) for word in words if word not in ("*", "unix:"))
    except ValueError as error:
        raise BadConfiguration(
            name, text, f"addresses, networks (10.0.0.0/8), unix: or *, with commas: {error}"
        ) from error
    return Networks("*" in words, "unix:" in words, networks)


def _field_name(name: str, text: str) -> str:
    try:
        field_line(text, "")
    except ValueError as error:
        raise BadConfiguration(name, text, f"the name of a header field: {error}") from error
    return text


def _optional_field_name(name: str, text: str) -> str:
    return _field_name(name, text) if text else ""


def _field_names(name: str, text: str) -> tuple[str, ...]:
    return tuple(_field_name(name, each) for each in _list(name, text))


def _field_value(name: str, text: str) -> str:
    try:
        field_line("X", text)
    except ValueError as error:
        raise BadConfiguration(name, text, f"the value of a header field: {error}") from error
    return text


parse_list = _Parser("TEXT[,TEXT...]", _list)
parse_networks = _Parser("NETWORK[,NETWORK...]", _networks)
parse_field_name = _Parser("HEADER", _field_name)
parse_optional_field_name = _Parser("HEADER", _optional_field_name)
parse_field_names = _Parser("HEADER[,HEADER...]", _field_names)
parse_field_value = _Parser("TEXT", _field_value)
