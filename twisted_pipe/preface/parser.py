"""
What a preface is to those who read one from a connection.

A parser is asked again and again with all that has come so far, from the first byte, until it knows. So it keeps no state, and
whoever reads may look at bytes without taking them.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Preface", "PrefaceParser"]


class Preface(Protocol):
    """Something that stood at the beginning of a stream."""

    @property
    def taken(self) -> int:
        """How many bytes it is: the stream proper begins behind them. 0 if it is part of the stream itself."""


class PrefaceParser(Protocol):
    """How one kind of preface is understood."""

    @property
    def most(self) -> int:
        """How many bytes it may have at most, at least 1. Nobody needs to look at more."""

    def parse(self, seen: bytes) -> Preface | None:
        """
        Understand the beginning of a stream.

        @param seen: its first bytes, at least one and at most C{most}.
        @return: None if more are needed.
        @raise twisted_pipe.errors.BadPreface: it does not begin with one, whatever comes.
        """
