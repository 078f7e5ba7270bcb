"""
Asking nameservers, by the protocols of C{twisted.names}: over UDP, and over TCP what does not fit there (RFC 1035, section 4.2; RFC
7766).

They are asked one after the other, as C{resolv.conf} lists them: the next one when one does not answer in time, cannot be
reached, or says that it cannot tell. "There is no such name" is an answer.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError
from twisted.names import dns

from twisted_pipe.errors import BadConfiguration, NotResolved
from twisted_pipe.ip import is_ip
from twisted_pipe.upstream.dns_question import ask_by_tcp, ask_by_udp

__all__ = ["RESOLV_CONF", "Nameserver", "Nameservers", "Records", "parse_nameservers"]

RESOLV_CONF = "/etc/resolv.conf"

_PATIENCE = (1.0, 3.0)  # seconds; each nameserver is asked once with each
_SAID = {
    dns.EFORMAT: "it does not understand the question (FORMERR)",
    dns.ESERVER: "it cannot tell (SERVFAIL)",
    dns.ENOTIMP: "it does not know such questions (NOTIMP)",
    dns.EREFUSED: "it refuses to tell (REFUSED)",
}


def _canonical(host: str) -> str:
    return str(ipaddress.ip_address(host))


@attrs.frozen
class Nameserver:
    """
    @ivar host: its IPv4 or IPv6 address, as the kernel writes it: what answers is compared with it.
    @ivar port: where it answers, over UDP and TCP.
    """

    host: str = attrs.field(converter=_canonical)
    port: int = dns.PORT

    def __str__(self) -> str:
        return f"{self.host}#{self.port}"


def parse_nameservers(name: str, text: str) -> tuple[Nameserver, ...]:
    """
    Nameservers as people write them, C{"10.0.0.2 127.0.0.1#5353"}: addresses, with or without a port, between spaces or commas.

    @param name: the option, for the error.
    @raise BadConfiguration: it is something else.
    """
    found: list[Nameserver] = []
    for word in text.replace(",", " ").split():
        host, sharp, port = word.partition("#")
        is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535
        if not is_ip(host) or (sharp and not is_port):
            found.clear()
            break
        found.append(Nameserver(host, int(port) if sharp else dns.PORT))
    if not found:
        raise BadConfiguration(name, text, "must be addresses of nameservers, such as 10.0.0.2 or 127.0.0.1#5353")
    return tuple(found)


parse_nameservers.kind = "ADDRESS[#PORT] …"  # type: ignore[attr-defined]


@attrs.frozen
class Records:
    """
    What a nameserver has answered.

    @ivar answers: C{twisted.names.dns.RRHeader}s; none if there is no such name, or nothing of the kind that was asked for.
    @ivar additional: what it has told beside that.
    @ivar negative_ttl: seconds for which it holds that there are no answers (RFC 2308, section 5); 0 if it does not say.
    """

    answers: tuple[Any, ...]
    additional: tuple[Any, ...]
    negative_ttl: float


@attrs.define
class Nameservers:
    """
    @ivar reactor: an C{IReactorFDSet}, C{IReactorTCP} and C{IReactorTime}.
    @ivar configured: which to ask; none for those of the system.
    @ivar resolv_conf: the file that says which are the system's. It is read for each question, so it may change.
    """

    reactor: Any
    configured: tuple[Nameserver, ...] = ()
    resolv_conf: str = RESOLV_CONF

    async def ask(self, name: str, kind: int) -> Records:
        """
        Everything of one kind about one name.

        @param kind: such as C{dns.A}.
        @raise NotResolved: none could answer.
        """
        # in a message no name has the dot that a text may end with, and the answer's question is compared with this one
        query = dns.Query(name.encode("idna").removesuffix(b"."), kind, dns.IN)
        problem = ""
        servers = self.configured or self._of_the_system()
        for patience in _PATIENCE:
            for server in servers:
                said = await self._ask_one(server, query, patience)
                if isinstance(said, Records):
                    return said
                problem = said
        raise NotResolved(problem)

    async def _ask_one(self, server: Nameserver, query: dns.Query, patience: float) -> Records | str:
        """What it answers, or why it does not."""
        try:
            asking = ask_by_udp(self.reactor, server.host, server.port, query)
            message = await asking.addTimeout(patience, self.reactor)
            if message.trunc:
                by_tcp = Deferred.fromCoroutine(ask_by_tcp(self.reactor, server.host, server.port, query, patience))
                message = await by_tcp.addTimeout(patience, self.reactor)
        except TimeoutError:
            return f"{server}: no answer within {patience:g} s"
        except (ConnectError, OSError) as error:
            return f"{server}: {getattr(error, 'strerror', None) or str(error).rstrip('.')}"
        problem = _problem_of(message, query)
        return _records(message) if problem is None else f"{server}: {problem}"

    def _of_the_system(self) -> tuple[Nameserver, ...]:
        """
        As resolv.conf(5) has it: without any, the one of this machine.

        @raise NotResolved: the file cannot be read.
        """
        try:
            with open(self.resolv_conf, encoding="utf-8", errors="replace") as file:
                words = [line.split() for line in file]
        except FileNotFoundError:
            words = []
        except OSError as error:
            raise NotResolved(f"{self.resolv_conf}: {error.strerror}") from error
        hosts = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
        return tuple(Nameserver(host) for host in hosts if is_ip(host)) or (Nameserver("127.0.0.1"),)


def _problem_of(message: dns.Message, query: dns.Query) -> str | None:
    """Why it is no answer."""
    if message.rCode not in (dns.OK, dns.ENAME):
        return _SAID.get(message.rCode, f"its answer is error {message.rCode}")
    if message.queries != [query]:
        return "it answers another question"
    kinds = {each.type for each in message.authority}
    if message.rCode == dns.OK and not message.answers and dns.NS in kinds and dns.SOA not in kinds:
        return "it does not look names up for others, and refers to other nameservers"
    return None


def _records(message: dns.Message) -> Records:
    authority: list[Any] = [each for each in message.authority if each.type == dns.SOA]
    negative = min((min(each.ttl, each.payload.minimum) for each in authority), default=0)
    return Records(tuple(message.answers), tuple(message.additional), float(negative))
