"""
A resolver or a health check, as a key of the configuration file gives it: text, C{"dns:valid=10s"}, or a table whose other keys are
the plugin's options, C{{ check = "http", path = "/healthz" }}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.plugin.discovery import PluginKind
from twisted_pipe.service.config.problems import Below
from twisted_pipe.service.config.values import table_or_text
from twisted_pipe.upstream.health_check import CHECKS
from twisted_pipe.upstream.resolver import RESOLVERS

__all__ = ["Check", "Resolver"]


def _plugin(kind: PluginKind) -> Callable[[object], Any]:
    """
    What makes a configured plugin of text, or of a table in which the kind's noun is the key of the name.

    It raises L{BadConfiguration} if the text is wrong, L{Below} if one of the table's keys is, C{ValueError} if it is neither.
    """
    noun = kind.noun

    def parse(value: object) -> Any:
        if isinstance(value, str):
            return kind.parse(value)
        if not isinstance(value, dict):
            raise ValueError(f'must be "NAME[:key=value...]" or a table with {noun} = "NAME"')
        options = dict(value)
        name = options.pop(noun, None)
        if not isinstance(name, str):
            raise Below((noun,), f"must be the name of a {noun}")
        try:
            return kind.find(name).configure(options)
        except BadConfiguration as error:
            option = error.name.rpartition(": ")[2]
            if option in options:
                raise Below((option,), error.expected) from error
            said = error.expected if option in (noun, error.name) else f"{option}: {error.value!r}: {error.expected}"
            raise Below((noun,), said) from error

    return parse


Resolver = Annotated[
    Any,
    table_or_text(
        "RESOLVER",
        _plugin(RESOLVERS),
        'a resolver with options: `"dns:valid=10s"` or `{ resolver = "dns", valid = "10s" }` ([which there are](plugins.md))',
        RESOLVERS.noun,
    ),
]
Check = Annotated[
    Any,
    table_or_text(
        "CHECK",
        _plugin(CHECKS),
        'a health check with options: `"http:path=/healthz"` or `{ check = "http", path = "/healthz", interval = "5s" }` '
        "([which there are](plugins.md))",
        CHECKS.noun,
    ),
]
