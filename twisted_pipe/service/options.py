"""
The options of C{twistd pipe}, and what they mean.

Twisted takes the command line apart; every value stays text until L{PipeOptions.configuration} reads it, so that an
error can show what was written. There are no short options: a command kept in a script should say what it means.
"""

from __future__ import annotations

import os
import platform
import resource
from typing import Any, ClassVar, NoReturn

import twisted
from twisted.python.usage import Options, UsageError

import twisted_pipe
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import FILTERS
from twisted_pipe.interfaces import IPipeFilterFactory
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.diskthreads import DiskThreads
from twisted_pipe.net.spillfile import SpillDirectory, default_temp_path
from twisted_pipe.plugin.discovery import PluginKind
from twisted_pipe.plugin.manual import describe_all, describe_one, summaries
from twisted_pipe.proxies.protocol import PROTOCOLS
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.endpoints import parse_listener, parse_upstream
from twisted_pipe.service.pidfile import PidFile
from twisted_pipe.service.refusal import one_line_errors
from twisted_pipe.units import parse_count, parse_duration, parse_size
from twisted_pipe.upstream.balancer import BALANCERS

__all__ = ["PipeOptions"]

_LONGEST = 10**9

_EXAMPLES = """
Examples:
  Everybody may connect to port 8080, and is passed on to port 9000 of this
  machine; what clients are slow to take waits in /var/spool/pipe:

    twisted-pipe --listen 8080 --upstream 127.0.0.1:9000 \\
        --temp-path /var/spool/pipe

  Two servers in turn, 16 buffers of 64 KiB, at most 10 MiB a second and client:

    twistd --reactor=epollet -n pipe --listen tcp:8080:interface=127.0.0.1 \\
        --upstream 10.0.0.1:9000 --upstream 10.0.0.2:9000 \\
        --buffers "16 64k" --filter throttle:rate=10m
"""


class PipeOptions(Options):
    """
    The command line.

    C{parseOptions} ends the process with one line, not with the whole help, when it makes no sense.
    """

    synopsis = "--listen ENDPOINT --upstream ENDPOINT [options]"

    longdesc = (
        "A SIZE is a number of bytes, or with k, m or g (powers of 1024): 512, 16k, 1g. "
        "A TIME is a number of seconds, or with ms, s, m or h: 250ms, 1.5s, 10m. "
        "twisted-pipe ARGS is short for twistd --reactor=epollet --pidfile= -n pipe ARGS; "
        "without -n, twistd pipe becomes a daemon. "
        "twisted-pipe new-filter NAME writes the package of a new filter."
    )

    optFlags: ClassVar[list[list[Any]]] = [
        [
            "demo",
            None,
            (
                "Show what the pipe does: an origin with data of any size, the pipe in front of it with the filter "
                "upper, and a slow client that makes it spill. Listens on 127.0.0.1:8080, or any free port, unless "
                "--listen is given."
            ),
        ],
        [
            "debug-events",
            None,
            "Log what the engine does: each registration and each event. Much. On the epollet reactor only.",
        ],
    ]

    optParameters: ClassVar[list[list[Any]]] = [
        ["protocol", None, "tcp", "NAME[:key=value...]: what the listeners speak."],
        [
            "balancer",
            None,
            "round-robin",
            "NAME[:key=value...]: what chooses among several upstream servers.",
        ],
        [
            "buffering",
            None,
            "on",
            (
                "on: read ahead of a slow client, into the buffers and then a temporary file. "
                "off: hold one buffer, never spill; the upstream is as slow as the client."
            ),
        ],
        ["buffers", None, "8 32k", '"N SIZE": how many buffers, and bytes of each, per direction. At least 2.'],
        [
            "busy-size",
            None,
            None,
            (
                "SIZE (bytes) that may be on its way to the client at once; a buffer counts whole. "
                "From one buffer to all but one. [default: all but one]"
            ),
        ],
        [
            "max-temp-file-size",
            None,
            "1g",
            "SIZE (bytes) that may wait on disk at one time, per direction; 0: never spill, pause the upstream.",
        ],
        [
            "temp-file-write-size",
            None,
            None,
            "SIZE (bytes) of one write to the temporary file. At least one buffer. [default: two buffers]",
        ],
        [
            "spill-quota",
            None,
            "0",
            "SIZE (bytes) that all connections together may have on disk; 0: no limit but each one's own.",
        ],
        [
            "temp-file-threads",
            None,
            "2",
            (
                "NUMBER of threads that write to disk while it is slow, so that nobody else waits for it; "
                "0: none, every write is made by the reactor's thread."
            ),
        ],
        ["temp-path", None, default_temp_path(), "Directory of the temporary files, which have no name there."],
        [
            "limit-rate",
            None,
            "0",
            "SIZE (bytes) a second that are read from the upstream, per connection; 0: no limit.",
        ],
        [
            "limit-rate-after",
            None,
            "0",
            "SIZE (bytes) of each connection's response before --limit-rate begins.",
        ],
        [
            "upload-rate",
            None,
            "0",
            "SIZE (bytes) a second that are read from the client, per connection; 0: no limit.",
        ],
        [
            "connect-timeout",
            None,
            "60s",
            "TIME (seconds) in which the upstream has to accept a connection; 0: the system's.",
        ],
        [
            "read-timeout",
            None,
            "0",
            (
                "TIME (seconds) the upstream may be silent while the pipe waits for it; 0: for ever. "
                "Off for tcp because a session that nobody talks in is legitimate: --idle-timeout ends it."
            ),
        ],
        [
            "send-timeout",
            None,
            "60s",
            "TIME (seconds) between two successful writes to a receiver that has bytes waiting; 0: for ever.",
        ],
        [
            "idle-timeout",
            None,
            "10m",
            "TIME (seconds) in which no byte flows either way, then the session ends; 0: never.",
        ],
        [
            "lingering-timeout",
            None,
            "5s",
            (
                "TIME (seconds) a client may stay silent after the upstream has ended its side, "
                "before the upstream connection is closed."
            ),
        ],
        [
            "access-log",
            None,
            "off",
            (
                "on: a line in the log for each session that begins, and for each that ends well. "
                "off: only for those that end badly."
            ),
        ],
        [
            "worker-connections",
            None,
            "0",
            (
                "NUMBER of connections, clients and upstreams together, above which the oldest idle ones are closed "
                "for new ones; 0: no limit. On the epollet reactor only."
            ),
        ],
        [
            "pid-file",
            None,
            None,
            (
                "File for the process number, written once every listener is bound. "
                "(twistd's own --pidfile is written before.) [default: none]"
            ),
        ],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.docs = {name: " ".join(text.split()) for name, text in self.docs.items()}
        for option in ("listen", "upstream", "filter", "request-filter"):
            self[option] = []

    def opt_listen(self, endpoint: str) -> None:
        """
        Where clients connect: PORT (all IPv4 addresses), HOST:PORT, [IPV6]:PORT, unix:/PATH, or a Twisted endpoint
        string, in which a host is an interface: 127.0.0.1:8080 is tcp:8080:interface=127.0.0.1. Port 0 is any free one.
        May be given more than once.
        """
        self["listen"].append(endpoint)

    def opt_upstream(self, endpoint: str) -> None:
        """
        A server that connections are passed on to: HOST:PORT, [IPV6]:PORT, unix:/PATH, PORT (of 127.0.0.1), or a
        Twisted endpoint string such as tcp:127.0.0.1:9000. Given more than once, --balancer chooses.
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
        Show every filter, its options with units and defaults, and exit.
        """
        print(describe_all(FILTERS))
        raise SystemExit(0)

    def opt_help_plugins(self) -> NoReturn:
        """
        Show every protocol, balancer and filter, its options with units and defaults, and exit.
        """
        print(
            "\n\n".join(
                f"{kind.noun.capitalize()}s\n\n{describe_all(kind)}" for kind in (PROTOCOLS, BALANCERS, FILTERS)
            )
        )
        raise SystemExit(0)

    def opt_help_filter(self, name: str) -> NoReturn:
        """
        Show what filter NAME does, and its options, and exit.
        """
        with one_line_errors():
            print(describe_one(FILTERS, name))
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

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise BadConfiguration(
                "argument", arguments[0], 'must follow an option; a value with a space needs quotes: "8 32k"'
            )

    def getUsage(self, width: int | None = None) -> str:
        plugins = "".join(
            f"\n{kind.noun.capitalize()}s (--help-plugins says more):\n{summaries(kind)}"
            for kind in (PROTOCOLS, BALANCERS, FILTERS)
        )
        return f"{super().getUsage(width)}{plugins}{_EXAMPLES}"

    def configuration(self, reactor: Any) -> PipeConfiguration:
        """
        What the options say, checked.

        @param reactor: which the endpoints are to use.
        @raise BadConfiguration: which option, which value, and what would be right.
        @raise UsageError: when one is missing.
        """
        settings = self._settings()
        spill = SpillDirectory(
            self["temp-path"] and os.path.abspath(self["temp-path"]),
            SpillQuota(self._size("spill-quota")),
            DiskThreads(reactor, parse_count("--temp-file-threads", self["temp-file-threads"])),
        )
        self._check_places()
        configuration = PipeConfiguration(
            listeners=tuple(parse_listener(reactor, text) for text in self["listen"]),
            servers=tuple(parse_upstream(reactor, text, settings.connect_timeout) for text in self["upstream"]),
            settings=settings,
            spill=spill,
            protocol=_plugin(PROTOCOLS, "protocol", self["protocol"]),
            balancer=_plugin(BALANCERS, "balancer", self["balancer"]),
            pid_file=self._pid_file(),
            debug_events=self._debug_events(reactor),
            worker_connections=self._worker_connections(reactor),
            demo=bool(self["demo"]),
        )
        try:
            spill.check()
        except BadConfiguration as error:
            raise self._named(error) from error
        return configuration

    def _check_places(self) -> None:
        if self["demo"]:
            if self["upstream"]:
                raise BadConfiguration("--upstream", self["upstream"][0], "must be left out: --demo brings its own")
        elif not self["listen"]:
            raise UsageError("--listen: missing: must say where clients connect, such as --listen 8080 (or try --demo)")
        elif not self["upstream"]:
            raise UsageError(
                "--upstream: missing: must say where to pass them on to, such as --upstream 127.0.0.1:9000"
            )

    def _settings(self) -> ProxySettings:
        count, size = self._buffers()
        values: dict[str, Any] = {
            "buffers": count,
            "buffer_size": size,
            "buffering": self._choice("buffering", "on", "off") == "on",
            "max_temp_file_size": self._size("max-temp-file-size"),
            "limit_rate": self._size("limit-rate"),
            "limit_rate_after": self._size("limit-rate-after"),
            "read_timeout": self._time("read-timeout"),
            "send_timeout": self._time("send-timeout"),
        }
        for option in ("busy-size", "temp-file-write-size"):
            if self[option] is not None:
                values[option.replace("-", "_")] = self._size(option)
        try:
            return ProxySettings(
                limits=PipeLimits(**values),
                response_filters=self._filters("filter"),
                request_filters=self._filters("request-filter"),
                connect_timeout=self._time("connect-timeout"),
                idle_timeout=self._time("idle-timeout"),
                lingering_timeout=self._time("lingering-timeout"),
                upload_rate=self._size("upload-rate"),
                access_log=self._choice("access-log", "off", "on") == "on",
            )
        except BadConfiguration as error:
            raise self._named(error) from error

    def _named(self, error: BadConfiguration) -> BadConfiguration:
        """The error of a field, as the error of the option that it came from."""
        option = {"buffer_size": "buffers"}.get(error.name, error.name).replace("_", "-")
        if option not in self:
            return error
        return BadConfiguration(f"--{option}", self[option], error.expected)

    def _buffers(self) -> tuple[int, int]:
        text = self["buffers"]
        parts = text.split()
        if len(parts) != 2:
            raise BadConfiguration("--buffers", text, 'must be a number and a size: "8 32k"')
        try:
            return parse_count("--buffers", parts[0]), parse_size("--buffers", parts[1])
        except BadConfiguration as error:
            raise BadConfiguration(
                "--buffers", text, f'must be a number and a size: "8 32k" ({error.value!r})'
            ) from error

    def _size(self, option: str) -> int:
        return parse_size(f"--{option}", self[option])

    def _time(self, option: str) -> float:
        seconds = parse_duration(f"--{option}", self[option])
        if seconds >= _LONGEST:
            raise BadConfiguration(f"--{option}", self[option], f"must be less than {_LONGEST} s")
        return seconds

    def _choice(self, option: str, *choices: str) -> str:
        value: str = self[option]
        if value not in choices:
            raise BadConfiguration(f"--{option}", value, f"must be {' or '.join(choices)}")
        return value

    def _filters(self, option: str) -> tuple[IPipeFilterFactory, ...]:
        return tuple(_plugin(FILTERS, option, text) for text in self[option])

    def _debug_events(self, reactor: Any) -> bool:
        wanted = bool(self["debug-events"])
        if wanted and not hasattr(reactor, "loop"):
            raise BadConfiguration(
                "--debug-events", "", "must be left out on this reactor: only epollet can (twistd --reactor=epollet)"
            )
        return wanted

    def _worker_connections(self, reactor: Any) -> int:
        count = parse_count("--worker-connections", self["worker-connections"])
        if count and not hasattr(reactor, "connections"):
            raise BadConfiguration(
                "--worker-connections",
                count,
                "must be left out on this reactor: only epollet can (twistd --reactor=epollet)",
            )
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if count > files:
            raise BadConfiguration(
                "--worker-connections", count, f"must be at most the limit on open files, which is {files} (ulimit -n)"
            )
        return count

    def _pid_file(self) -> PidFile | None:
        if self["pid-file"] is None:
            return None
        file = PidFile(os.path.abspath(self["pid-file"]))
        file.check()
        return file


def _plugin(kind: PluginKind, option: str, text: str) -> Any:
    try:
        return kind.parse(text)
    except BadConfiguration as error:
        raise BadConfiguration(
            f"--{option}{error.name.removeprefix(kind.noun)}", error.value, error.expected
        ) from error
