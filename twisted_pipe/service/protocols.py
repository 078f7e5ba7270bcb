"""What listeners speak: C{http}, which is configured in a way of its own, or a protocol plugin."""

from __future__ import annotations

from typing import cast

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IPipeProtocolFactory
from twisted_pipe.plugin.declared import nearest
from twisted_pipe.proxies.protocol import PROTOCOLS

__all__ = ["HTTP", "parse_protocol"]

HTTP = "http"


def parse_protocol(text: str) -> IPipeProtocolFactory:
    """
    The plugin of C{NAME[:key=value...]}.

    @raise BadConfiguration: there is none of that name, or its options are wrong.
    """
    try:
        return cast(IPipeProtocolFactory, PROTOCOLS.parse(text))
    except BadConfiguration as error:
        known = [HTTP, *(str(each.name) for each in PROTOCOLS.all())]
        name = text.partition(":")[0]
        if error.name != PROTOCOLS.noun or name in known[1:]:
            raise
        if name == HTTP:
            raise BadConfiguration(error.name, text, f"{HTTP} has no options here") from error
        unusable = error.expected.partition(" Unusable: ")[2]
        expected = f"no such protocol{nearest(name, known, 'Known')}"
        raise BadConfiguration(
            error.name, text, f"{expected}. Unusable: {unusable}" if unusable else expected
        ) from error
