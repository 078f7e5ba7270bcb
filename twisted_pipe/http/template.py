"""
Text with variables in it: C{"https://$host$request_uri"}.

=================  ============================================================
C{$name}           a variable (L{twisted_pipe.http.variables}) or a named capture
C{${name}}         the same, where a letter, a digit or C{_} follows
C{$1} … C{$9}      a numbered capture; one digit, so C{$10} is C{$1} and a zero
C{${dollar}}       a dollar sign; any other lone C{$} is an error, as in nginx
=================  ============================================================

There is no expression, no condition and no nesting: everything is found and checked once, at start-up, and what is left to do for a
request is to put values between literal pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Union

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.facts import ExchangeFacts
from twisted_pipe.http.variable import Variable, Vocabulary
from twisted_pipe.http.variables import VOCABULARY

__all__ = ["Escape", "Template"]

Escape = Callable[[bytes], bytes]

#: A dollar, and what makes it a variable: a digit, a name in braces, a name; or nothing of that.
_DOLLAR = re.compile(r"\$(?:([1-9])|\{([A-Za-z0-9_]+)\}|([A-Za-z_][A-Za-z0-9_]*))?")
#: Bytes that no field value may have (RFC 9110, section 5.5): all controls but the tab.
_CONTROLS = bytes(byte for byte in (*range(32), 127) if byte != 9)
_WITHOUT_CONTROLS = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))

_Piece = Union[bytes, Variable]
_Value = Callable[[ExchangeFacts], bytes]


@attrs.frozen
class Template:
    """
    Made by L{compile}.

    @ivar text: what it was made of.
    @ivar literal: what it always renders to, if it has no variable; else None.
    """

    text: str
    literal: bytes | None
    _format: bytes = attrs.field(eq=False, repr=False)  # for the operator %, so that one call joins all pieces
    _values: tuple[_Value, ...] = attrs.field(eq=False, repr=False)

    @classmethod
    def compile(
        cls,
        name_of_option: str,
        text: str,
        captures: Collection[str] = (),
        escape: Escape | None = None,
        missing: bytes = b"",
        vocabulary: Vocabulary = VOCABULARY,
    ) -> Template:
        """
        @param name_of_option: where C{text} stands, for the error.
        @param captures: names, and numbers (C{"1"}), of what the route captures.
        @param escape: applied to every value that may have bytes of somebody else's in it; never to literal text.
        @param missing: stands for a value that is not there.
        @param vocabulary: the variables that there are, by default those of HTTP. C{render} wants the facts that they are of.
        @raise BadConfiguration: when C{text} names a variable that does not exist, or has a lone dollar.
        """
        pieces = _pieces(name_of_option, text, captures, vocabulary)
        variables = [piece for piece in pieces if isinstance(piece, Variable)]
        literals = [piece for piece in pieces if isinstance(piece, bytes)]
        return cls(
            text,
            None if variables else b"".join(literals),
            b"".join(b"%b" if isinstance(piece, Variable) else piece.replace(b"%", b"%%") for piece in pieces),
            tuple(_value(variable, escape, missing) for variable in variables),
        )

    def render(self, facts: ExchangeFacts) -> bytes:
        """The text with the values in it, which are as they came, unless there is an C{escape}: they may have any byte."""
        if self.literal is not None:
            return self.literal
        return self._format % tuple([value(facts) for value in self._values])

    def render_header(self, facts: ExchangeFacts) -> bytes:
        """
        The same as the value of a header field. Every control character but the tab, CR, LF and NUL among them, becomes a space
        (RFC 9110, section 5.5, asks for that or for a refusal), and no space or tab stands at either end. So nothing that a client
        sends ends the field.
        """
        return self.render(facts).translate(_WITHOUT_CONTROLS).strip(b" \t")


def _pieces(option: str, text: str, captures: Collection[str], vocabulary: Vocabulary) -> list[_Piece]:
    """Literal text and variables, in order."""
    pieces: list[_Piece] = []
    at = 0
    for match in _DOLLAR.finditer(text):
        pieces.append(_encoded(text[at : match.start()]))
        name = match[1] or match[2] or match[3]
        if name is None:
            raise BadConfiguration(
                option,
                text,
                f"has a lone $ at position {match.start()}: $name is a variable, ${{dollar}} is a dollar sign",
            )
        pieces.append(b"$" if name == "dollar" else _variable(option, text, name, captures, vocabulary))
        at = match.end()
    pieces.append(_encoded(text[at:]))
    return pieces


def _encoded(text: str) -> bytes:
    # Arguments of the command line that are no UTF-8 stay what they were.
    return text.encode("utf-8", "surrogateescape")


def _variable(option: str, text: str, name: str, captures: Collection[str], vocabulary: Vocabulary) -> Variable:
    found = vocabulary.find(name, captures)
    if found is None:
        raise BadConfiguration(option, text, _unknown(name, captures, vocabulary))
    if name in captures and vocabulary.find(name) is not None:
        raise BadConfiguration(option, text, f"${name} is a variable: the capture of that name must have another")
    return found


def _unknown(name: str, captures: Collection[str], vocabulary: Vocabulary) -> str:
    if name.isdigit():
        return f"there is no capture ${name}: only what a regular expression of this route captures can be used"
    nearest = vocabulary.nearest(name, captures)
    return f"there is no variable ${name}" + (f": the nearest is ${nearest}" if nearest else "")


def _value(variable: Variable, escape: Escape | None, missing: bytes) -> _Value:
    """The getter, with what C{escape} and C{missing} make of its values."""
    get = variable.getter

    def as_it_is(facts: ExchangeFacts) -> bytes:
        value = get(facts)
        return missing if value is None else value

    if escape is None or variable.plain:
        return as_it_is
    escaping = escape

    def escaped(facts: ExchangeFacts) -> bytes:
        value = get(facts)
        return missing if value is None else escaping(value)

    return escaped
