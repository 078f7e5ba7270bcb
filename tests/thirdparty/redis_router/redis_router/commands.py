"""
What is known of each command: where its keys are, or that it cannot be routed.

Of a command that is not in here the first argument is the key.
"""

from __future__ import annotations

from collections.abc import Callable

from redis_router.resp import encode_bulk, encode_error

__all__ = ["PROBES", "answer_to", "keys_of"]

#: What a web browser says that was made to talk to a Redis server: whoever says it is cut off, as Redis does.
PROBES = frozenset({b"POST", b"HOST:"})

_Keys = Callable[[list[bytes]], list[bytes]]


def _at(first: int, last: int | None = None, step: int = 1) -> _Keys:
    """The keys are the arguments from C{first} to C{last}, or to the end."""
    part = slice(first, None if last is None else last + 1, step)
    return lambda args: args[part]


def _counted(place: int, *others: int) -> _Keys:
    """The argument at C{place} says how many keys follow it; C{others} are keys, too."""

    def find(args: list[bytes]) -> list[bytes]:
        count = args[place] if place < len(args) else b""
        if not (count.isdigit() and len(count) < 10):
            return []  # the first server says what is wrong with it
        return [args[other] for other in others] + args[place + 1 : place + 1 + int(count)]

    return find


def _none(args: list[bytes]) -> list[bytes]:
    return []


_PLACES: tuple[tuple[_Keys, str], ...] = (
    (_at(1), "DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SUNION SUNIONSTORE TOUCH UNLINK"),
    (_at(1, None, 2), "MSET MSETNX"),
    (_at(1, 2), "COPY GEOSEARCHSTORE LCS LMOVE RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE"),
    (_at(2), "BITOP"),
    (_at(2, 2), "MEMORY OBJECT XGROUP XINFO"),
    (_counted(1), "LMPOP SINTERCARD ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION"),
    (_counted(2), "EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO"),
    (_counted(2, 1), "ZDIFFSTORE ZINTERSTORE ZUNIONSTORE"),
    (_none, "ACL BGREWRITEAOF BGSAVE COMMAND CONFIG DBSIZE INFO LASTSAVE LATENCY MODULE SAVE SLOWLOG TIME"),
)
_KEYS = {name.encode(): find for find, names in _PLACES for name in names.split()}
_first = _at(1, 1)

# They wait, change what the connection is, are about all servers' keys, or name keys in ways that are not understood here.
_UNSUPPORTED = {
    name.encode(): encode_error(f"ERR {name} is not supported by redis_router")
    for name in [
        "ASKING",
        "AUTH",
        "BLMOVE",
        "BLMPOP",
        "BLPOP",
        "BRPOP",
        "BRPOPLPUSH",
        "BZMPOP",
        "BZPOPMAX",
        "BZPOPMIN",
        "CLIENT",
        "CLUSTER",
        "DEBUG",
        "DISCARD",
        "EXEC",
        "FAILOVER",
        "FLUSHALL",
        "FLUSHDB",
        "FUNCTION",
        "GEORADIUS",
        "GEORADIUSBYMEMBER",
        "HELLO",
        "KEYS",
        "MIGRATE",
        "MONITOR",
        "MOVE",
        "MULTI",
        "PSUBSCRIBE",
        "PSYNC",
        "PUBLISH",
        "PUBSUB",
        "PUNSUBSCRIBE",
        "RANDOMKEY",
        "READONLY",
        "READWRITE",
        "REPLCONF",
        "REPLICAOF",
        "RESET",
        "RESTORE-ASKING",
        "ROLE",
        "SCAN",
        "SCRIPT",
        "SELECT",
        "SHUTDOWN",
        "SLAVEOF",
        "SORT",
        "SPUBLISH",
        "SSUBSCRIBE",
        "SUBSCRIBE",
        "SUNSUBSCRIBE",
        "SWAPDB",
        "SYNC",
        "UNSUBSCRIBE",
        "UNWATCH",
        "WAIT",
        "WAITAOF",
        "WATCH",
        "XREAD",
        "XREADGROUP",
    ]
}


def answer_to(name: bytes, args: list[bytes]) -> bytes | None:
    """
    The reply to a command that no server needs to see, None for any other.

    @param name: of the command, in upper case.
    @param args: the name as it came, and the arguments.
    """
    if name == b"PING" and len(args) <= 2:
        return b"+PONG\r\n" if len(args) == 1 else encode_bulk(args[1])
    if name == b"ECHO" and len(args) == 2:
        return encode_bulk(args[1])
    if name == b"QUIT":
        return b"+OK\r\n"
    if name in (b"PING", b"ECHO"):
        return encode_error(f"ERR wrong number of arguments for '{name.decode().lower()}' command")
    return _UNSUPPORTED.get(name)


def keys_of(name: bytes, args: list[bytes]) -> list[bytes]:
    """The keys of a command, none if it is about the server, or makes no sense."""
    return _KEYS.get(name, _first)(args)
