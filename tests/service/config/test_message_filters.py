"""Message filters in a configuration file: built when it is read, one object for all who share them."""

from __future__ import annotations

from typing import Any

from tests.service.config.case import ROUTE, SERVER, ConfigCase
from twisted_pipe.filters.messages.basic_auth import BasicAuth
from twisted_pipe.filters.messages.cors import Cors
from twisted_pipe.filters.messages.request_id import RequestId
from twisted_pipe.interfaces import OnFailure

USERS = "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
SECOND = ROUTE.replace('"/"', '"/two/"')
#: A group for requests, and one by a variable, which connections are sent to that are passed on as they are.
STREAM = '[[servers]]\nlisten = "tcp:8443"\nprotocol = "tcp"\nproxy = "names"\n'
KEYED = (
    '[upstreams.blue]\nservers = ["127.0.0.1:1"]\n'
    '[upstreams.names]\nservers = ["127.0.0.1:2"]\nbalance = "hash:key={}"\n'
)
FILTERED = SERVER + ROUTE + 'message_filters = "request-id"\n' + STREAM


class MessageFilterTests(ConfigCase):
    def filters(self, text: str, path: bytes = b"/") -> tuple[Any, ...]:
        found, _ = self.http(text).sites.find(b"").routes.find(path)
        assert found is not None
        return found.settings.message_filters

    def test_as_text_or_table_in_their_order(self) -> None:
        self.write(USERS, "users")
        text = 'message_filters = ["request-id:to_client=off", { name = "basic-auth", file = "users", remember = 0 }]\n'
        first, second = self.filters(SERVER + ROUTE + text)
        self.assertEqual((first.name, second.name), ("request-id", "basic-auth"))
        self.assertIsInstance(first.filter, RequestId)
        self.assertFalse(first.filter.to_client)
        self.assertIsInstance(second.filter, BasicAuth)
        self.assertEqual(second.filter.remember, 0)

    def test_one_needs_no_brackets(self) -> None:
        (only,) = self.filters(SERVER + ROUTE + 'message_filters = { name = "cors", origins = "*" }\n')
        self.assertIsInstance(only.filter, Cors)

    def test_files_are_relative_to_the_configurations(self) -> None:
        self.write(USERS, "users")
        (only,) = self.filters(SERVER + ROUTE + 'message_filters = "basic-auth:file=users"\n')
        self.assertEqual(list(only.filter._users.users), [b"alice"])

    def test_what_every_one_has(self) -> None:
        text = 'message_filters = { name = "request-id", on_failure = "bypass", filter_timeout = "2s" }\n'
        (only,) = self.filters(SERVER + ROUTE + text)
        self.assertEqual((only.on_failure, only.timeout), (OnFailure.BYPASS, 2))

    def test_routes_that_share_them_share_the_object(self) -> None:
        """Passwords that were right, idle connections: they are known everywhere."""
        text = SERVER + 'message_filters = "request-id"\n' + ROUTE + SECOND + "next_upstream_tries = 1\n"
        site = self.http(text).sites.find(b"")
        found = {id(route.settings.message_filters[0].filter) for route in site.routes}
        self.assertEqual(len(found), 1)
        self.assertEqual(id(site.settings.message_filters[0].filter), found.pop())

    def test_a_route_that_has_its_own_has_no_others(self) -> None:
        text = SERVER + 'message_filters = "request-id"\n' + ROUTE + "message_filters = []\n"
        self.assertEqual(self.filters(text), ())

    def test_they_know_the_upstreams_of_the_file(self) -> None:
        text = (
            '[upstreams.blue]\nservers = ["127.0.0.1:1"]\n[upstreams.green]\nservers = ["127.0.0.1:2"]\n'
            + SERVER
            + ROUTE
            + 'message_filters = "request-id"\n'
        )
        found, _ = self.http(text).sites.find(b"").routes.find(b"/")
        assert found is not None
        self.assertEqual(sorted(found.settings.upstreams), ["blue", "green"])
        self.assertEqual(found.settings.upstreams["green"].group.servers[0].name, "127.0.0.1:2")

    def test_but_for_those_that_no_request_can_go_to(self) -> None:
        """A key of what only connections have that are passed on as they are."""
        server: Any = self.configured(KEYED.format("$ssl_preread_server_name") + FILTERED).servers[0]
        found, _ = server.sites.find(b"").routes.find(b"/")
        self.assertEqual(list(found.settings.upstreams), ["blue"])

    def test_without_them_nothing_is_paid(self) -> None:
        found, _ = self.http(SERVER + ROUTE).sites.find(b"").routes.find(b"/")
        assert found is not None
        self.assertEqual((found.settings.message_filters, found.settings.upstreams), ((), {}))
        self.assertTrue(found.settings.plain_response)


class KeyMistakeTests(ConfigCase):
    def test_a_key_that_nobody_has(self) -> None:
        (line,) = self.mistakes(KEYED.format("$ssl_preread_server_nam") + FILTERED.replace(STREAM, ""))
        self.assertTrue(line.startswith("upstreams.names.balance"), line)
        self.assertIn("there is no variable $ssl_preread_server_nam", line)

    def test_a_route_to_a_group_whose_key_no_request_has(self) -> None:
        text = KEYED.format("$ssl_preread_server_name") + FILTERED.replace('"127.0.0.1:9000"', '"names"')
        (line,) = self.mistakes(text)
        self.assertTrue(line.startswith("upstreams.names.balance"), line)
        self.assertIn("there is no variable $ssl_preread_server_name", line)


class MistakeTests(ConfigCase):
    def mistake(self, line: str) -> str:
        (found,) = self.mistakes(SERVER + line + "\n" + ROUTE)
        return found

    def test_a_name_that_does_not_exist(self) -> None:
        found = self.mistake('message_filters = ["request-id", "basic-aut"]')
        self.assertIn(
            "servers[0].message_filters[1]: 'basic-aut': no such message filter; did you mean \"basic-auth\"?", found
        )

    def test_a_byte_filter_is_none(self) -> None:
        self.assertIn("no such message filter", self.mistake('message_filters = "gzip"'))

    def test_an_option_that_cannot_be(self) -> None:
        found = self.mistake('message_filters = { name = "cors", origins = "*", max_age = "soon" }')
        self.assertIn("servers[0].message_filters.max_age: 'soon': a time", found)

    def test_options_that_make_no_sense_together(self) -> None:
        found = self.mistake('message_filters = [{ name = "cors", origins = "*", credentials = true }]')
        self.assertIn("servers[0].message_filters[0].credentials: true: must be off with origins = *", found)

    def test_one_that_is_missing(self) -> None:
        found = self.mistake('message_filters = [{ name = "basic-auth" }]')
        self.assertIn("servers[0].message_filters[0].file: missing: has to be given: users and hashes", found)

    def test_one_that_protects_and_is_to_be_bypassed(self) -> None:
        self.write(USERS, "users")
        found = self.mistake('message_filters = [{ name = "basic-auth", file = "users", on_failure = "bypass" }]')
        self.assertIn("servers[0].message_filters[0].on_failure: 'bypass': must be abort", found)

    def test_a_file_that_is_not_there(self) -> None:
        found = self.mistake('message_filters = [{ name = "basic-auth", file = "users" }]')
        self.assertIn("servers[0].message_filters[0].file: 'users': cannot be read: No such file or directory", found)

    def test_so_as_text(self) -> None:
        found = self.mistake('message_filters = "basic-auth:file=users"')
        self.assertIn("servers[0].message_filters: 'basic-auth:file=users': ", found)
        self.assertIn("cannot be read: No such file or directory", found)

    def test_it_is_told_once_though_routes_share_it(self) -> None:
        line = 'message_filters = [{ name = "basic-auth", file = "users" }]\n'
        self.assertEqual(len(self.mistakes(SERVER + line + ROUTE + SECOND + "next_upstream_tries = 1\n")), 1)
