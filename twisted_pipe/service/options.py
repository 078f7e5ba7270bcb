"""
The options of C{twistd pipe}: what is said on the command line, and where else it is said.

Twisted takes the command line apart; every value stays text until L{twisted_pipe.service.command_line} reads it, so that an
error can show what was written. There are no short options: a command kept in a script should say what it means.
"""

from __future__ import annotations

import getopt
import platform
from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn

import attrs
import twisted
from twisted.python.usage import Options, UsageError

import twisted_pipe
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import FILTERS
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.plugin.discovery import PluginKind
from twisted_pipe.plugin.manual import describe_all, describe_one, summaries
from twisted_pipe.proxies.protocol import PROTOCOLS
from twisted_pipe.service.command_line import command_line, debug_events, pid_file
from twisted_pipe.service.config.compile import compile_file
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.parameters import EXAMPLES, FLAGS, PARAMETERS
from twisted_pipe.service.refusal import one_line_errors
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.health_check import CHECKS
from twisted_pipe.upstream.resolver import RESOLVERS

__all__ = ["PipeOptions"]

#: All kinds of plugin, in the order in which the help shows them.
_KINDS = (PROTOCOLS, BALANCERS, RESOLVERS, CHECKS, FILTERS, MESSAGE_FILTERS)
#: The kinds of filter, and how one is configured: on the command line or, of messages, in the file alone.
_FILTER_USAGES = {FILTERS: "--filter {}", MESSAGE_FILTERS: 'message_filters = ["{}"]'}
#: What may be said beside a configuration file.
_BESIDE_A_FILE = frozenset({"config", "test", "debug-events", "pid-file"})


class PipeOptions(Options):
    """
    The command line.

    C{parseOptions} ends the process with one line, not with the whole help, when it makes no sense.
    """

    synopsis = "--listen ENDPOINT --upstream ENDPOINT [options] | --config FILE"

    longdesc = (
        "A SIZE is a number of bytes, or with k, m or g (powers of 1024): 512, 16k, 1g. "
        "A TIME is a number of seconds, or with ms, s, m, h or d: 250ms, 1.5s, 10m. "
        "twisted-pipe ARGS is short for twistd --reactor=epollet --pidfile= -n pipe ARGS; "
        "without -n, twistd pipe becomes a daemon. "
        "twisted-pipe new-filter NAME writes the package of a new filter, with --message of a message filter."
    )

    optFlags: ClassVar[list[list[Any]]] = FLAGS
    optParameters: ClassVar[list[list[Any]]] = PARAMETERS

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.given: frozenset[str] = frozenset()
        self.docs = {name: " ".join(text.split()) for name, text in self.docs.items()}
        for option in ("listen", "upstream", "filter", "request-filter"):
            self[option] = []

    def opt_listen(self, endpoint: str) -> None:
        """
        Where clients connect: PORT (all IPv4 addresses), HOST:PORT, [IPV6]:PORT, unix:/PATH, or a Twisted endpoint
        string, in which a host is an interface: 127.0.0.1:8080 is tcp:8080:interface=127.0.0.1. Port 0 is any free one.
        ssl:8443:privateKey=key.pem:certKey=cert.pem is TLS. May be given more than once.
        """
        self["listen"].append(endpoint)

    def opt_upstream(self, endpoint: str) -> None:
        """
        A server that connections are passed on to: HOST:PORT, [IPV6]:PORT, unix:/PATH, PORT (of 127.0.0.1), or a
        Twisted endpoint string such as tcp:127.0.0.1:9000; for http also http://HOST[:PORT], or https://HOST[:PORT],
        which is TLS, and the server is verified. Given more than once, --balancer chooses.
        """
        self["upstream"].append(endpoint)

    def opt_filter(self, spec: str) -> None:
        """
        NAME[:key=value...]: a filter on what flows to the client. Given more than once, bytes pass them in this order.
        """
        self["filter"].append(spec)

    def opt_request_filter(self, spec: str) -> None:
        """
        NAME[:key=value...]: the same on what flows to the upstream.
        """
        self["request-filter"].append(spec)

    def opt_help_filters(self) -> NoReturn:
        """
        Show every filter, of bytes and of messages, its options with units and defaults, and exit.
        """
        print(_all_of(_FILTER_USAGES))
        raise SystemExit(0)

    def opt_help_plugins(self) -> NoReturn:
        """
        Show every plugin (protocols, balancers, resolvers, checks, filters, message filters), its options with
        units and defaults, and exit.
        """
        print(_all_of(_KINDS))
        raise SystemExit(0)

    def opt_help_filter(self, name: str) -> NoReturn:
        """
        Show what filter NAME, of bytes or of messages, does, and its options, and exit.
        """
        with one_line_errors():
            print(describe_one(_FILTER_USAGES, name))
        raise SystemExit(0)

    def opt_version(self) -> NoReturn:
        """
        Show the version and exit.
        """
        print(
            f"twisted_pipe {twisted_pipe.__version__} "
            f"(Twisted {twisted.__version__}, Python {platform.python_version()})"
        )
        raise SystemExit(0)

    def parseOptions(self, options: Any = None) -> None:
        with one_line_errors():
            try:
                super().parseOptions(options)  # type: ignore[no-untyped-call]
            except UsageError as error:
                raise UsageError(f"{error}; --help lists the options") from error
            found, _ = getopt.getopt(list(options or ()), self.shortOpt, self.longOpt)
            self.given = frozenset(name.removeprefix("--") for name, _ in found)

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise BadConfiguration(
                "argument", arguments[0], 'must follow an option; a value with a space needs quotes: "8 32k"'
            )

    def getUsage(self, width: int | None = None) -> str:
        plugins = "".join(
            f"\n{kind.noun.capitalize()}s (--help-plugins says more):\n{summaries(kind)}" for kind in _KINDS
        )
        return f"{super().getUsage(width)}{plugins}{EXAMPLES}"

    def configuration(self, reactor: Any) -> PipeConfiguration:
        """
        What the options say, or the file that they name, checked.

        @param reactor: which the endpoints are to use.
        @raise BadConfiguration: which option, which value, and what would be right.
        @raise twisted_pipe.service.config.problems.BadFile: all that is wrong with the file.
        @raise UsageError: when an option is missing.
        """
        if self["config"] is None:
            return command_line(self, self.given, reactor)
        for name in sorted(self.given - _BESIDE_A_FILE):
            value = self[name][0] if isinstance(self[name], list) else self[name]
            raise BadConfiguration(f"--{name}", value, f"must be left out: --config {self['config']} says what is done")
        configuration = compile_file(self["config"], reactor)
        return attrs.evolve(
            configuration,
            debug_events=debug_events(self, reactor),
            pid_file=pid_file(self) or configuration.pid_file,
        )


def _all_of(kinds: Iterable[PluginKind]) -> str:
    return "\n\n".join(f"{kind.noun.capitalize()}s\n\n{describe_all(kind)}" for kind in kinds)
