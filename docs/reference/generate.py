"""
Write the pages of this folder that tell what the code says of itself, and the schema of the configuration file:
C{python docs/reference/generate.py}.

A test compares them, so they cannot be forgotten.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted_pipe.filters.discovery import FILTERS
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.plugin.manual import describe_all
from twisted_pipe.proxies.protocol import PROTOCOLS
from twisted_pipe.service.config.manual import configuration_page
from twisted_pipe.service.config.schema import schema_text
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.health_check import CHECKS
from twisted_pipe.upstream.resolver import RESOLVERS

HERE = Path(__file__).parent


def command() -> str:
    """The help of the command."""
    usage = PipeOptions().getUsage(width=80)
    # the plugins have a page of their own, and may be more than the bundled ones
    usage = re.sub(r"\n[\w ]+s \(--help-plugins says more\):\n(?:  .*\n)+", "", usage)
    title = "# twistd pipe\n\n`twisted-pipe ARGS` is `twistd --reactor=epollet --pidfile= -n pipe ARGS`."
    return f"{title}\n\n```\n{usage.strip()}\n```\n"


def plugins() -> str:
    """The bundled protocols, balancers, resolvers, health checks, filters and message filters."""
    title = "# Bundled protocols, balancers, resolvers, health checks and filters"
    page = [f"{title}\n\nAs `twisted-pipe --help-plugins` shows them.\n"]
    for kind in (PROTOCOLS, BALANCERS, RESOLVERS, CHECKS, FILTERS, MESSAGE_FILTERS):
        entries = describe_all(kind).split("\n\n")
        kept = [each for each in entries if "twisted.plugins.twisted_pipe_" in each or each.startswith("Every ")]
        text = re.sub(r"\n    from .*", "", "\n\n".join(kept))
        page.append(f"## {kind.noun.capitalize()}s\n\n```\n{text}\n```\n")
    return "\n".join(page)


def configuration() -> str:
    """Every key of the configuration file, and an example, which is in a file of its own so that it can be tried."""
    return configuration_page((HERE / "pipe.toml").read_text())


#: By file, seen from this folder.
PAGES = {
    "command.md": command,
    "plugins.md": plugins,
    "configuration.md": configuration,
    "../../twisted_pipe/service/config/schema.json": schema_text,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page())
