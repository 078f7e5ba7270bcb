"""Routes and sites."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.routing import RouteTable, SiteTable

quickly = settings(max_examples=300)

some_paths = st.text("ab/", max_size=5).map(lambda text: re.sub(b"/+", b"/", b"/" + text.encode()))
some_routes = st.dictionaries(some_paths, st.integers(), max_size=5)
some_patterns = st.lists(
    st.tuples(
        st.sampled_from(["a", "^/a", "b$", "A", "(a)(b)?", "^/(?P<x>b+)/", "/a/|b"]), st.booleans(), st.integers()
    ),
    max_size=3,
    unique_by=lambda pattern: pattern[:2],
)
labels = st.lists(st.sampled_from(["a", "b", "c", "xn--d"]), min_size=1, max_size=4)
hosts = labels.map(".".join)
names = st.builds(str.__mod__, st.sampled_from(["%s", "*.%s", "%s.*", "~%s", "~^%s$"]), hosts)


class RouteTableTests(SynchronousTestCase):
    def test_precedence(self) -> None:
        """The example of nginx's documentation of C{location}."""
        table = RouteTable(
            exact={b"/": "A"},
            prefixes={b"/": "B", b"/documents/": "C"},
            final_prefixes={b"/images/": "D"},
            patterns=[(r"\.(?:gif|jpg|jpeg)$", True, "E")],
        )
        for path, route in {
            b"/": "A",
            b"/index.html": "B",
            b"/documents/document.html": "C",
            b"/images/1.gif": "D",
            b"/documents/1.jpg": "E",
            b"/documents/1.JPG": "E",
        }.items():
            self.assertEqual(table.find(path), (route, None))

    def test_exact_is_the_whole_path(self) -> None:
        table = RouteTable(exact={b"/a": 1})
        self.assertEqual([table.find(path)[0] for path in (b"/a", b"/a/", b"/ab", b"/")], [1, None, None, None])

    def test_exact_is_taken_before_a_final_prefix_of_the_same_path(self) -> None:
        self.assertEqual(RouteTable(exact={b"/a": 1}, final_prefixes={b"/a": 2}).find(b"/a"), (1, None))

    def test_the_longest_prefix_whatever_the_order(self) -> None:
        table = RouteTable(prefixes={b"/a": 1, b"/a/b/c": 3, b"/a/b": 2})
        self.assertEqual([table.find(path)[0] for path in (b"/a/b/cd", b"/a/b/", b"/ab", b"/b")], [3, 2, 1, None])

    def test_a_path_shorter_than_every_prefix(self) -> None:
        self.assertEqual(RouteTable(prefixes={b"/abc": 1, b"/abcde": 2}).find(b"/ab"), (None, None))
        self.assertEqual(RouteTable(prefixes={b"/abc": 1, b"/abcde": 2}).find(b"/abc"), (1, None))

    def test_only_the_longest_prefix_can_be_final(self) -> None:
        table = RouteTable(prefixes={b"/a/b": 1}, final_prefixes={b"/a": 2}, patterns=[("x", False, 3)])
        self.assertEqual(table.find(b"/a/b/x"), (3, None))
        self.assertEqual(table.find(b"/a/x"), (2, None))

    def test_the_first_expression_that_matches_anywhere(self) -> None:
        table = RouteTable(prefixes={b"/": 0}, patterns=[("^/b", False, 1), ("b", False, 2), ("c", False, 3)])
        self.assertEqual([table.find(path)[0] for path in (b"/b", b"/cb", b"/c", b"/B")], [1, 2, 3, 0])

    def test_case_is_ignored_if_said(self) -> None:
        table = RouteTable(patterns=[("a", False, 1), ("a", True, 2)])
        self.assertEqual([table.find(path)[0] for path in (b"/a", b"/A")], [1, 2])

    def test_captures_by_number_and_name(self) -> None:
        table = RouteTable(patterns=[(r"^/(?P<user>\w+)(?P<more>/x)?/(.*)", False, 1)])
        self.assertEqual(
            table.find(b"/joe//etc"), (1, {"1": b"joe", "2": b"", "3": b"/etc", "user": b"joe", "more": b""})
        )

    def test_captures_end_with_the_ninth_number(self) -> None:
        captures = RouteTable(patterns=[("(.)" * 10, False, 1)]).find(b"/123456789")[1]
        assert captures is not None
        self.assertEqual((captures["1"], captures["9"], len(captures)), (b"/", b"8", 9))

    def test_no_groups_no_captures(self) -> None:
        self.assertEqual(RouteTable(patterns=[("(?:a)", False, 1)]).find(b"/a"), (1, None))

    def test_an_expression_in_another_alphabet(self) -> None:
        self.assertEqual(RouteTable(patterns=[("^/é", False, 1)]).find("/été".encode()), (1, None))

    def test_the_asterisk_is_no_path(self) -> None:
        self.assertEqual(RouteTable(prefixes={b"/": 1}).find(b"*"), (None, None))
        self.assertEqual(RouteTable(exact={b"*": 2}, prefixes={b"/": 1}).find(b"*"), (2, None))

    def test_a_value_that_is_false_is_a_value(self) -> None:
        self.assertEqual(RouteTable(prefixes={b"/": 1}, patterns=[("a", False, 0)]).find(b"/a"), (0, None))
        self.assertEqual(RouteTable(prefixes={b"/": 1, b"/a": 0}).find(b"/a"), (0, None))

    def test_an_empty_table_finds_nothing(self) -> None:
        self.assertEqual(RouteTable[int]().find(b"/"), (None, None))

    @quickly
    @given(some_routes, some_routes, some_routes, some_patterns, some_paths)
    def test_it_agrees_with_a_plain_reading_of_the_rules(
        self,
        exact: dict[bytes, int],
        prefixes: dict[bytes, int],
        final: dict[bytes, int],
        patterns: list[tuple[str, bool, int]],
        path: bytes,
    ) -> None:
        prefixes = {key: value for key, value in prefixes.items() if key not in final}
        table = RouteTable(exact=exact, prefixes=prefixes, final_prefixes=final, patterns=patterns)
        self.assertEqual(table.find(path)[0], self.plainly(exact, prefixes, final, patterns, path))

    def plainly(
        self,
        exact: dict[bytes, int],
        prefixes: dict[bytes, int],
        final: dict[bytes, int],
        patterns: list[tuple[str, bool, int]],
        path: bytes,
    ) -> int | None:
        if path in exact:
            return exact[path]
        longest = max((key for key in (*prefixes, *final) if path.startswith(key)), key=len, default=None)
        if longest is not None and longest in final:
            return final[longest]
        for text, ignore_case, value in patterns:
            if re.search(text, path.decode(), re.IGNORECASE if ignore_case else 0):
                return value
        return None if longest is None else prefixes[longest]


class BadRouteTests(SynchronousTestCase):
    def test_a_bad_expression_is_named_with_its_reason(self) -> None:
        for text, reason in {
            "a(": "missing ), unterminated subpattern at position 1",
            "*": "nothing to repeat at position 0",
            "(?u)a": "cannot use 'u' flag with a bytes pattern",
            "a{99999999999999999999}": "the repetition number is too large",
        }.items():
            error = self.assertRaises(BadConfiguration, RouteTable, patterns=[("a", False, 1), (text, True, 2)])
            self.assertEqual((error.name, error.value), ("pattern", text))
            self.assertIn(reason, error.expected)

    def test_who_comes_from_nginx_is_told_how_groups_are_named(self) -> None:
        error = self.assertRaises(BadConfiguration, RouteTable, patterns=[("^/(?<user>.)", False, 1)])
        self.assertIn("(?P<name>...)", str(error))

    def test_a_path_begins_with_a_slash(self) -> None:
        for name, routes in {"exact": "exact", "prefix": "prefixes"}.items():
            for path in (b"", b"a", b"http://a/"):
                error = self.assertRaises(BadConfiguration, RouteTable, **{routes: {path: 1}})
                self.assertEqual((error.name, error.value), (name, path))
        self.assertRaises(BadConfiguration, RouteTable, final_prefixes={b"a": 1})
        self.assertRaises(BadConfiguration, RouteTable, prefixes={b"*": 1})

    def test_a_path_that_no_normal_path_begins_with(self) -> None:
        for path in (b"/a//b", b"//", b"/a/./b", b"/a/../b"):
            for routes in ("exact", "prefixes", "final_prefixes"):
                self.assertRaises(BadConfiguration, RouteTable, **{routes: {path: 1}})
        for path in (b"/.", b"/a/..", b"/.well-known/", b"/.../a"):
            self.assertEqual(RouteTable(prefixes={path: 1}).find(path + b"x")[0], 1)

    def test_a_path_is_given_as_it_is_when_decoded(self) -> None:
        for routes in ("exact", "prefixes", "final_prefixes"):
            for path, decoded in ((b"/my%20files/", "'/my files/'"), (b"/a%2Fb", "'/a/b'"), (b"/%e4", "'/\ufffd'")):
                error = self.assertRaises(BadConfiguration, RouteTable, **{routes: {path: 1}})
                self.assertEqual(error.expected, f"must be as it is when decoded: {decoded}")
            for path in (b"/my files/", b"/%", b"/100%", b"/%2", b"/%zz", "/\xe9".encode()):
                self.assertEqual(RouteTable(**{routes: {path: 1}}).find(path)[0], 1)

    def test_a_prefix_is_final_or_not(self) -> None:
        error = self.assertRaises(BadConfiguration, RouteTable, prefixes={b"/a": 1}, final_prefixes={b"/a": 2})
        self.assertEqual((error.name, error.value), ("prefix", b"/a"))

    def test_an_expression_is_given_once(self) -> None:
        error = self.assertRaises(BadConfiguration, RouteTable, patterns=[("a", True, 1), ("a", True, 2)])
        self.assertEqual((error.name, error.value), ("pattern", "a"))


class SiteTableTests(SynchronousTestCase):
    def test_precedence(self) -> None:
        table = SiteTable(
            [
                (["default.test"], "default"),
                (["~re", "~^x"], "regex"),
                (["mail.*"], "mail"),
                (["mail.a.*"], "longer mail"),
                (["*.ex.test"], "wildcard"),
                (["*.sub.ex.test"], "longer wildcard"),
                (["ex.test", "www.ex.test"], "exact"),
            ]
        )
        for host, site in {
            b"ex.test": "exact",
            b"www.ex.test": "exact",
            b"a.ex.test": "wildcard",
            b"a.b.ex.test": "wildcard",
            b"sub.ex.test": "wildcard",
            b"a.sub.ex.test": "longer wildcard",
            b"mail.ex.test": "wildcard",
            b"mail.x": "mail",
            b"mail.x.y": "mail",
            b"mail.a.b": "longer mail",
            b"mail.are": "mail",
            b"mail": "default",
            b"are.test": "regex",
            b"xyz": "regex",
            b"notex.test": "default",
            b"test": "default",
            b"default.test": "default",
            b"127.0.0.1": "default",
            b"": "default",
        }.items():
            self.assertEqual(table.find(host), site, host)

    def test_an_asterisk_stands_for_a_label_or_more(self) -> None:
        table = SiteTable([(["z"], 0), (["*.a.test"], 1), (["b.*"], 2)])
        for host in (b"a.test", b".a.test", b"b", b"b.", b"xa.test", b"bx.y"):
            self.assertEqual(table.find(host), 0, host)

    def test_a_leading_dot_is_for_the_name_and_what_is_below_it(self) -> None:
        table = SiteTable([(["z"], 0), ([".a.test"], 1)])
        self.assertEqual(
            [table.find(host) for host in (b"a.test", b"b.a.test", b"c.b.a.test", b"ba.test")], [1, 1, 1, 0]
        )

    def test_the_first_expression_in_the_order_of_sites(self) -> None:
        table = SiteTable([(["z"], 0), (["~b"], 1), (["~a"], 2)])
        self.assertEqual([table.find(host) for host in (b"ab", b"a", b"c")], [1, 2, 0])

    def test_names_are_taken_in_any_case(self) -> None:
        table = SiteTable([(["z"], 0), (["A.Test"], 1), (["*.B.Test"], 2), (["Mail.*"], 3), ([r"~^RE\d"], 4)])
        self.assertEqual([table.find(host) for host in (b"a.test", b"x.b.test", b"mail.x", b"re1")], [1, 2, 3, 4])

    def test_the_first_site_is_the_default(self) -> None:
        table = SiteTable[int]()
        table.add(["a"], 1)
        table.add(["b"], 2)
        self.assertEqual(table.find(b"c"), 1)

    def test_a_default_is_chosen(self) -> None:
        table = SiteTable([(["a"], 1)])
        table.add(["b"], 2, default=True)
        table.add(["c"], 3)
        self.assertEqual([table.find(host) for host in (b"a", b"b", b"c", b"d")], [1, 2, 3, 2])

    def test_a_site_that_is_alone_is_for_every_host(self) -> None:
        self.assertEqual(SiteTable([(["a"], 1)]).find(b"b"), 1)

    def test_a_site_without_names_is_for_requests_without_a_host(self) -> None:
        self.assertEqual([SiteTable([(["a"], 1), ([], 2)]).find(host) for host in (b"a", b"", b"b")], [1, 2, 1])
        self.assertEqual(SiteTable([(["a"], 1), (["b", ""], 2)]).find(b""), 2)

    def test_an_address_is_a_name(self) -> None:
        table = SiteTable([(["z"], 0), (["[::1]"], 1), (["127.0.0.1"], 2)])
        self.assertEqual([table.find(host) for host in (b"[::1]", b"127.0.0.1")], [1, 2])

    def test_an_empty_table_says_so(self) -> None:
        self.assertRaises(LookupError, SiteTable[int]().find, b"a")

    @quickly
    @given(st.lists(names, min_size=1, max_size=8, unique=True), hosts)
    def test_it_agrees_with_a_plain_reading_of_the_rules(self, some: list[str], host: str) -> None:
        table = SiteTable([(["default"], "default"), *(([name], name) for name in some)])
        self.assertEqual(table.find(host.encode()), self.plainly(some, host))

    def plainly(self, some: list[str], host: str) -> str:
        if host in some:
            return host
        parts = host.split(".")
        for name in ("*." + ".".join(parts[at:]) for at in range(1, len(parts))):
            if name in some:
                return name
        for name in (".".join(parts[:at]) + ".*" for at in range(len(parts) - 1, 0, -1)):
            if name in some:
                return name
        return next((name for name in some if name.startswith("~") and re.search(name[1:], host)), "default")

    @quickly
    @given(st.lists(names, max_size=8, unique=True), st.binary(max_size=20))
    def test_no_host_is_an_error(self, some: list[str], host: bytes) -> None:
        SiteTable([(["default"], 0), *(([name], at) for at, name in enumerate(some))]).find(host)


class BadSiteTests(SynchronousTestCase):
    def test_a_name_that_can_not_be(self) -> None:
        for name in (
            *(
                "*",
                "*.",
                ".*",
                ".",
                "..",
                "*.*",
                "w*.a.test",
                "www.*.test",
                "*.a.*",
                "**.a",
                "*a",
                "a*",
                "mail.*.*",
                "..a",
            ),
            *(
                "a:80",
                "*.a:80",
                "a.test.",
                "*.a.test.",
                "a..b",
                "a b",
                "http://a",
                "a/b",
                "a@b",
                "[::1]:80",
                "[x]",
                "[::1].",
            ),
            *("bücher.test", "*.bücher.test", "\u212a.test", "\udc80", "a" * 300),
        ):
            error = self.assertRaises(BadConfiguration, SiteTable, [([name], 1)])
            self.assertEqual((error.name, error.value), ("names", name))
            self.assertIn("must be a host name without a port", error.expected)

    def test_a_bad_expression_is_named_with_its_reason(self) -> None:
        error = self.assertRaises(BadConfiguration, SiteTable, [(["~a("], 1)])
        self.assertEqual((error.name, error.value), ("names", "~a("))
        self.assertIn("unterminated subpattern", error.expected)

    def test_a_name_has_one_site(self) -> None:
        for first, second in (
            *(("a.test", "A.test"), ("*.a.test", "*.a.test"), ("mail.*", "MAIL.*"), ("~a", "~a"), ("", "")),
            *((".a.test", "a.test"), (".a.test", "*.a.test"), ("a.test", ".a.test"), ("*.a.test", ".a.test")),
        ):
            error = self.assertRaises(BadConfiguration, SiteTable, [([first], 1), ([second], 2)])
            self.assertEqual((error.name, error.value), ("names", second))
            self.assertRaises(BadConfiguration, SiteTable, [([first, second], 1)])

    def test_one_default(self) -> None:
        table = SiteTable[int]()
        table.add(["a"], 1, default=True)
        error = self.assertRaises(BadConfiguration, table.add, ["b"], 2, default=True)
        self.assertEqual(error.name, "default")


class ValuesTests(SynchronousTestCase):
    """Whoever has to look at all of them can."""

    def test_routes(self) -> None:
        table = RouteTable(
            exact={b"/a": 1}, prefixes={b"/": 2}, final_prefixes={b"/f": 3}, patterns=[("x", False, 4), ("y", True, 5)]
        )
        self.assertEqual(sorted(table), [1, 2, 3, 4, 5])
        self.assertEqual(list(RouteTable[int]()), [])

    def test_sites(self) -> None:
        table = SiteTable([(["a", "*.a", "~b"], 1), ([], 2)])
        table.add(["c"], 3, default=True)
        self.assertEqual(list(table), [1, 2, 3])
