r"""
Search and replace in one direction of a connection.

C{find} and C{replace} are text with escapes: C{\n}, C{\r}, C{\t}, C{\0}, C{\xNN} and C{\\}
(L{twisted_pipe.plugin.escapes}). With C{regex=on} they are what C{re.sub} takes, for bytes: a pattern, and a template with
C{\1} and C{\g<name>} for groups, in which C{\xNN} stands for a byte, too. Letters that are not ASCII are the bytes of their
UTF-8; a class of them, C{[äö]}, is one of these bytes.

On the command line a colon in a value is C{\:}, and a backslash before a colon or another backslash is doubled::

    --filter 'substitute:find=http\://internal:replace=https\://www.example.com'
    --filter 'substitute:find=\x00\xff:replace='
    --filter 'substitute:find=(\d+) EUR:replace=\1 euros:regex=on'

The output is the same however the stream is cut. Of bytes it is that of C{bytes.replace} on the whole stream. Of a pattern it
is that of C{re.sub} on the whole stream, as long as C{look_behind} bytes are enough to tell what matches at a place. If they are
not, what matches there is what matches in these bytes: of C{a+}, so many of them, and then the rest anew; of what has to end with
something that comes later, nothing; and an assertion takes their end for that of the stream. Assertions about what came before
see C{look_behind} bytes, too.

Somebody who waits for bytes that are held back waits until more come, or the stream ends. Of bytes only an end is held back that
C{find} begins with. Of a pattern it is the last bytes, less one, of what it may have to see:

  - as many as its longest match has, and two more if there is something like C{$} or C{\b} in it;
  - C{look_behind}, if it has no longest match, or an assertion about what follows. And a quarter more if it has one of these,
    C{$}, C{\b}, or a possessive repeat;
  - but nothing before the first place that looks like the plain bytes it begins with: C{http://\S+} holds back nothing while
    there is no C{http://}.

So for questions and answers on one connection, a pattern should begin with plain bytes or be bounded: C{\d{1,9}}.

A pattern that takes long over some input blocks the reactor for as long.
"""

from __future__ import annotations

from typing import ClassVar, Union

import attrs

from twisted_pipe.filters.base import PipeFilter, at_least, option
from twisted_pipe.filters.escapes import encode, parse_bytes, parse_pattern_replacement, parse_possibly_empty
from twisted_pipe.filters.literal import LiteralReplacement
from twisted_pipe.filters.regex import RegexReplacement, compile_regex
from twisted_pipe.interfaces import FilterOutput
from twisted_pipe.units import parse_count, parse_flag, parse_size, parse_text

__all__ = ["Substitute"]


@attrs.define
class Substitute(PipeFilter):
    r"""
    Replaces some bytes by others, or what a regular expression matches.

    Escapes in both texts: C{\n \r \t \0 \xNN \\}. While a stream pauses, only what may still become a match is held back: of bytes
    an end that C{find} begins with. Of a regular expression it is the last bytes, as many as its longest match has, or
    about C{look_behind} if it has none; but nothing as long as the plain bytes do not come that it begins with.

    @ivar find: what is replaced; has to be given.
    @ivar replace: what takes its place. Default: nothing.
    @ivar regex: whether C{find} is a regular expression. Default off.
    @ivar ignore_case: whether ASCII letters match in either case. Default off.
    @ivar look_behind: bytes of the longest match of a regular expression that is sure to be found. Default 4 KiB.
    @ivar max: the first how many matches are replaced. Default 0: all.
    """

    judges_options: ClassVar[bool] = True

    find: str = option(parse_text, help=r"what to replace; with escapes: \n \r \t \0 \xNN \\")
    replace: str = option(parse_possibly_empty, default="", help="what takes its place; with escapes likewise")
    regex: bool = option(
        parse_flag, default=False, help=r"find is a regular expression, replace may have \1 or \g<name>"
    )
    ignore_case: bool = option(parse_flag, default=False, help="ASCII letters match in either case")
    look_behind: int = option(
        at_least(1, parse_size),
        default=4096,
        help="of a regular expression, the longest match that is sure to be found; about so much may be held back",
        unit="bytes",
    )
    max: int = option(parse_count, default=0, help="replace only so many; 0: all")
    _work: Union[LiteralReplacement, RegexReplacement] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._work = self._regular() if self.regex else self._literal()

    def _literal(self) -> LiteralReplacement:
        find, replace = parse_bytes("find", self.find), parse_bytes("replace", self.replace)
        return LiteralReplacement(find, replace, self.ignore_case, self.max)

    def _regular(self) -> RegexReplacement:
        regex = compile_regex(encode(self.find), self.ignore_case, self.look_behind)
        return RegexReplacement(regex, parse_pattern_replacement(self.replace), self.max)

    def received(self, data: memoryview) -> FilterOutput:
        return self._work.received(data)

    def ended(self) -> FilterOutput:
        return self._work.ended()
