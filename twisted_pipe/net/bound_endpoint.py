"""A Twisted endpoint that connects from an address of our choice."""

from __future__ import annotations

import copy
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.socket_options import local_address

__all__ = ["bound_endpoint"]


def bound_endpoint(endpoint: Any, bind: str) -> Any:
    """
    C{endpoint}, connecting from C{bind}; itself, if that is empty, if it connects to a UNIX socket, or if it has a local address of
    its own.

    Twisted's endpoints take it only when they are made, and some are made from a string or by a plugin; so this sets their private
    field.

    @raise BadConfiguration: it is none of Twisted's for TCP, or C{bind} is no address.
    """
    if not bind or isinstance(endpoint, UNIXClientEndpoint):
        return endpoint
    inner = getattr(endpoint, "_wrappedEndpoint", None)
    if inner is not None:
        return _with(endpoint, "_wrappedEndpoint", bound_endpoint(inner, bind))
    if not hasattr(endpoint, "_bindAddress"):
        raise BadConfiguration("bind", bind, f"must be left out: {type(endpoint).__name__} cannot be bound")
    if endpoint._bindAddress is not None:
        return endpoint
    return _with(endpoint, "_bindAddress", local_address(bind))


def _with(endpoint: Any, field: str, value: object) -> Any:
    changed = copy.copy(endpoint)
    setattr(changed, field, value)
    return changed
