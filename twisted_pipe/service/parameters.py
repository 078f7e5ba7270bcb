"""The options of C{twistd pipe} that have a value or are said or not, with what C{--help} says of them."""

from __future__ import annotations

from typing import Any

from twisted_pipe.net.spillfile import default_temp_path

__all__ = ["EXAMPLES", "FLAGS", "PARAMETERS"]

EXAMPLES = """
Examples:
  Everybody may connect to port 8080, and is passed on to port 9000 of this
  machine; what clients are slow to take waits in /var/spool/pipe:

    twisted-pipe --listen 8080 --upstream 127.0.0.1:9000 \\
        --temp-path /var/spool/pipe

  Two servers in turn, 16 buffers of 64 KiB, at most 10 MiB a second and client:

    twistd --reactor=epollet -n pipe --listen tcp:8080:interface=127.0.0.1 \\
        --upstream 10.0.0.1:9000 --upstream 10.0.0.2:9000 \\
        --buffers "16 64k" --filter throttle:rate=10m

  HTTP, with a connection to the upstream for many requests:

    twisted-pipe --protocol http --listen tcp:8080 \\
        --upstream http://127.0.0.1:9000 --access-log /tmp/access.log

  Anything more from a file, of which every key has a default:

    twisted-pipe --config /etc/pipe.toml
"""

FLAGS: list[list[Any]] = [
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
    [
        "test",
        None,
        "Check everything, say every mistake of a configuration file or that there is none, and exit. Binds nothing.",
    ],
]

PARAMETERS: list[list[Any]] = [
    [
        "config",
        None,
        None,
        (
            "FILE (TOML) that says everything, for several servers and for HTTP with routes; then --listen, --upstream and all "
            "other options that say what is done are left out. [default: none]"
        ),
    ],
    ["protocol", None, "tcp", "NAME[:key=value...]: what the listeners speak: http, tcp, or that of a plugin."],
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
        None,
        (
            "TIME (seconds) the upstream may be silent while the pipe waits for it; 0: for ever. "
            "Off for tcp because a session that nobody talks in is legitimate: --idle-timeout ends it. "
            "[default: 0; http: 60s]"
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
        "TIME (seconds) in which no byte flows either way, then the session ends; 0: never. Not for http.",
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
            "off: only for those that end badly. For http FILE: a line for each request (combined), FILE is opened "
            "anew on SIGUSR1; on: to stdout."
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
