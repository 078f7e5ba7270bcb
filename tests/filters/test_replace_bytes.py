"""Single bytes for single bytes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import find_filter, parse_filter_spec
from twisted_pipe.filters.replace_bytes import ReplaceBytes
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.testing import FilterHarness, check_filter


class ReplaceBytesTests(SynchronousTestCase):
    def test_laws(self) -> None:
        rot = bytes((byte + 13) % 256 for byte in range(256))
        check_filter(
            lambda context: ReplaceBytes(context, find=bytes(range(256)), replace=rot),
            [(bytes(range(256)) * 300, rot * 300), (b"", b"")],
        )

    def test_each_byte_only_once(self) -> None:
        """A byte that has become another is not looked at again."""
        swap = ReplaceBytes(FilterContext(), find=b"ab", replace=b"ba")
        self.assertEqual(list(swap.received(memoryview(b"aabbc"))), [b"bbaac"])
        self.assertEqual([*swap.started(), *swap.ended()], [])

    def test_on_the_command_line(self) -> None:
        for spec, data, expected in [
            ("find=abc:replace=xyz", b"aabbcc d", b"xxyyzz d"),
            (r"find=\n\t:replace=\0 ", b"a\nb\tc", b"a\0b c"),
            ("find=0x0d00:replace=0x0AfF", b"\x0d\x00", b"\x0a\xff"),
            (r"find=\x30x:replace=1y", b"0x", b"1y"),
            (r"find=0x61:replace=\x62", b"a", b"b"),
            ("find=é:replace=ab", "é".encode(), b"ab"),
            (r"find=\::replace=;", b"a:b", b"a;b"),
        ]:
            self.assertEqual(FilterHarness(parse_filter_spec(f"replace-bytes:{spec}")).run(data), expected, spec)

    def refused(self, **options: str) -> str:
        return str(self.assertRaises(BadConfiguration, find_filter("replace-bytes").configure, options))

    def test_refused(self) -> None:
        self.assertIn("filter replace-bytes: find: None: has to be given", self.refused(replace="a"))
        self.assertIn("filter replace-bytes: replace: None: has to be given", self.refused(find="a"))
        self.assertEqual(
            self.refused(find="abc", replace="x"),
            "filter replace-bytes: replace: b'x': must be as long as find, 3 bytes",
        )
        self.assertEqual(
            self.refused(find="aba", replace="xyz"),
            "filter replace-bytes: find: b'aba': has a byte twice, which cannot become two things",
        )
        self.assertEqual(
            self.refused(find="0xf", replace="x"),
            "filter replace-bytes: find: '0xf': after 0x come hexadecimal digits, two for each byte",
        )
        self.assertIn("replace: '\\\\q': after a backslash comes", self.refused(find="a", replace="\\q"))
        for empty in ("", "0x"):
            self.assertEqual(
                self.refused(find=empty, replace="x"), f"filter replace-bytes: find: {empty!r}: must not be empty"
            )
