"""Nameservers in the memory of a test: questions are seen, and answered when the test says so."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from errno import ECONNREFUSED, ENETUNREACH
from typing import Any

import attrs
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.names import dns
from twisted.python.failure import Failure

__all__ = ["MemoryNet", "Question", "a", "aaaa", "cname", "soa", "srv"]


def a(name: str, address: str, ttl: int = 60) -> dns.RRHeader:
    return dns.RRHeader(name, dns.A, ttl=ttl, payload=dns.Record_A(address, ttl))


def aaaa(name: str, address: str, ttl: int = 60) -> dns.RRHeader:
    return dns.RRHeader(name, dns.AAAA, ttl=ttl, payload=dns.Record_AAAA(address, ttl))


def cname(name: str, target: str, ttl: int = 60) -> dns.RRHeader:
    return dns.RRHeader(name, dns.CNAME, ttl=ttl, payload=dns.Record_CNAME(target, ttl))


def srv(name: str, priority: int, weight: int, port: int, target: str | bytes, ttl: int = 60) -> dns.RRHeader:
    return dns.RRHeader(name, dns.SRV, ttl=ttl, payload=dns.Record_SRV(priority, weight, port, target, ttl))


def soa(name: str, ttl: int, minimum: int) -> dns.RRHeader:
    return dns.RRHeader(name, dns.SOA, ttl=ttl, payload=dns.Record_SOA(b"ns", b"root", 1, 1, 1, 1, minimum, ttl))


@attrs.define(eq=False)
class _Datagrams:
    """
    A connected socket for datagrams.

    @ivar error: what the kernel has to tell.
    """

    net: MemoryNet
    peer: tuple[str, int]
    open: bool = True
    error: int = 0
    come: list[bytes] = attrs.field(factory=list)

    def fileno(self) -> int:
        return 1000 + self.net.sockets.index(self) if self.open else -1

    def send(self, data: bytes) -> int:
        assert self.open
        if self.net.unreachable:
            raise OSError(ENETUNREACH, "Network is unreachable")
        self.net.questions.append(Question(self, data))
        return len(data)

    def recv(self, most: int) -> bytes:
        assert self.open
        if self.error:
            error, self.error = self.error, 0
            raise OSError(error, os.strerror(error))
        if not self.come:
            raise BlockingIOError
        return self.come.pop(0)[:most]

    def getsockopt(self, level: int, name: int) -> int:
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_ERROR)
        error, self.error = self.error, 0
        return error

    def close(self) -> None:
        assert self.open
        self.open = False


@attrs.define(eq=False)
class Question:
    """One datagram that was sent to a nameserver."""

    socket: _Datagrams
    data: bytes

    @property
    def message(self) -> dns.Message:
        message = dns.Message()
        message.fromStr(self.data)
        return message

    @property
    def text(self) -> str:
        """C{"10.0.0.53#53 A app.test"}."""
        (query,) = self.message.queries
        host, port = self.socket.peer
        return f"{host}#{port} {dns.QUERY_TYPES.get(query.type)} {query.name}"

    def answer(
        self,
        answers: Sequence[dns.RRHeader] = (),
        code: int = dns.OK,
        authority: Sequence[dns.RRHeader] = (),
        additional: Sequence[dns.RRHeader] = (),
        truncated: bool = False,
    ) -> None:
        self.send(self.reply(answers, code, authority, additional, truncated))

    def reply(
        self,
        answers: Sequence[dns.RRHeader] = (),
        code: int = dns.OK,
        authority: Sequence[dns.RRHeader] = (),
        additional: Sequence[dns.RRHeader] = (),
        truncated: bool = False,
    ) -> bytes:
        message = self.message
        message.answer, message.rCode, message.trunc = 1, code, truncated
        message.answers, message.authority, message.additional = list(answers), list(authority), list(additional)
        return bytes(message.toStr())

    def send(self, data: bytes) -> None:
        """As if the nameserver had sent C{data}."""
        self.socket.come.append(data)
        reader = self.socket.net.reader_of(self.socket)
        if reader is not None:
            reader.doRead()

    def refuse(self, told_by_reading: bool = True) -> None:
        """Nobody listens there."""
        self.socket.error = ECONNREFUSED
        reader = self.socket.net.reader_of(self.socket)
        if told_by_reading:
            reader.doRead()
        else:
            reader.connectionLost(Failure(ConnectionLost()))


class MemoryNet(MemoryReactorClock):
    """
    A reactor, and the sockets that are opened on it.

    @ivar questions: that were sent over UDP and not looked at yet.
    @ivar sockets: all UDP sockets that there were.
    @ivar unreachable: whether nothing can be sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[Question] = []
        self.sockets: list[_Datagrams] = []
        self.unreachable = False

    def open_datagrams(self, host: str, port: int) -> Any:
        """In the place of the module's."""
        opened = _Datagrams(self, (host, port))
        self.sockets.append(opened)
        return opened

    def reader_of(self, sock: _Datagrams) -> Any:
        """Who reads it, if anybody does."""
        return next((each for each in self.getReaders() if sock.open and each.fileno() == sock.fileno()), None)

    @property
    def open_sockets(self) -> int:
        assert len(self.getReaders()) == sum(each.open for each in self.sockets)
        return len(self.getReaders())

    def asked(self) -> list[str]:
        """The texts of the questions that wait."""
        return [each.text for each in self.questions]

    def next(self, text: str = "") -> Question:
        """The first question that ends with C{text}."""
        for place, each in enumerate(self.questions):
            if each.text.endswith(text):
                return self.questions.pop(place)
        raise AssertionError(f"{text!r} is not in {self.asked()}")

    def accept(self) -> tuple[Any, StringTransport]:
        """The TCP connection that is waited for stands: its protocol, and its transport."""
        factory = self.tcpClients.pop(0)[2]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport
