"""The values of the command line's options, read from their text so that an error names the option and shows what was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import FILTERS
from twisted_pipe.interfaces import IPipeFilterFactory
from twisted_pipe.limits import PipeLimits
from twisted_pipe.units import parse_count, parse_duration, parse_size

__all__ = ["OptionValues"]

_LONGEST = 10**9
T = TypeVar("T")


@attrs.frozen
class OptionValues:
    """
    @ivar options: the text of each option, and the defaults.
    """

    options: Any

    def size(self, option: str) -> int:
        """Bytes."""
        return parse_size(f"--{option}", self.options[option])

    def time(self, option: str) -> float:
        """Seconds."""
        seconds = parse_duration(f"--{option}", self.options[option])
        if seconds >= _LONGEST:
            raise BadConfiguration(f"--{option}", self.options[option], f"must be less than {_LONGEST} s")
        return seconds

    def count(self, option: str) -> int:
        """A whole number."""
        return parse_count(f"--{option}", self.options[option])

    def choice(self, option: str, *choices: str) -> str:
        """One of these words."""
        value: str = self.options[option]
        if value not in choices:
            raise BadConfiguration(f"--{option}", value, f"must be {' or '.join(choices)}")
        return value

    def filters(self, option: str) -> tuple[IPipeFilterFactory, ...]:
        """Filters, in order."""
        return tuple(self.plugin(FILTERS.parse, FILTERS.noun, option, text) for text in self.options[option])

    def plugin(self, parse: Callable[[str], T], noun: str, option: str, text: str) -> T:
        """What C{parse} makes of C{text}; its errors are the option's."""
        try:
            return parse(text)
        except BadConfiguration as error:
            name = f"--{option}{error.name.removeprefix(noun)}"
            raise BadConfiguration(name, error.value, error.expected) from error

    def limits(self, read_timeout: float) -> PipeLimits:
        """
        The bounds of the response.

        @param read_timeout: when C{--read-timeout} is not given.
        """
        count, size = self._buffers()
        values: dict[str, Any] = {
            "buffers": count,
            "buffer_size": size,
            "buffering": self.choice("buffering", "on", "off") == "on",
            "max_temp_file_size": self.size("max-temp-file-size"),
            "limit_rate": self.size("limit-rate"),
            "limit_rate_after": self.size("limit-rate-after"),
            "read_timeout": read_timeout if self.options["read-timeout"] is None else self.time("read-timeout"),
            "send_timeout": self.time("send-timeout"),
        }
        for option in ("busy-size", "temp-file-write-size"):
            if self.options[option] is not None:
                values[option.replace("-", "_")] = self.size(option)
        return self.named(lambda: PipeLimits(**values))

    def named(self, make: Callable[[], T]) -> T:
        """What C{make} returns; the error of a field becomes the error of the option that it came from."""
        try:
            return make()
        except BadConfiguration as error:
            option = {"buffer_size": "buffers"}.get(error.name, error.name).replace("_", "-")
            if option not in self.options:
                raise
            raise BadConfiguration(f"--{option}", self.options[option], error.expected) from error

    def _buffers(self) -> tuple[int, int]:
        text = self.options["buffers"]
        parts = text.split()
        if len(parts) != 2:
            raise BadConfiguration("--buffers", text, 'must be a number and a size: "8 32k"')
        try:
            return parse_count("--buffers", parts[0]), parse_size("--buffers", parts[1])
        except BadConfiguration as error:
            raise BadConfiguration(
                "--buffers", text, f'must be a number and a size: "8 32k" ({error.value!r})'
            ) from error
