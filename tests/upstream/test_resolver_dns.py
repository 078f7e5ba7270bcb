"""Nameservers are asked: which, how often, how, and what is made of what they say."""

from __future__ import annotations

import random
import struct
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.names import dns
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.upstream.dns_memory import MemoryNet, Question, a, aaaa, cname, soa, srv
from tests.upstream.resolving import found
from twisted_pipe.errors import BadConfiguration, NotResolved
from twisted_pipe.interfaces import IUpstreamResolver, IUpstreamResolverFactory
from twisted_pipe.upstream import dns_question
from twisted_pipe.upstream.nameservers import Nameservers
from twisted_pipe.upstream.resolution import Bounds, Resolution
from twisted_pipe.upstream.resolver import RESOLVERS, ResolverPlugin


class DnsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = MemoryNet()
        self.patch(dns_question, "open_datagrams", self.net.open_datagrams)

    def resolver(self, text: str) -> Any:
        return RESOLVERS.parse(text).build(self.net)

    def resolve(
        self, name: str = "app.test:80", resolver: str = "dns:nameserver=10.0.0.53:family=ipv4"
    ) -> Deferred[Any]:
        resolving: Deferred[Any] = self.resolver(resolver).resolve(name)
        return resolving

    def refused(self, resolving: Deferred[Any]) -> str:
        return str(self.failureResultOf(resolving, NotResolved).value)

    def check_nothing_goes_on(self) -> None:
        self.assertEqual(self.net.open_sockets, 0)
        self.assertEqual(self.net.getDelayedCalls(), [])


class PluginTests(SynchronousTestCase):
    def test_bundled(self) -> None:
        self.assertLessEqual({"dns", "srv", "static"}, {each.name for each in RESOLVERS.all()})
        for name in ("dns", "srv", "static"):
            plugin = RESOLVERS.find(name)
            self.assertTrue(verifyObject(IUpstreamResolverFactory, plugin))
            self.assertTrue(verifyObject(IUpstreamResolverFactory, plugin.configure({})))
            self.assertTrue(verifyObject(IUpstreamResolver, plugin.build(MemoryNet())))
            self.assertEqual((plugin.bounds, plugin.configure({}).bounds), (Bounds(), Bounds()))

    def test_bounds_are_options_of_all(self) -> None:
        text = "static:valid=1m:min_valid=1s:max_valid=2s:timeout=3s:max_servers=4"
        expected = Bounds(valid=60.0, min_valid=1.0, max_valid=2.0, timeout=3.0, max_servers=4)
        self.assertEqual(RESOLVERS.parse(text).bounds, expected)

    def test_errors(self) -> None:
        for text, error in (
            ("dsn", "resolver: 'dsn': no such resolver; did you mean \"dns\"? Known: dns, srv, static"),
            ("dns:min_valid=0", "resolver dns: min_valid: 0.0: must be more than 0 s"),
            ("dns:timeout=0", "resolver dns: timeout: 0.0: must be more than 0 s"),
            ("dns:max_valid=2s", "resolver dns: max_valid: 2.0: must be at least min_valid, 5 s"),
            ("dns:max_servers=0", "resolver dns: max_servers: '0': must be from 1 to 65536"),
            ("dns:family=inet", "resolver dns: family: 'inet': must be any or ipv4 or ipv6"),
            (
                "dns:nameserver=ns.test",
                "resolver dns: nameserver: 'ns.test': must be addresses of nameservers, such as 10.0.0.2 or 127.0.0.1#5353",
            ),
        ):
            self.assertEqual(str(self.assertRaises(BadConfiguration, RESOLVERS.parse, text)), error)
        for wrong in (
            "",
            " ",
            "10.0.0.1#",
            "10.0.0.1#0",
            "10.0.0.1#65536",
            "10.0.0.1#x",
            "10.0.0.1 x",
            "10.0.0.1#\u0661",
        ):
            self.assertRaises(BadConfiguration, RESOLVERS.find("dns").configure, {"nameserver": wrong})

    def test_no_class_of_the_kind(self) -> None:
        plugin = ResolverPlugin("x", "", "twisted_pipe.upstream.group:UpstreamGroup")
        error = self.assertRaises(BadConfiguration, plugin.configure, {})
        self.assertIn("must be a class that implements IUpstreamResolver", str(error))

    def test_what_is_taken_for_a_name(self) -> None:
        service = {"_http._tcp.app.test", "app.service.consul", "app", "_x.y."}
        host = {"app.test:80", "localhost:8080", "a_b.test:1", "app.test.:80", "bücher.test:80"}
        others = {
            "10.0.0.1:80",
            "[::1]:80",
            "unix:/run/x",
            "tcp:app.test:80",
            "tcp:80",
            "ssl:80",
            "80",
            ":80",
            "1.2.3:80",
        }
        others |= {"x:0", "x:65536", "x:80:timeout=3", "a..b:80", f"{'x' * 64}:80", f"{'x.' * 130}:80"}
        others |= {"10.0.0.1", "1.2.3", "a..b", ""}
        for name, taken in (("dns", host), ("static", host), ("srv", service)):
            resolver = RESOLVERS.find(name).build(MemoryNet())
            self.assertEqual({each for each in service | host | others if resolver.takes(each)}, taken, name)


class AskingTests(DnsCase):
    """Who is asked, and what is made of it."""

    def test_an_address(self) -> None:
        resolving = self.resolve()
        self.assertEqual(self.net.asked(), ["10.0.0.53#53 A app.test"])
        self.assertTrue(self.net.questions[0].message.recDes)
        self.net.next().answer([a("app.test", "10.0.0.1", 42), a("app.test", "10.0.0.2", 43)])
        self.assertEqual(self.successResultOf(resolving), Resolution(found("10.0.0.1:80", "10.0.0.2:80"), 42.0))
        self.check_nothing_goes_on()

    def test_the_ttl_is_the_least_on_the_way(self) -> None:
        resolving = self.resolve()
        self.net.next().answer([cname("app.test", "cdn.test", 7), a("cdn.test", "10.0.0.1", 300)])
        self.assertEqual(self.successResultOf(resolving), Resolution(found("10.0.0.1:80"), 7.0))

    def test_both_families_at_the_same_time(self) -> None:
        resolving = self.resolve(resolver="dns:nameserver=10.0.0.53")
        self.assertEqual(self.net.asked(), ["10.0.0.53#53 A app.test", "10.0.0.53#53 AAAA app.test"])
        self.net.next(" AAAA app.test").answer([aaaa("app.test", "2001:db8::1", 30)])
        self.assertNoResult(resolving)
        self.net.next(" A app.test").answer([a("app.test", "10.0.0.1", 50)])
        self.assertEqual(self.successResultOf(resolving), Resolution(found("10.0.0.1:80", "[2001:db8::1]:80"), 30.0))

    def test_one_family_alone(self) -> None:
        self.resolve(resolver="dns:nameserver=10.0.0.53:family=ipv6")
        self.assertEqual(self.net.asked(), ["10.0.0.53#53 AAAA app.test"])

    def of_two(self, *authorities: Any, addresses: Any = ()) -> float:
        """For how long an answer holds without AAAA, and with C{addresses}: what the two answers say of that."""
        resolving = self.resolve(resolver="dns:nameserver=10.0.0.53")
        self.net.next(" AAAA app.test").answer(authority=authorities[0])
        self.net.next(" A app.test").answer(addresses, authority=authorities[1])
        valid: float = self.successResultOf(resolving).valid
        return valid

    def test_that_there_is_nothing_of_a_family_holds_for_as_long_as_it_says_too(self) -> None:
        """RFC 2308, section 5. Many a nameserver does not say, which is no reason to ask all the time."""
        address = [a("app.test", "10.0.0.1", 50)]
        for said, valid in (([soa("test", 20, 20)], 20.0), ([soa("test", 90, 90)], 50.0), ([], 50.0)):
            self.assertEqual(self.of_two(said, [], addresses=address), valid)

    def test_nothing_of_both_families_holds_for_the_shorter_of_the_two(self) -> None:
        long, short = [soa("test", 900, 900)], [soa("test", 20, 20)]
        self.assertEqual((self.of_two(long, short), self.of_two(short, long)), (20.0, 20.0))
        self.assertEqual(self.of_two(long, []), 0.0)

    def test_no_such_name_is_an_answer(self) -> None:
        """It holds for as long as the zone says: RFC 2308, section 5."""
        for code in (dns.ENAME, dns.OK):
            for ttl, minimum in ((600, 20), (20, 600)):
                resolving = self.resolve()
                self.net.next().answer(code=code, authority=[soa("test", ttl, minimum)])
                self.assertEqual(self.successResultOf(resolving), Resolution((), 20.0))
        resolving = self.resolve()
        self.net.next().answer(code=dns.ENAME)
        self.assertEqual(self.successResultOf(resolving), Resolution((), 0.0))

    def test_an_alias_of_what_there_is_not_holds_for_as_long_as_the_alias(self) -> None:
        resolving = self.resolve()
        self.net.next().answer([cname("app.test", "cdn.test", 7)], dns.ENAME, [soa("test", 900, 900)])
        self.assertEqual(self.successResultOf(resolving), Resolution((), 7.0))
        self.check_nothing_goes_on()

    def test_an_alias_that_leads_elsewhere_is_followed(self) -> None:
        """A nameserver that answers for its own zone only tells no more than the alias."""
        resolving = self.resolve("B\u00dccher.test:80")
        name = "xn--bcher-kva.test"
        self.net.next(f" A {name}").answer([cname(name, "WWW.test", 40), cname("www.test", "cdn.net", 7)])
        self.net.next(" A cdn.net").answer([a("cdn.net", "10.0.0.1", 60)])
        self.assertEqual(self.successResultOf(resolving), Resolution(found("10.0.0.1:80"), 7.0))
        resolving = self.resolve()
        self.net.next(" A app.test").answer([cname("app.test", "cdn.net", 7)])
        for _ in range(2):
            self.net.next(" A cdn.net").answer(code=dns.EREFUSED)
        self.assertEqual(self.refused(resolving), "A: 10.0.0.53#53: it refuses to tell (REFUSED)")
        self.check_nothing_goes_on()

    def test_aliases_without_end_are_not_followed_for_ever(self) -> None:
        resolving = self.resolve()
        asked = 0
        while self.net.questions:
            asked += 1
            name = str(self.net.questions[0].message.queries[0].name)
            self.net.next().answer([cname(name, f"a{asked}.test")])
        self.assertEqual((asked, self.refused(resolving)), (8, "A: app.test: more than 8 aliases, one of another"))
        resolving = self.resolve()
        self.net.next().answer([cname("app.test", "b.test", 7), cname("b.test", "app.test", 7)])
        self.assertEqual(self.successResultOf(resolving).found, ())

    def test_addresses_that_nobody_can_connect_to_are_none(self) -> None:
        resolving = self.resolve(resolver="dns:nameserver=10.0.0.53")
        self.net.next(" A app.test").answer([a("app.test", each) for each in ("0.0.0.0", "224.0.0.1", "127.0.0.1")])
        self.net.next(" AAAA app.test").answer([aaaa("app.test", each) for each in ("::", "ff02::1", "::1")])
        self.assertEqual(self.successResultOf(resolving).found, found("127.0.0.1:80", "[::1]:80"))

    def test_records_of_another_kind_are_left_alone(self) -> None:
        resolving = self.resolve()
        self.net.next().answer([aaaa("app.test", "::1"), a("app.test", "10.0.0.1")])
        self.assertEqual(self.successResultOf(resolving).found, found("10.0.0.1:80"))

    def test_the_next_one_is_asked_when_one_does_not_answer(self) -> None:
        resolving = self.resolve(resolver="dns:nameserver=10.0.0.53 10.0.0.54#5353:family=ipv4")
        times = []
        for server, patience in (("53#53", 1), ("54#5353", 1), ("53#53", 3), ("54#5353", 3)):
            self.assertEqual(self.net.asked(), [f"10.0.0.{server} A app.test"])
            times.append(self.net.next())
            self.assertEqual(self.net.open_sockets, 1)
            self.net.advance(patience)
        self.assertEqual(self.refused(resolving), "A: 10.0.0.54#5353: no answer within 3 s")
        self.check_nothing_goes_on()

    def test_the_next_one_is_asked_when_one_cannot_tell(self) -> None:
        for code, said in (
            (dns.ESERVER, "it cannot tell (SERVFAIL)"),
            (dns.EREFUSED, "it refuses to tell (REFUSED)"),
            (dns.EFORMAT, "it does not understand the question (FORMERR)"),
            (dns.ENOTIMP, "it does not know such questions (NOTIMP)"),
            (9, "its answer is error 9"),
        ):
            resolving = self.resolve(resolver="dns:nameserver=10.0.0.53 10.0.0.54:family=ipv4")
            self.net.next("10.0.0.53#53 A app.test").answer(code=code)
            self.net.next("10.0.0.54#53 A app.test").answer([a("app.test", "10.0.0.1")])
            self.successResultOf(resolving)
            resolving = self.resolve()
            self.net.next().answer(code=code)
            self.net.next().answer(code=code)
            self.assertEqual(self.refused(resolving), f"A: 10.0.0.53#53: {said}")
        self.check_nothing_goes_on()

    def test_the_next_one_is_asked_when_one_answers_something_else(self) -> None:
        """The question of another one, or where else to ask."""
        referral = dns.RRHeader("test", dns.NS, payload=dns.Record_NS("ns.test"))
        for answer, said in (
            (self._other, "it answers another question"),
            (
                lambda question: question.answer(authority=[referral]),
                "it does not look names up for others, and refers to",
            ),
        ):
            resolving = self.resolve()
            for _ in range(2):
                answer(self.net.next())
            self.assertIn(said, self.refused(resolving))

    def _other(self, question: Question) -> None:
        message = question.message
        message.answer, message.queries = 1, [dns.Query("other.test", dns.A)]
        message.answers = [a("other.test", "10.6.6.6")]
        question.send(bytes(message.toStr()))

    def test_the_next_one_is_asked_at_once_when_nobody_listens(self) -> None:
        """Whichever way a reactor tells of an error that a socket has."""
        for told_by_reading in (True, False):
            resolving = self.resolve(resolver="dns:nameserver=10.0.0.53 10.0.0.54:family=ipv4")
            self.net.next("10.0.0.53#53 A app.test").refuse(told_by_reading)
            self.net.next("10.0.0.54#53 A app.test").answer([a("app.test", "10.0.0.1")])
            self.successResultOf(resolving)
            resolving = self.resolve()
            self.net.next().refuse(told_by_reading)
            self.net.next().refuse(told_by_reading)
            self.assertEqual(self.refused(resolving), "A: 10.0.0.53#53: Connection refused")
            self.check_nothing_goes_on()

    def test_no_way_there(self) -> None:
        self.net.unreachable = True
        self.assertEqual(self.refused(self.resolve()), "A: 10.0.0.53#53: Network is unreachable")
        self.check_nothing_goes_on()

    def test_a_nameserver_with_an_ipv6_address(self) -> None:
        resolving = self.resolve(resolver=r"dns:nameserver=2001\:DB8\:\:0053#5353:family=ipv4")
        question = self.net.next("2001:db8::53#5353 A app.test")
        question.answer([a("app.test", "10.0.0.1")])
        self.successResultOf(resolving)

    def test_names_that_are_not_ascii(self) -> None:
        self.resolve("bücher.test:80")
        self.assertEqual(self.net.asked(), ["10.0.0.53#53 A xn--bcher-kva.test"])

    def test_names_that_end_with_a_dot(self) -> None:
        """They are complete, as all names are here; in a message no name has it."""
        resolving = self.resolve("app.test.:80")
        self.net.next("10.0.0.53#53 A app.test").answer([a("app.test", "10.0.0.1")])
        self.assertEqual(self.successResultOf(resolving).found, found("10.0.0.1:80"))
        resolving = self.resolve("_http._tcp.app.test.", "srv:nameserver=10.0.0.53:family=ipv4")
        self.net.next("10.0.0.53#53 SRV _http._tcp.app.test").answer()
        self.assertEqual(self.successResultOf(resolving).found, ())

    def test_cancelled(self) -> None:
        for text in ("dns:nameserver=10.0.0.53", "srv:nameserver=10.0.0.53"):
            resolving = self.resolve("app.test:80", text)
            self.assertTrue(self.net.open_sockets)
            resolving.cancel()
            self.failureResultOf(resolving)
            self.check_nothing_goes_on()

    def test_the_file_of_the_system(self) -> None:
        file = self.mktemp()
        for text, first in (
            ("search test\nnameserver 10.1.1.1\nnameserver fe80::1%eth0\nnameserver 10.1.1.2\n", "10.1.1.1#53"),
            ("#nameserver 10.1.1.1\n; x\nnameserver\nnameserver x\n nameserver 10.1.1.3 # why\n", "10.1.1.3#53"),
            ("", "127.0.0.1#53"),
            (None, "127.0.0.1#53"),
        ):
            if text is not None:
                with open(file, "w") as written:
                    written.write(text)
            name = file if text is not None else file + "-that-is-not-there"
            asking = Deferred.fromCoroutine(Nameservers(self.net, (), name).ask("app.test", dns.A))
            self.net.next(f"{first} A app.test").answer([a("app.test", "10.0.0.1")])
            self.successResultOf(asking)
        asking = Deferred.fromCoroutine(Nameservers(self.net, (), "/").ask("app.test", dns.A))
        self.assertEqual(self.refused(asking), "/: Is a directory")


class PartTests(DnsCase):
    """One of the two families cannot be had."""

    def setUp(self) -> None:
        super().setUp()
        self.dns = self.resolver("dns:nameserver=10.0.0.53")

    def answered(self, name: str = "app.test:80") -> Deferred[Any]:
        resolving: Deferred[Any] = self.dns.resolve(name)
        self.net.next(" A app.test").answer([a("app.test", "10.0.0.1", 50)])
        return resolving

    def fail_aaaa(self) -> None:
        for _ in range(2):
            self.net.next(" AAAA app.test").answer(code=dns.ESERVER)

    def test_the_other_one_is_used(self) -> None:
        resolving = self.answered()
        self.fail_aaaa()
        problem = "AAAA: 10.0.0.53#53: it cannot tell (SERVFAIL)"
        self.assertEqual(self.successResultOf(resolving), Resolution(found("10.0.0.1:80"), 50.0, problem))

    def test_what_was_known_of_it_stays(self) -> None:
        resolving = self.answered()
        self.net.next(" AAAA app.test").answer([aaaa("app.test", "2001:db8::1", 20)])
        self.successResultOf(resolving)
        resolving = self.answered()
        self.fail_aaaa()
        self.assertEqual(self.successResultOf(resolving).found, found("10.0.0.1:80", "[2001:db8::1]:80"))

    def test_both_cannot_be_had(self) -> None:
        resolving = self.dns.resolve("app.test:80")
        for kind in ("A", "A", "AAAA", "AAAA"):
            self.net.next(f" {kind} app.test").answer(code=dns.EREFUSED)
        said = "10.0.0.53#53: it refuses to tell (REFUSED)"
        self.assertEqual(self.refused(resolving), f"A: {said}; AAAA: {said}")

    def ask_with_a_failing(self) -> Deferred[Any]:
        """That there is no AAAA holds for 15 minutes, but of A nobody can tell."""
        resolving: Deferred[Any] = self.dns.resolve("app.test:80")
        self.net.next(" AAAA app.test").answer(authority=[soa("test", 900, 900)])
        for _ in range(2):
            self.net.next(" A app.test").answer(code=dns.ESERVER)
        return resolving

    def test_that_there_is_nothing_of_the_other_one_is_no_answer(self) -> None:
        resolving = self.ask_with_a_failing()
        self.assertEqual(self.refused(resolving), "A: 10.0.0.53#53: it cannot tell (SERVFAIL)")

    def test_nor_a_reason_to_wait(self) -> None:
        resolving = self.answered()
        self.net.next(" AAAA app.test").answer([aaaa("app.test", "2001:db8::1", 20)])
        self.successResultOf(resolving)
        problem = "A: 10.0.0.53#53: it cannot tell (SERVFAIL)"
        expected = Resolution(found("10.0.0.1:80"), 0.0, problem)
        self.assertEqual(self.successResultOf(self.ask_with_a_failing()), expected)


class TcpTests(DnsCase):
    """What does not fit into a datagram is asked for again over TCP."""

    def truncated(self) -> tuple[Deferred[Any], Any]:
        resolving = self.resolve()
        question = self.net.next()
        question.answer(truncated=True)
        self.assertEqual((self.net.open_sockets, self.net.tcpClients[0][:2]), (0, ("10.0.0.53", 53)))
        return resolving, question

    def test_answered(self) -> None:
        resolving, _ = self.truncated()
        protocol, transport = self.net.accept()
        asked = dns.Message()
        asked.fromStr(transport.value()[2:])
        (query,) = asked.queries
        self.assertEqual((str(query.name), query.type), ("app.test", dns.A))
        asked.answer, asked.answers = 1, [a("app.test", f"10.0.{each // 250}.{each % 250 + 1}") for each in range(1000)]
        data = asked.toStr()
        protocol.dataReceived(struct.pack("!H", len(data)) + data)
        self.assertEqual(len(self.successResultOf(resolving).found), 1000)
        self.assertTrue(transport.disconnected)
        self.check_nothing_goes_on()

    def test_not_answered(self) -> None:
        resolving, _ = self.truncated()
        _, transport = self.net.accept()
        self.net.advance(1)
        self.assertTrue(transport.disconnected)
        self.net.next()
        self.net.advance(3)
        self.assertEqual(self.refused(resolving), "A: 10.0.0.53#53: no answer within 3 s")
        self.check_nothing_goes_on()

    def test_closed(self) -> None:
        resolving, _ = self.truncated()
        protocol, _ = self.net.accept()
        protocol.connectionLost(Failure(Exception()))
        self.net.next()
        self.net.advance(3)
        self.refused(resolving)
        self.check_nothing_goes_on()

    def test_refused(self) -> None:
        resolving, _ = self.truncated()
        factory = self.net.tcpClients.pop(0)[2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.net.next().refuse()
        self.assertEqual(self.refused(resolving), "A: 10.0.0.53#53: Connection refused")

    def test_cancelled(self) -> None:
        resolving, _ = self.truncated()
        _, transport = self.net.accept()
        resolving.cancel()
        self.failureResultOf(resolving)
        self.assertTrue(transport.disconnected)
        self.check_nothing_goes_on()


class HostileTests(DnsCase):
    def test_what_is_no_answer_is_left_alone(self) -> None:
        """Of another number, a question, no DNS at all; and more than one datagram. (Those of other senders the kernel drops.)"""
        resolving = self.resolve()
        question = self.net.next()
        wrong = question.reply([a("app.test", "10.6.6.6")])
        question.send(bytes([wrong[0] ^ 1]) + wrong[1:])
        for data in (b"", b"\0" * 11, wrong[:11], b"\xff" * 512, question.data):
            question.send(data)
        self.assertNoResult(resolving)
        question.answer([a("app.test", "10.0.0.1")])
        self.assertEqual(self.successResultOf(resolving).found, found("10.0.0.1:80"))
        self.check_nothing_goes_on()

    def test_bytes_that_are_wrong_anywhere(self) -> None:
        """Whatever comes, nothing is raised and nothing is left behind."""
        chance = random.Random(7)
        records = [
            cname("app.test", "b.test"),
            a("b.test", "10.0.0.1"),
            srv("app.test", 1, 1, 80, "b.test"),
            aaaa("b.test", "::1"),
        ]
        for text, name in (("dns", "app.test:80"), ("srv", "app.test")):
            for _ in range(300):
                resolving = self.resolve(name, f"{text}:nameserver=10.0.0.53")
                while self.net.questions:
                    question = self.net.next()
                    data = bytearray(question.reply(records, authority=[soa("test", 1, 1)], additional=records))
                    for _ in range(chance.randrange(1, 5)):
                        data[chance.randrange(2, len(data))] = chance.randrange(256)
                    question.send(bytes(data))
                    if question.socket.open:
                        self.net.advance(3)
                    if self.net.tcpClients:
                        self.net.accept()
                        self.net.advance(3)
                results: list[Any] = []
                resolving.addBoth(results.append)
                (result,) = results
                if isinstance(result, Failure):
                    result.trap(NotResolved)
                self.check_nothing_goes_on()

    def test_cancelled_is_told_as_such(self) -> None:
        resolving = self.resolve()
        resolving.cancel()
        error: Any = self.failureResultOf(resolving).value
        self.assertIsInstance(error, CancelledError)


class SrvTests(DnsCase):
    NAME = "_http._tcp.app.test"

    def setUp(self) -> None:
        super().setUp()
        self.srv = self.resolver("srv:nameserver=10.0.0.53:family=ipv4")
        self.resolving: Deferred[Any] = self.srv.resolve(self.NAME)

    def record(self, priority: int, weight: int, port: int, target: str | bytes, ttl: int = 60) -> dns.RRHeader:
        return srv(self.NAME, priority, weight, port, target, ttl)

    def test_priorities_weights_and_ports(self) -> None:
        """The addresses are those that were told beside the answer."""
        self.assertEqual(self.net.asked(), ["10.0.0.53#53 SRV _http._tcp.app.test"])
        self.net.next().answer(
            [
                self.record(20, 9, 82, "c.test"),
                self.record(10, 60, 80, "a.test", 40),
                self.record(10, 0, 81, "B.test"),
                self.record(30, 1, 83, "a.test"),
            ],
            additional=[
                a("a.test", "10.0.0.1"),
                a("A.TEST", "10.0.0.2"),
                a("b.test", "10.0.1.1", 30),
                a("c.test", "10.0.2.1"),
            ],
        )
        self.assertEqual(self.net.asked(), [])
        expected = (
            "10.0.0.1:80*60",
            "10.0.0.2:80*60",
            "10.0.1.1:81*1",
            "10.0.2.1:82*9-",
            "10.0.0.1:83*1-",
            "10.0.0.2:83*1-",
        )
        self.assertEqual(self.successResultOf(self.resolving), Resolution(found(*expected), 30.0))

    def test_addresses_that_were_not_told_are_asked_for(self) -> None:
        self.net.next().answer(
            [self.record(1, 1, 80, "a.test"), self.record(1, 1, 80, "b.test")], additional=[a("a.test", "10.0.0.1")]
        )
        self.assertEqual(self.net.asked(), ["10.0.0.53#53 A b.test"])
        self.net.next().answer([a("b.test", "10.0.0.2", 9)])
        self.assertEqual(self.successResultOf(self.resolving), Resolution(found("10.0.0.1:80*1", "10.0.0.2:80*1"), 9.0))

    def test_a_server_that_cannot_be_looked_up_is_missed(self) -> None:
        self.net.next().answer(
            [self.record(1, 1, 80, "a.test"), self.record(1, 1, 80, "b.test")], additional=[a("a.test", "10.0.0.1")]
        )
        for _ in range(2):
            self.net.next().answer(code=dns.ESERVER)
        problem = "b.test: A: 10.0.0.53#53: it cannot tell (SERVFAIL)"
        self.assertEqual(self.successResultOf(self.resolving), Resolution(found("10.0.0.1:80*1"), 0.0, problem))

    def test_one_that_could_be_before_stays(self) -> None:
        self.net.next().answer([self.record(1, 1, 80, "a.test")])
        self.net.next().answer([a("a.test", "10.0.0.1")])
        self.successResultOf(self.resolving)
        self.resolving = self.srv.resolve(self.NAME)
        self.net.next().answer([self.record(1, 1, 80, "a.test")])
        for _ in range(2):
            self.net.next().answer(code=dns.ESERVER)
        self.assertEqual(self.successResultOf(self.resolving).found, found("10.0.0.1:80*1"))

    def other_resolver(self, text: str) -> None:
        self.net.next().answer()
        self.successResultOf(self.resolving)
        self.srv = self.resolver(text)

    def test_whatever_else_was_looked_up_meanwhile(self) -> None:
        """One resolver serves all names of a group."""
        self.net.next().answer([self.record(1, 1, 80, "a.test")])
        self.net.next().answer([a("a.test", "10.0.0.1")])
        self.successResultOf(self.resolving)
        for answers in ([srv("other.test", 1, 1, 80, "b.test")], []):
            self.resolving = self.srv.resolve("other.test")
            self.net.next().answer(answers, additional=[a("b.test", "10.0.0.2")])
            self.successResultOf(self.resolving)
        self.resolving = self.srv.resolve(self.NAME)
        self.net.next().answer([self.record(1, 1, 80, "a.test")])
        for _ in range(2):
            self.net.next().answer(code=dns.ESERVER)
        self.assertEqual(self.successResultOf(self.resolving).found, found("10.0.0.1:80*1"))

    def test_what_was_told_beside_an_answer_stays_too(self) -> None:
        self.other_resolver("srv:nameserver=10.0.0.53")
        for told in (
            [a("a.test", "10.0.0.1"), aaaa("a.test", "2001:db8::1")],
            [a("a.test", "10.0.0.2")],  # there is no other any more
        ):
            self.resolving = self.srv.resolve(self.NAME)
            self.net.next(f" SRV {self.NAME}").answer([self.record(1, 1, 80, "a.test")], additional=told)
            known = self.successResultOf(self.resolving).found
            self.assertEqual(len(known), len(told))
            self.resolving = self.srv.resolve(self.NAME)
            self.net.next(f" SRV {self.NAME}").answer([self.record(1, 1, 80, "a.test")])
            while self.net.questions and self.net.asked()[-1].endswith(" a.test"):
                self.net.next(" a.test").answer(code=dns.ESERVER)
            self.assertEqual(self.successResultOf(self.resolving).found, known)

    def test_what_is_known_goes_with_who_it_is_of(self) -> None:
        """A host that is no target any more is forgotten, and so are the hosts of a name that stands for nothing."""
        for answers in ([self.record(1, 1, 80, "b.test")], []):
            self.other_resolver("srv:nameserver=10.0.0.53:family=ipv4")
            told = [a("a.test", "10.0.0.1"), a("b.test", "10.0.0.2")]
            for each in ([self.record(1, 1, 80, "a.test")], answers):
                self.resolving = self.srv.resolve(self.NAME)
                self.net.next(f" SRV {self.NAME}").answer(each, additional=told)
                self.successResultOf(self.resolving)
            self.resolving = self.srv.resolve(self.NAME)
            self.net.next(f" SRV {self.NAME}").answer([self.record(1, 1, 80, "a.test")])
            for _ in range(2):
                self.net.next(" A a.test").answer(code=dns.ESERVER)
            self.refused(self.resolving)
            self.resolving = self.srv.resolve(self.NAME)

    def test_none_of_the_servers_can_be_looked_up(self) -> None:
        self.net.next().answer([self.record(1, 1, 80, "a.test")])
        for _ in range(2):
            self.net.next().answer(code=dns.ESERVER)
        self.assertEqual(self.refused(self.resolving), "a.test: A: 10.0.0.53#53: it cannot tell (SERVFAIL)")

    def test_no_such_service(self) -> None:
        """No record, the record that says so (RFC 2782), and one without a port."""
        for answers in (
            [],
            [self.record(0, 0, 0, b"")],
            [self.record(0, 0, 80, b"")],
            [self.record(0, 0, 0, "a.test")],
        ):
            self.net.next().answer(answers, authority=[soa("test", 9, 9)])
            self.assertEqual(self.successResultOf(self.resolving), Resolution((), 9.0))
            self.resolving = self.srv.resolve(self.NAME)

    def test_eight_hosts_are_asked_for_at_once(self) -> None:
        self.net.next().answer([self.record(1, 1, 80, f"{each}.test") for each in range(30)])
        most = 0
        while self.net.questions:
            most = max(most, self.net.open_sockets)
            self.net.next().answer([a("x", "10.0.0.1")])
        self.assertEqual((most, len(self.successResultOf(self.resolving).found)), (8, 30))

    def test_no_more_than_256_records(self) -> None:
        records = [self.record(1, 1, port, "a.test") for port in range(1, 400)]
        self.net.next().answer(truncated=True)
        protocol, transport = self.net.accept()
        asked = dns.Message()
        asked.fromStr(transport.value()[2:])
        asked.answer, asked.answers, asked.additional = 1, records, [a("a.test", "10.0.0.1")]
        data = asked.toStr()
        protocol.dataReceived(struct.pack("!H", len(data)) + data)
        self.assertEqual(len(self.successResultOf(self.resolving).found), 256)
