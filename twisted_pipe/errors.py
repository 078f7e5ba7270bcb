"""
Errors that say whose fault they are.

Every error names its side, so that a log line, an outcome and a caller that wants to retry all read the same fact.
"""

from __future__ import annotations

import enum

__all__ = [
    "BadConfiguration",
    "BadPreface",
    "Cancelled",
    "CheckFailed",
    "DiskFailed",
    "DownstreamFailed",
    "FilterFailed",
    "NoServer",
    "NotChecked",
    "NotResolved",
    "PipeError",
    "PipeFinished",
    "Side",
    "TimedOut",
    "UpstreamFailed",
]


class Side(enum.Enum):
    """Who is to blame for the end of a pipe."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    FILTER = "filter"
    DISK = "disk"
    CONFIGURATION = "configuration"
    CALLER = "caller"

    def __str__(self) -> str:
        return self.value


class PipeError(Exception):
    """The base of all errors of this package; L{side} says who caused it, the text only what happened."""

    side: Side = Side.CALLER

    def describe(self, upstream: str = "upstream", downstream: str = "downstream") -> str:
        """
        Side and text, for a log line.

        @param upstream: what the reader calls the upstream: for a request it is the client.
        @param downstream: what the reader calls the downstream.
        """
        names = {Side.UPSTREAM: upstream, Side.DOWNSTREAM: downstream, Side.DISK: "disk"}
        name = names.get(self.side)
        return f"{name}: {self}" if name else str(self)


class BadConfiguration(PipeError, ValueError):
    """A value that cannot be: C{name} is the option or field, C{value} what was given, C{expected} what would be right."""

    side = Side.CONFIGURATION

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(name, value, expected)
        self.name = name
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.name}: {self.value!r}: {self.expected}"


class UpstreamFailed(PipeError):
    """The connection that produces was lost, reset, or ended before its announced length."""

    side = Side.UPSTREAM


class NoServer(PipeError):
    """No server of a group can be asked: none is live, or all are busy and nobody else may wait, or has waited for too long."""

    side = Side.UPSTREAM


class DownstreamFailed(PipeError):
    """The connection that consumes was lost or refused to take bytes."""

    side = Side.DOWNSTREAM


class CheckFailed(PipeError):
    """A health check has found a server unwell; the text says how."""

    side = Side.UPSTREAM


class NotChecked(PipeError):
    """A health check could not be made, for a reason that says nothing of the server."""

    side = Side.CALLER


class NotResolved(PipeError):
    """Nothing can be said about the servers that a name stands for; the text says why."""

    side = Side.UPSTREAM


class BadPreface(PipeError):
    """A client's connection does not begin with what has to stand there: a PROXY header, a TLS ClientHello."""

    side = Side.DOWNSTREAM


class TimedOut(PipeError):
    """C{side} made no progress for C{seconds} although the pipe was ready for it; C{what} names the timeout."""

    def __init__(self, side: Side, what: str, seconds: float) -> None:
        super().__init__(side, what, seconds)
        self.side = side
        self.what = what
        self.seconds = seconds

    def __str__(self) -> str:
        return f"{self.what} of {self.seconds:g} s expired"


class FilterFailed(PipeError):
    """
    The filter C{name} raised, or broke its contract; the cause is chained.

    @ivar place: where in a file that is not ours it has raised, for its author: C{"filter.py:16"}; else empty.
    """

    side = Side.FILTER

    def __init__(self, name: str, problem: object) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem
        self.place = _place_of(problem) if isinstance(problem, BaseException) else ""

    def __str__(self) -> str:
        what = self.problem
        if isinstance(what, BaseException):
            what = f"{type(what).__name__}: {_text_of(what)}".removesuffix(": ")
        return f"filter {self.name!r}: {what}"

    def describe(self, upstream: str = "upstream", downstream: str = "downstream") -> str:
        text = PipeError.describe(self, upstream, downstream)
        return f"{text} (at {self.place})" if self.place else text


class DiskFailed(PipeError):
    """Bytes that were spilled cannot be had back (or spilling failed; then the pipe goes on by back-pressure)."""

    side = Side.DISK


class Cancelled(PipeError):
    """The pipe was abandoned by its owner before its end."""

    side = Side.CALLER


class PipeFinished(PipeError):
    """A call that makes no sense once the pipe or its upstream has ended."""

    side = Side.CALLER


def _text_of(error: BaseException) -> str:
    """What an error of somebody else's says of itself, if it can, in one line: it goes to the log."""
    try:
        return " ".join(str(error).split())
    except Exception as problem:
        return f"(its text cannot be had: {type(problem).__name__})"


def _place_of(error: BaseException) -> str:
    """
    The last line of the first file on the way to C{error} that is neither ours nor Twisted's: what it called went wrong there, in
    a library perhaps.
    """
    file, line = "", 0
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if not file and not _is_ours(str(step.tb_frame.f_globals.get("__name__"))):
            file = code.co_filename
        if code.co_filename == file:
            line = step.tb_lineno
        step = step.tb_next
    return f"{file.rpartition('/')[2]}:{line}" if file else ""


def _is_ours(module: str) -> bool:
    """Or Twisted's: but in C{twisted.plugins} are everybody's."""
    return module.startswith(("twisted_pipe.", "twisted.")) and not module.startswith("twisted.plugins.")
