from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http import fields
from twisted_pipe.http.fields import BadFields, FieldKind, kinds_of, normal_line_ends

SPECIAL = {
    b"Connection: close": FieldKind.CONNECTION,
    b"CONTENT-LENGTH: 5": FieldKind.LENGTH,
    b"transfer-encoding:chunked": FieldKind.TRANSFER,
    b"Host: a": FieldKind.HOST,
    b"Expect: 100-continue": FieldKind.EXPECT,
    b"Keep-Alive: timeout=5": FieldKind.HOP,
    b"Proxy-Connection: keep-alive": FieldKind.HOP,
    b"TE: trailers": FieldKind.HOP,
    b"Trailer: X": FieldKind.HOP,
    b"HTTP2-Settings: AAA": FieldKind.HOP,
    b"Upgrade: h2c": FieldKind.UPGRADE,
    b"X-Forwarded-For: 1.2.3.4": FieldKind.FORWARDED,
    b"X-Forwarded-Proto: http": FieldKind.FORWARDED,
    b"X-Forwarded-Host: a": FieldKind.FORWARDED,
    b"Forwarded: for=x": FieldKind.FORWARDED,
    b"Via: 1.1 x": FieldKind.FORWARDED,
    b"Date: x": FieldKind.DATE,
    b"X-Accel-Buffering: no": FieldKind.ACCEL,
    b"X-Accel-Limit-Rate: 1k": FieldKind.ACCEL,
    b"Referer: x": FieldKind.REFERER,
    b"User-Agent: x": FieldKind.USER_AGENT,
    b"Authorization: Basic eDp5": FieldKind.AUTHORIZATION,
    b"Accept: */*": FieldKind.PLAIN,
    b"X-Hostile: a": FieldKind.PLAIN,
    b"Content-Length-X: 5": FieldKind.PLAIN,
}


class KindTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(fields._kept.clear)
        fields._kept.clear()

    def test_each_has_its_kind_whatever_its_case(self) -> None:
        for line, kind in SPECIAL.items():
            for form in (line, line.lower(), line.upper()):
                self.assertEqual(kinds_of([form]), [kind], form)

    def test_the_same_is_said_again(self) -> None:
        """From memory, of some, or all."""
        lines = [line for line in SPECIAL if line[:8] != b"transfer"]  # beside a length llhttp refuses it
        for _ in range(2):
            self.assertEqual(kinds_of(lines), [SPECIAL[line] for line in lines])
        self.assertEqual(kinds_of([*lines[:3], b"New: one", *lines[3:]]).count(FieldKind.PLAIN), 4)

    def test_none(self) -> None:
        self.assertEqual(kinds_of([]), [])


class MemoryTests(SynchronousTestCase):
    """Of lines that are known."""

    def setUp(self) -> None:
        self.addCleanup(fields._kept.clear)
        fields._kept.clear()

    def test_it_is_bounded(self) -> None:
        """In lines, and each of them in bytes."""
        for number in range(2 * fields._MOST_LINES + 10):
            kinds_of([b"X: %d" % number])
            self.assertLessEqual(len(fields._kept), fields._MOST_LINES)
        self.assertEqual(len(fields._kept), 10)

    def test_long_lines_are_not_kept(self) -> None:
        longest = b"X: " + b"y" * (fields._LONGEST_LINE - 3)
        kinds_of([longest, longest + b"y"])
        self.assertEqual(list(fields._kept), [longest])

    def test_secrets_are_not_kept(self) -> None:
        secrets = [b"Authorization: x", b"COOKIE: x", b"Set-Cookie: x", b"proxy-authorization: x", b"X-Request-ID: x"]
        for _ in range(2):
            kinds_of([*secrets, b"X: y"])
        self.assertEqual(list(fields._kept), [b"X: y"])

    def test_nothing_of_what_was_refused_is_kept(self) -> None:
        with self.assertRaises(BadFields):
            kinds_of([b"X: y", b"X : y"])
        self.assertEqual(fields._kept, {})

    def test_what_is_known_does_not_hide_what_is_wrong(self) -> None:
        kinds_of([b"X: y", b"Host: a"])
        for wrong in (b"X : y", b"X: y\0", b"x\xff: y"):
            with self.assertRaises(BadFields):
                kinds_of([b"X: y", wrong, b"Host: a"])

    def test_case_and_space_make_another_line(self) -> None:
        kinds_of([b"X: y"])
        kinds_of([b"x: y", b"X:y", b"X:  y"])
        self.assertEqual(len(fields._kept), 4)


class RefusalTests(SynchronousTestCase):
    """What no field line is: by llhttp, or by us where it is lenient."""

    def refused(self, *lines: bytes) -> str:
        with self.assertRaises(BadFields, msg=lines) as raised:
            kinds_of(list(lines))
        why = str(raised.exception)
        self.assertTrue(why.isprintable() and why, lines)
        return why

    def test_by_llhttp(self) -> None:
        for line in (
            b"X",
            b": y",
            b"X : y",
            b"X\t: y",
            b"X Y: z",
            b"(X): y",
            b"X\xe9: y",
            b"X\0: y",
            b"X: y\0",
            b"X: \x01",
            b"X: \x0b",
            b"X: \x1b",
            b"X: \x7f",
        ):
            self.assertIn("it is malformed", self.refused(line), line)

    def test_an_empty_line(self) -> None:
        """It would end the head."""
        self.assertIn("more lines than fields", self.refused(b"X: y", b""))
        self.refused(b"X: y", b"", b"Host: a")

    def test_every_control_character(self) -> None:
        for byte in range(256):
            line = b"X: a%cb" % byte
            if byte == 9 or (byte >= 32 and byte != 127):
                self.assertEqual(kinds_of([line]), [FieldKind.PLAIN], line)
            else:
                self.refused(line)

    def test_ends_within_a_line(self) -> None:
        """Llhttp takes some of them for two lines."""
        for line in (b"X: y\nHost: b", b"X: y\rHost: b", b"X: y\r\nHost: b", b"X: y\r", b"\nX: y"):
            self.assertIn("bare CR or a bare LF", self.refused(line))

    def test_folds(self) -> None:
        for line in (b" X: y", b"\tX: y", b" "):
            self.assertIn("folded", self.refused(b"A: b", line))

    def test_framing_that_llhttp_would_refuse_as_such(self) -> None:
        """A combination is not its business here: the one line that is wrong is found wherever it stands."""
        for lines in ([b"X : y", b"A: b"], [b"A: b", b"X : y"], [b"A: b", b"X : y", b"C: d"]):
            self.refused(*lines)

    def test_one_refusal_does_not_spoil_the_next_head(self) -> None:
        """Nor does one that ends llhttp's connection, or changes its protocol."""
        for odd in (
            [b"X : y"],
            [b"Connection: close"],
            [b"Connection: upgrade", b"Upgrade: x"],
            [b"Content-Length: 500"],
            [b"Transfer-Encoding: chunked"],
        ):
            try:
                kinds_of(odd)
            except BadFields:
                self.assertEqual(odd, [b"X : y"])
            self.assertEqual(kinds_of([b"A-%d: b" % len(odd[0])]), [FieldKind.PLAIN])


class LineEndTests(SynchronousTestCase):
    def test_bare_ones_become_whole(self) -> None:
        self.assertEqual(normal_line_ends(b"a\nb\r\nc\n\n\r\n"), b"a\r\nb\r\nc\r\n\r\n\r\n")
