from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.balancing import group_of, names

#: Of nginx 1.22.1: ip_hash, weights 3, 1 and 2.
RECORDED = {
    b"10.0.0.7": "b",
    b"10.0.0.200": "b",
    b"10.0.1.7": "c",
    b"192.168.1.1": "c",
    b"8.8.8.8": "c",
    b"127.0.0.1": "a",
    b"2001:db8::7": "a",
    b"2001:db8::8": "b",
    b"::1": "c",
}


class IpHashTests(SynchronousTestCase):
    """tests/e2e/test_balancers.py compares it with a running nginx."""

    def test_what_nginx_chooses(self) -> None:
        group = group_of(3, 1, 2, balance="ip-hash")
        self.assertEqual({address: names([group.pick(address)]) for address in RECORDED}, RECORDED)

    def test_what_nginx_chooses_when_a_server_is_down(self) -> None:
        group = group_of(3, 1, 2, balance="ip-hash")
        group.mark(group.peers[0], False)
        self.assertEqual(names(group.pick(address) for address in RECORDED), "bbcccbcbc")

    def test_it_asks_for_the_client(self) -> None:
        self.assertEqual(group_of(1, balance="ip-hash").key, "$remote_addr")

    def test_one_network_one_server(self) -> None:
        group = group_of(1, 1, 1, 1, 1, balance="ip-hash")
        for network in range(50):
            found = {group.pick(b"10.1.%d.%d" % (network, host)) for host in range(20)}
            self.assertEqual(len(found), 1)

    def test_of_ipv6_every_bit_counts(self) -> None:
        group = group_of(1, 1, 1, 1, 1, balance="ip-hash")
        self.assertEqual(len({group.pick(b"2001:db8::%x" % host) for host in range(100)}), 5)

    def test_only_its_clients_move_while_a_server_is_out(self) -> None:
        group = group_of(1, 1, 1, balance="ip-hash")
        addresses = [b"10.%d.%d.1" % (one, other) for one in range(20) for other in range(20)]
        before = [names([group.pick(address)]) for address in addresses]
        group.mark(group.peers[0], False)
        during = [names([group.pick(address)]) for address in addresses]
        for was, now in zip(before, during, strict=True):
            self.assertTrue(now == was or (was == "a" and now != "a"))
        self.assertEqual({now for was, now in zip(before, during, strict=True) if was == "a"}, {"b", "c"})

    def test_what_is_no_address_is_one_network(self) -> None:
        group = group_of(1, 1, 1, balance="ip-hash")
        found = {group.pick(address) for address in (b"unix:", b"", b"0.0.0.9", b"host", b"1.2.3", b"\xff", b"::x")}
        self.assertEqual(len(found), 1)

    def test_in_turn_if_the_protocol_does_not_say(self) -> None:
        group = group_of(1, 1, balance="ip-hash")
        self.assertEqual(names(group.pick() for _ in range(4)), "abab")
