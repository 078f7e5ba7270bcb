"""Targets, hosts and paths. What nginx is said to do was asked of nginx 1.22.1."""

from __future__ import annotations

import contextlib

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.target import BadTarget, Target, check_host, normal_path, parse_target, replace_prefix

quickly = settings(max_examples=300)

#: Paths of the pieces that mean something in one.
paths = st.lists(
    st.sampled_from(
        [
            b"/",
            b"//",
            b".",
            b"..",
            b"a",
            b"%2e",
            b"%2F",
            b"%25",
            b"%3f",
            b"%41",
            b"%0a",
            b"%ff",
            b"\xc3\xa9",
            b'"',
            b"bc",
        ]
    )
).map(lambda pieces: b"/" + b"".join(pieces))


def normal(path: bytes) -> bytes | None:
    try:
        return normal_path(path)
    except BadTarget:
        return None


def plainly_normal(path: bytes) -> bytes | None:
    """As RFC 3986, section 5.2.4, has it: from an input to an output, of what is decoded and has no two slashes side by side."""
    decoded = bytearray()
    rest = path
    while rest:
        size = 3 if rest[:1] == b"%" else 1
        decoded += bytes([int(rest[1:3], 16)]) if size == 3 else rest[:1]
        rest = rest[size:]
    text = bytes(decoded)
    while b"//" in text:
        text = text.replace(b"//", b"/")
    output = b""
    while text:
        if text.startswith(b"/./") or text == b"/.":
            text = b"/" + text[3:]
        elif text.startswith(b"/../") or text == b"/..":
            if not output:
                return None
            text = b"/" + text[4:]
            output = output[: output.rindex(b"/")]
        else:
            end = text.find(b"/", 1) % (len(text) + 1)
            output += text[:end]
            text = text[end:]
    return output


class ParseTargetTests(SynchronousTestCase):
    def refused(self, method: bytes, target: bytes, problem: str) -> None:
        error = self.assertRaises(BadTarget, parse_target, method, target)
        self.assertIn(problem, str(error))

    def test_a_path(self) -> None:
        self.assertEqual(parse_target(b"GET", b"/a/b"), Target(b"/a/b", b"/a/b", None, None, None))

    def test_the_first_question_mark_begins_the_query(self) -> None:
        self.assertEqual(parse_target(b"GET", b"/a?b=/?c"), Target(b"/a?b=/?c", b"/a", b"b=/?c"))

    def test_an_empty_query_is_one(self) -> None:
        self.assertEqual(parse_target(b"GET", b"/a?"), Target(b"/a?", b"/a", b""))

    def test_two_slashes_begin_a_path_and_no_authority(self) -> None:
        self.assertEqual(parse_target(b"GET", b"//evil.test/a"), Target(b"//evil.test/a", b"//evil.test/a"))

    def test_what_is_odd_is_passed_on_as_it_was_sent(self) -> None:
        target = b'/\xc3\xa9\xff"<>\\^`{|}[]/../%zz/a//b'
        self.assertEqual(parse_target(b"GET", target).raw, target)

    def test_control_characters_space_and_fragments_are_refused_in_every_form(self) -> None:
        for byte in (*range(0x21), 0x7F):
            for before in (b"/", b"/a?b", b"http://a.test/", b"", b"*"):
                self.refused(b"GET", before + bytes([byte]), f"the byte 0x{byte:02x}")
        self.refused(b"GET", b"/a#b", "a fragment")
        self.refused(b"GET", b"/a?b#", "a fragment")
        self.refused(b"GET", b"http://a.test#b", "a fragment")

    def test_every_other_byte_may_stand_in_a_path(self) -> None:
        for byte in {*range(0x21, 0x100)} - {ord("#"), ord("?"), 0x7F}:
            target = b"/" + bytes([byte])
            self.assertEqual(parse_target(b"GET", target).path, target)

    def test_an_asterisk_is_for_options_only(self) -> None:
        self.assertEqual(parse_target(b"OPTIONS", b"*"), Target(b"*", b"*"))
        self.refused(b"GET", b"*", "for OPTIONS only")
        self.refused(b"options", b"*", "for OPTIONS only")

    def test_connect_wants_host_and_port(self) -> None:
        self.assertEqual(parse_target(b"CONNECT", b"a.test:443"), Target(b"a.test:443", b"", None, b"a.test:443"))
        self.assertEqual(parse_target(b"CONNECT", b"[::1]:1").authority, b"[::1]:1")
        for target in (b"a.test", b"a.test:", b"", b"a.test."):
            self.refused(b"CONNECT", target, "not a host and a port")
        for target in (b"/", b"/a:1", b"http://a.test:80/", b"a.test:99999", b"u@a.test:80", b"a.test:80/"):
            self.assertRaises(BadTarget, parse_target, b"CONNECT", target)

    def test_an_absolute_target_is_passed_on_as_a_path(self) -> None:
        self.assertEqual(
            parse_target(b"GET", b"http://A.test:80/b//c?d"), Target(b"/b//c?d", b"/b//c", b"d", b"A.test:80", b"http")
        )
        self.assertEqual(
            parse_target(b"GET", b"HTTPS://[::1]?a?/b"), Target(b"/?a?/b", b"/", b"a?/b", b"[::1]", b"https")
        )
        self.assertEqual(parse_target(b"GET", b"http://a"), Target(b"/", b"/", None, b"a", b"http"))
        self.assertEqual(parse_target(b"GET", b"http://a?"), Target(b"/?", b"/", b"", b"a", b"http"))

    def test_options_of_a_whole_server_are_passed_on_as_such(self) -> None:
        """RFC 9112, section 3.2.4."""
        self.assertEqual(parse_target(b"OPTIONS", b"http://a"), Target(b"*", b"*", None, b"a", b"http"))
        self.assertEqual(parse_target(b"OPTIONS", b"http://a/").raw, b"/")
        self.assertEqual(parse_target(b"OPTIONS", b"http://a?").raw, b"/?")

    def test_an_absolute_target_names_a_host_and_no_user(self) -> None:
        self.refused(b"GET", b"http://u@a.test/", "user information")
        self.refused(b"GET", b"http://u:p@a.test", "user information")
        self.refused(b"GET", b"http:///a", "names no host")
        self.refused(b"GET", b"http://?a", "names no host")
        self.refused(b"GET", b"http://:80/", "neither a name nor an address")
        self.refused(b"GET", b"http://a.test:65536/", "its port")
        self.refused(b"GET", b"http://a.test\\b/", "neither a name nor an address")

    def test_an_at_sign_after_the_authority_is_no_user(self) -> None:
        self.assertEqual(parse_target(b"GET", b"http://a/u@b").authority, b"a")
        self.assertEqual(parse_target(b"GET", b"http://a?u@b").authority, b"a")

    def test_no_other_form_is_taken(self) -> None:
        for target in (
            b"",
            b"a",
            b"a/b",
            b"?a",
            b"**",
            b"ftp://a/",
            b"http:/a",
            b"http:a",
            b"httpx://a/",
            b"\xe9",
        ):
            self.refused(b"GET", target, "neither a path nor an http or https URL")

    def test_an_error_is_short_and_printable(self) -> None:
        for target in (b"\xff\x1b[2J\n" * 5000, b"\xff" * 30000, b"/" + b"\n" * 30000):
            text = str(self.assertRaises(BadTarget, parse_target, b"GET", target))
            self.assertTrue(text.isascii() and text.isprintable(), text)
            self.assertLess(len(text), 350)

    @quickly
    @given(st.binary(max_size=30))
    def test_a_path_is_passed_on_byte_for_byte_or_refused(self, rest: bytes) -> None:
        try:
            target = parse_target(b"GET", b"/" + rest)
        except BadTarget:
            return
        self.assertEqual(target.raw, b"/" + rest)
        self.assertEqual(target.path + (b"" if target.query is None else b"?" + target.query), target.raw)

    @quickly
    @given(
        st.binary(max_size=30),
        st.sampled_from([b"GET", b"OPTIONS", b"CONNECT"]),
        st.sampled_from([b"", b"http://", b"http://a"]),
    )
    def test_nothing_but_BadTarget_is_raised(self, rest: bytes, method: bytes, before: bytes) -> None:
        with contextlib.suppress(BadTarget):
            parse_target(method, before + rest)


class CheckHostTests(SynchronousTestCase):
    def test_what_a_site_is_chosen_by(self) -> None:
        for value, host in {
            b"": b"",
            b"a.test": b"a.test",
            b"A.Test": b"a.test",
            b"a.test.": b"a.test",
            b"a.test:80": b"a.test",
            b"a.test.:80": b"a.test",
            b"a.test:": b"a.test",
            b"a:0": b"a",
            b"a:65535": b"a",
            b"a:00080": b"a",
            b"localhost": b"localhost",
            b"127.0.0.1:8080": b"127.0.0.1",
            b"[::1]": b"[::1]",
            b"[2001:DB8::A]:443": b"[2001:db8::a]",
            b"[::ffff:192.0.2.1]": b"[::ffff:192.0.2.1]",
            b"a_b-c.test": b"a_b-c.test",
            b"XN--BCHER-KVA.test": b"xn--bcher-kva.test",
            b"a%C3%a9!$&'()*+,;=~": b"a%c3%a9!$&'()*+,;=~",
        }.items():
            self.assertEqual(check_host(value), host)

    def test_what_is_no_host(self) -> None:
        no_label = b":80 . .a a..b a.. .. .:80".split()
        no_name = rb"""a/b a@b a?b a#b a\b <a> "a" {a} a|b a% a%4 a%zz a%4g""".split()
        no_port = b"a:x a:-1 a:+1 a:80:90 a:\xb2 ::1 a:000080 [::1]:x".split()
        no_address = b"[] [::1 ::1] [::1]a [::1]. [127.0.0.1] [1::2::3] [::1%25lo] [v1.a] a[::1]".split()
        space = [b"a b", b" a", b"a ", b"a\t", b"a\r", b"a\n", b"a\0", b"a:8 ", b"\xc3\xa9"]
        for value in (*no_label, *no_name, *no_port, *no_address, *space):
            error = self.assertRaises(BadTarget, check_host, value)
            self.assertIn("its host", str(error))

    def test_a_port_has_sixteen_bits(self) -> None:
        for value in (b"a:65536", b"[::1]:99999"):
            self.assertIn("its port is greater than 65535", str(self.assertRaises(BadTarget, check_host, value)))

    def test_a_name_is_bounded(self) -> None:
        longest = b"a." * 127 + b"a"
        self.assertEqual(check_host(longest + b".:65535"), longest)
        for value in (b"a" + longest + b".:65535", b"a" * 100_000, b"." * 100_000, b"[" + b":" * 100_000 + b"]"):
            self.assertIn("more than 262 bytes", str(self.assertRaises(BadTarget, check_host, value)))

    @quickly
    @given(st.text("aA.:[]01%-_@*", max_size=12).map(str.encode) | st.binary(max_size=12))
    def test_what_it_returns_it_returns_again(self, value: bytes) -> None:
        try:
            host = check_host(value)
        except BadTarget:
            return
        self.assertEqual(check_host(host), host)
        self.assertEqual(host, host.lower())


class NormalPathTests(SynchronousTestCase):
    def test_a_normal_path_is_returned_itself(self) -> None:
        for path in (b"/", b"/a/b.c/", b"/a.", b"/a../b", b'/\xc3\xa9"', b"*", b""):
            self.assertIs(normal_path(path), path)

    def test_as_nginx(self) -> None:
        for path, wanted in {
            b"/a//b": b"/a/b",
            b"//x/y": b"/x/y",
            b"//": b"/",
            b"/a//": b"/a/",
            b"/a/./b": b"/a/b",
            b"/./": b"/",
            b"/a/.": b"/a/",
            b"/a/..": b"/",
            b"/a/b/..": b"/a/",
            b"/a/b/../": b"/a/",
            b"/a//../b": b"/b",
            b"/a/%2e%2e/b": b"/b",
            b"/a%2Fb": b"/a/b",
            b"/a%2f%2e%2E/c": b"/c",
            b"/a/%2E": b"/a/",
            b"/a%2e": b"/a.",
            b"/.../x": b"/.../x",
            b"/..a/.b": b"/..a/.b",
            b"/a%23b": b"/a#b",
            b"/a%3Fb": b"/a?b",
            b"/a%25": b"/a%",
            b"/a%20b%0d%0A": b"/a b\r\n",
            b"/%C3%a9": b"/\xc3\xa9",
        }.items():
            self.assertEqual(normal_path(path), wanted, path)

    def test_it_is_decoded_once(self) -> None:
        self.assertEqual(normal_path(b"/a%2541"), b"/a%41")
        self.assertEqual(normal_path(b"/a/%252e%252e/b"), b"/a/%2e%2e/b")

    def test_nothing_climbs_above_the_root(self) -> None:
        for path in (
            b"/..",
            b"/../a",
            b"/a/../..",
            b"/%2e%2e",
            b"/.%2e/",
            b"/a/b/../../..//c",
            b"/./..",
            b"//..",
            b"/%2f..",
        ):
            self.assertIn("above the root", str(self.assertRaises(BadTarget, normal_path, path)))

    def test_a_bad_escape(self) -> None:
        for path in (b"/a%", b"/a%4", b"/a%zz", b"/a%4g", b"/%%41", b"/% 41", b"/%+1", b"/%u0041"):
            self.assertIn("two hexadecimal digits", str(self.assertRaises(BadTarget, normal_path, path)))

    def test_nul(self) -> None:
        self.assertIn("NUL", str(self.assertRaises(BadTarget, normal_path, b"/a%00b")))

    @quickly
    @given(paths)
    @example(b"/a/..//..")
    def test_it_agrees_with_the_algorithm_of_the_rfc(self, path: bytes) -> None:
        self.assertEqual(normal(path), plainly_normal(path))

    @quickly
    @given(paths | st.binary(max_size=20).map(lambda rest: b"/" + rest.replace(b"\0", b"")))
    def test_it_has_no_more_to_do_on_its_own_escaped_output(self, path: bytes) -> None:
        found = normal(path)
        if found is not None:
            escaped = b"".join(b"%%%02x" % byte if byte == ord("%") else bytes([byte]) for byte in found)
            self.assertEqual(normal_path(escaped), found)


class ReplacePrefixTests(SynchronousTestCase):
    def test_the_rest_of_a_normal_path_is_as_it_was_sent(self) -> None:
        self.assertEqual(replace_prefix(b"/p/a/b?c=/p/", b"/p/", b"/q/"), b"/q/a/b?c=/p/")
        self.assertEqual(replace_prefix(b'/p/\xc3\xa9|"', b"/p/", b"/q/"), b'/q/\xc3\xa9|"')

    def test_the_uri_is_put_there_as_it_is(self) -> None:
        self.assertEqual(replace_prefix(b"/p/a", b"/p", b"/"), b"//a")
        self.assertEqual(replace_prefix(b"/p/a", b"/p/", b"/q%20r"), b"/q%20ra")

    def test_a_whole_path(self) -> None:
        self.assertEqual(replace_prefix(b"/x?y", b"/x", b"/y"), b"/y?y")
        self.assertEqual(replace_prefix(b"/%78", b"/x", b"/y"), b"/y")

    def test_the_query_is_kept_byte_for_byte(self) -> None:
        self.assertEqual(replace_prefix(b"/p/%41?x=%zz//../?%41\xff", b"/p/", b"/"), b"/A?x=%zz//../?%41\xff")
        self.assertEqual(replace_prefix(b"/p/?", b"/p/", b"/"), b"/?")

    def test_as_nginx(self) -> None:
        for raw, wanted in {
            b"/p//a": b"/q/a",
            b"/p/a/../b": b"/q/b",
            b"/%70/a": b"/q/a",
            b'/p/%41/\xc3\xa9|"': b"/q/A/%C3%A9%7C%22",
            b'/p//\xc3\xa9|"': b'/q/\xc3\xa9|"',
            b'/p/./\xc3\xa9|"': b'/q/\xc3\xa9|"',
            b'/%70/a"': b"/q/a%22",
            b"/p/%2fa%3fb": b"/q/a%3Fb",
            b"/p/a%2520": b"/q/a%2520",
        }.items():
            self.assertEqual(replace_prefix(raw, b"/p/", b"/q/"), wanted, raw)

    def test_every_byte_is_escaped_as_by_nginx(self) -> None:
        escaped = b"".join(b"%%%02x" % byte for byte in range(1, 256))
        self.assertEqual(
            replace_prefix(b"/p/" + escaped, b"/p/", b"/"),
            b"/"
            + b"".join(b"%%%02X" % byte for byte in range(1, 0x21))
            + b"!%22%23$%25&'()*+,-./0123456789:;%3C=%3E%3F@ABCDEFGHIJKLMNOPQRSTUVWXYZ"
            + b"[%5C]%5E_%60abcdefghijklmnopqrstuvwxyz%7B%7C%7D~"
            + b"".join(b"%%%02X" % byte for byte in range(0x7F, 256)),
        )

    def test_what_is_sent_can_not_be_split(self) -> None:
        """Line ends, spaces and question marks that were encoded stay so."""
        self.assertEqual(replace_prefix(b"/p/a%0d%0aX:%20%3f%23", b"/p/", b"/"), b"/a%0D%0AX:%20%3F%23")

    def test_a_path_that_is_refused(self) -> None:
        self.assertRaises(BadTarget, replace_prefix, b"/p/../..", b"/p/", b"/")

    def test_a_path_without_the_prefix_is_an_error_of_the_caller(self) -> None:
        error = self.assertRaises(ValueError, replace_prefix, b"/p/../r", b"/p/", b"/")
        self.assertNotIsInstance(error, BadTarget)

    @quickly
    @given(paths)
    def test_whoever_gets_it_finds_the_same_path(self, path: bytes) -> None:
        found = normal(path)
        if found is not None:
            self.assertEqual(normal_path(replace_prefix(path + b"?q", b"/", b"/").removesuffix(b"?q")), found)
