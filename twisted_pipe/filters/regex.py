r"""
Replacing the matches of a regular expression in a stream, as C{re.sub} would in the whole of it, as far as bounded memory allows.

C{re} cannot say that a match might begin here if only it knew what follows. So whether one begins at a place is decided when
C{reach} bytes from there on have come (or the stream has ended), by looking at no more than these. That is a fact of the stream,
and not of how it was cut: the output is the same for any cut. A search through all that has come finds the places worth a look.

A pattern that matches no more than so many bytes, C{foo\d{1,3}}, has a reach of its own: nothing can be different for want of
what follows. Any other has C{look_behind} for it. The search may end anywhere as long as seeing an end satisfies no pattern: what
is found in less is then found in more. But C{$} and C{\b} are satisfied by an end, and what does not backtrack (assertions,
possessive repeats) may find in less what is not there in more. For patterns of that kind, if they have no bound, the text that is
searched ends at every quarter of C{look_behind}, counted from the beginning of the stream, and nowhere else.

If a pattern begins with plain bytes, nothing has to be decided where these are not.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.literal import beginning_of
from twisted_pipe.interfaces import FilterGenerator

# The widths of a pattern, of which nothing else can be asked.
if sys.version_info >= (3, 11):
    from re import _parser  # type: ignore[attr-defined]
else:
    import sre_parse as _parser

__all__ = ["Regex", "RegexReplacement", "compile_regex"]

#: Bytes after which output is handed on while the rest is still to be searched.
_PIECE = 32 * 1024
#: What may be satisfied by the end of the text: C{$ \Z \b}, assertions, atomic and conditional groups, possessive repeats.
_SEES_END = re.compile(rb"\$|\\[ZzbB]|\(\?[=!>(]|[*+?}]\+")
_LOOKS_AHEAD = re.compile(rb"\(\?[=!]")
#: Bytes beyond a match that C{$} looks at: a newline, and the end after it.
_END = 2
_WINDOWS = 4


@attrs.frozen
class Regex:
    """
    A pattern, and how a stream is searched for it.

    @ivar reach: bytes, from where a match may begin, that decide whether it does.
    @ivar grid: the text that is searched ends at a multiple of this in the stream; 0: anywhere.
    @ivar longest: bytes of a match. A longer one may be one only because seeing more was not possible.
    @ivar prefix: what every match begins with, as far as that is known.
    """

    pattern: re.Pattern[bytes]
    reach: int
    grid: int
    longest: int
    prefix: bytes

    def next_beginning(self, text: bytes, start: int) -> int:
        """The first place from C{start} on where a match may begin."""
        if not self.prefix:
            return start
        place = text.find(self.prefix, start)
        return place if place >= 0 else beginning_of(self.prefix, text, start)


@lru_cache(maxsize=64)
def compile_regex(pattern: bytes, ignore_case: bool, look_behind: int) -> Regex:
    """
    @raise BadConfiguration: it is no pattern, matches the empty string, or nothing as short as C{look_behind}; C{name} is C{find}.
    """
    flags = re.IGNORECASE if ignore_case else 0
    shown = pattern.decode("utf-8", "surrogateescape")
    try:
        compiled = re.compile(pattern, flags)
        tree = _parser.parse(pattern, flags)
        least, most = tree.getwidth()
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        raise BadConfiguration("find", shown, f"is no regular expression: {error}") from error
    if not least:
        raise BadConfiguration("find", shown, "must not match the empty string, which is everywhere")
    if least > look_behind:
        raise BadConfiguration("look_behind", look_behind, f"must be at least {least}: nothing shorter matches {shown}")
    end = _END if _SEES_END.search(pattern) else 0
    grid = 0
    reach = most + end
    if reach > look_behind or _LOOKS_AHEAD.search(pattern):
        reach = look_behind + end
        grid = max(look_behind // _WINDOWS, 1) if end else 0
    prefix = b"" if compiled.flags & re.IGNORECASE else _prefix(tree)
    return Regex(compiled, reach, grid, look_behind, prefix)


def _prefix(tree: Any) -> bytes:
    """The plain bytes that a pattern begins with, after anchors."""
    prefix = bytearray()
    for operation, argument in tree:
        if operation is _parser.LITERAL:
            prefix.append(argument)
        elif operation is not _parser.AT or prefix:
            break
    return bytes(prefix)


class RegexReplacement:
    """
    The replacement in one stream.

    Of the text that is kept, the first C{_done} bytes were put out; they are there for what looks back. In the rest nothing is
    decided yet.
    """

    __slots__ = ("_done", "_grid_end", "_left", "_regex", "_replace", "_text")

    def __init__(self, regex: Regex, replace: bytes, most: int) -> None:
        """
        @param replace: a template as C{re.sub} takes it.
        @param most: replacements, 0 for any number.
        @raise BadConfiguration: it is no template for this pattern; C{name} is C{replace}.
        """
        try:
            regex.pattern.sub(replace, b"")
        except (re.error, LookupError) as error:
            shown = replace.decode("utf-8", "surrogateescape")
            raise BadConfiguration("replace", shown, f"is no replacement for what find matches: {error}") from error
        self._regex = regex
        self._replace = replace
        self._left = most or -1
        self._text = b""
        self._done = 0
        self._grid_end = regex.grid

    def received(self, data: memoryview) -> FilterGenerator:
        if not self._left:
            yield data
            return
        regex = self._regex
        self._text += data
        ends = [len(self._text)]
        if regex.grid:
            ends = [*range(self._grid_end, len(self._text) + 1, regex.grid)]
            self._grid_end += len(ends) * regex.grid
        yield from self._replaced(ends, regex.reach - 1)
        # what looks back from the next place sees as much as a match is long, and that it is not the beginning
        cut = max(self._done - regex.longest - 1, 0)
        self._text = self._text[cut:]
        self._done -= cut
        self._grid_end -= cut

    def ended(self) -> FilterGenerator:
        yield from self._replaced([len(self._text)], 0)

    def _replaced(self, ends: list[int], undecided: int) -> FilterGenerator:
        """
        What can be put out now.

        @param ends: where the text that is searched ends, one after the other.
        @param undecided: bytes before such an end with which a match may begin that is not decided before more comes.
        """
        reach, longest = self._regex.reach, self._regex.longest
        search, match_at = self._regex.pattern.search, self._regex.pattern.match
        replace, is_template = self._replace, b"\\" in self._replace
        text = self._text
        output = bytearray()
        done = place = self._done
        for end in ends:
            while self._left and place < end - undecided:
                found = search(text, place, end)
                if found is None or found.start() >= end - undecided:
                    break
                place = found.start()
                match = match_at(text, place, place + reach)
                if match is None or match.end() - place > longest:
                    place += 1
                    continue
                output += text[done:place]
                output += match.expand(replace) if is_template else replace
                done = place = match.end()
                self._left -= 1
                if len(output) >= _PIECE:
                    yield output
                    output = bytearray()
            place = max(place, end - undecided)
        # with nothing undecided it was the end, or a pattern of single bytes
        self._done = place = self._regex.next_beginning(text, place) if self._left and undecided else len(text)
        rest = memoryview(text)[done:place]
        if not output:
            yield rest
        else:
            output += rest
            yield output
