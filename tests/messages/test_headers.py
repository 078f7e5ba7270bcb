"""Fields as message filters change them: nothing that they give can break a line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.fields import FieldKind, kinds_of
from twisted_pipe.messages.headers import Headers, field_line

NAMES = st.sampled_from([b"A", b"a", b"B", b"Set-Cookie", b"set-cookie", b"X-Y"])
VALUES = st.from_regex(rb"[\x21-\x7e]([\x20-\x7e]{0,8}[\x21-\x7e])?", fullmatch=True)
CHANGES = st.lists(st.tuples(st.sampled_from(["set", "add", "remove"]), NAMES, VALUES), max_size=12)
#: Those that a proxy understands for itself, but for what is the upstream's or the client's word as well.
PROXYS = [
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "HTTP2-Settings",
    "Upgrade",
]


class HeadersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.headers = Headers([b"Host: a", b"Set-Cookie: x=1", b"X-A:  b ", b"set-cookie: y=2"])

    def test_names_are_found_in_any_case_as_text_or_bytes(self) -> None:
        for name in ("x-a", b"X-A", "X-a"):
            self.assertEqual(self.headers.get(name), b"b")
            self.assertIn(name, self.headers)
        self.assertIsNone(self.headers.get("x"))
        self.assertNotIn("X-A:", self.headers)

    def test_of_several_the_first_is_got_and_all_in_order(self) -> None:
        self.assertEqual(self.headers.get("set-cookie"), b"x=1")
        self.assertEqual(self.headers.get_all("SET-COOKIE"), [b"x=1", b"y=2"])

    def test_set_replaces_all_where_the_first_was(self) -> None:
        self.headers.set("SET-cookie", "z")
        self.assertEqual(self.headers.lines, [b"Host: a", b"SET-cookie: z", b"X-A:  b "])

    def test_set_appends_what_was_not_there(self) -> None:
        self.headers.set("New", "z")
        self.assertEqual(self.headers.lines[-1], b"New: z")
        self.assertEqual(len(self.headers), 5)

    def test_remove_takes_all_of_the_name(self) -> None:
        self.headers.remove("set-cookie")
        self.assertEqual(self.headers.lines, [b"Host: a", b"X-A:  b "])
        self.headers.remove("not-there")

    def test_remove_alike_takes_what_a_server_could_take_for_it(self) -> None:
        lines = [b"X-User-Name: a", b"x_user-name: b", b"X_USER_NAME: c", b"XUserName: d", b"X-User: e"]
        for name in ("X-User-Name", b"x_user_name"):
            headers = Headers([*lines, b"A: X-User-Name: f"])
            headers.remove_alike(name)
            self.assertEqual(headers.lines, [b"XUserName: d", b"X-User: e", b"A: X-User-Name: f"])

    def test_what_is_the_proxys_is_not_removed_so_either(self) -> None:
        for name in ("content_length", "Transfer-Encoding", "Keep_Alive", "a b"):
            self.assertRaises(ValueError, self.headers.remove_alike, name)

    def test_lines_that_are_not_changed_stay_byte_for_byte(self) -> None:
        self.headers.add("New", "z")
        self.assertIn(b"X-A:  b ", self.headers.lines)

    def test_a_kept_list_is_what_was(self) -> None:
        kept = self.headers.lines
        self.headers.set("X-A", "c")
        self.headers.remove("Host")
        self.assertEqual(kept, [b"Host: a", b"Set-Cookie: x=1", b"X-A:  b ", b"set-cookie: y=2"])

    def test_frozen_it_says_why(self) -> None:
        self.headers.frozen = "too late"
        for change in (
            lambda: self.headers.set("A", "b"),
            lambda: self.headers.add("A", "b"),
            lambda: self.headers.remove("A"),
            lambda: self.headers.remove_alike("A"),
            lambda: self.headers.vary("A"),
        ):
            self.assertEqual(str(self.assertRaises(ValueError, change)), "too late")
        self.assertEqual(len(self.headers), 4)

    def test_vary_names_a_field_once(self) -> None:
        headers = Headers([b"Vary: Accept-Encoding, origin"])
        headers.vary("Origin")
        headers.vary("Accept-Language")
        headers.vary("accept-language")
        self.assertEqual(headers.get_all("vary"), [b"Accept-Encoding, origin", b"Accept-Language"])

    def test_vary_leaves_the_asterisk_alone(self) -> None:
        headers = Headers([b"Vary: *"])
        headers.vary("Origin")
        self.assertEqual(headers.lines, [b"Vary: *"])

    @given(CHANGES)
    def test_they_are_what_a_list_of_pairs_would_be(self, changes: list[tuple[str, bytes, bytes]]) -> None:
        headers = Headers([])
        model: list[tuple[bytes, bytes]] = []
        for what, name, value in changes:
            same = [place for place, (known, _) in enumerate(model) if known.lower() == name.lower()]
            if what == "add":
                headers.add(name, value)
                model.append((name, value))
            elif what == "remove":
                headers.remove(name)
                model = [each for place, each in enumerate(model) if place not in same]
            else:
                headers.set(name, value)
                if same:
                    model[same[0]] = (name, value)
                    model = [each for place, each in enumerate(model) if place not in same[1:]]
                else:
                    model.append((name, value))
        self.assertEqual(list(headers), model)


class FieldLineTests(SynchronousTestCase):
    def refused(self, name: object, value: object, why: str) -> None:
        error = self.assertRaises(ValueError, field_line, name, value)
        self.assertIn(why, str(error))

    def test_text_is_sent_as_utf_8(self) -> None:
        self.assertEqual(field_line("X-Name", "Jürgen"), "X-Name: Jürgen".encode())

    def test_white_space_around_a_value_is_taken_off(self) -> None:
        self.assertEqual(field_line("A", " \t b c\t "), b"A: b c")

    def test_an_empty_value_is_one(self) -> None:
        self.assertEqual(field_line("A", ""), b"A: ")

    def test_a_value_that_would_break_the_line_is_refused(self) -> None:
        for text in ("a\r\nB: c", "a\nb", "a\rb", "a\0b", "a\x7fb", "\x1b[0m"):
            self.refused("A", text, "the value of A has a control character")

    def test_a_name_that_is_no_token_is_refused(self) -> None:
        for name in ("", "A B", "A:", "A\r\n", "Ä", "A\0"):
            self.refused(name, "b", "a field's name is letters, digits and some signs")

    def test_what_frames_the_message_or_concerns_one_connection_is_the_proxys(self) -> None:
        for name in PROXYS:
            for spelt in (name, name.lower(), name.upper().encode()):
                self.refused(spelt, "1", "is the proxy's")
                self.assertRaises(ValueError, Headers([]).remove, spelt)

    def test_these_are_the_fields_that_heads_keep_to_themselves(self) -> None:
        """So that nothing which L{twisted_pipe.http.head} leaves out can be put in."""
        theirs = {FieldKind.PLAIN, FieldKind.HOST, FieldKind.FORWARDED, FieldKind.DATE, FieldKind.ACCEL}
        theirs |= {FieldKind.REFERER, FieldKind.USER_AGENT, FieldKind.AUTHORIZATION}
        from twisted_pipe.http.fields import _KINDS

        left_out = {name for name, kind in _KINDS.items() if kind not in theirs}
        self.assertEqual(left_out, {name.lower().encode() for name in PROXYS})

    def test_neither_text_nor_bytes_is_a_mistake_of_the_filter(self) -> None:
        self.assertRaises(TypeError, field_line, "A", 1)
        self.assertRaises(TypeError, field_line, None, "a")

    @given(st.binary(max_size=12), st.binary(max_size=24))
    def test_what_is_taken_is_one_line_to_every_reader(self, name: bytes, value: bytes) -> None:
        try:
            line = field_line(name, value)
        except ValueError:
            return
        self.assertEqual(len(kinds_of([line])), 1)
        self.assertEqual(line.partition(b":")[0], name)
        self.assertEqual(line.splitlines(), [line])
