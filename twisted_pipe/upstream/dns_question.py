"""
One question to one nameserver, over UDP or TCP, in the messages of C{twisted.names}.

Each datagram is sent from a socket of its own, because the sender's port is what those have to guess who would like to answer
instead (RFC 5452, section 9.2). It is connected: the kernel then drops what others send, and tells when nobody listens there. A
UDP port of Twisted's could do that, too, but it writes two lines to the log for each, and C{epoll} reactors close it without a word
when nobody listens.
"""

from __future__ import annotations

import os
import secrets
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, connectionDone
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["ask_by_tcp", "ask_by_udp"]

_LARGEST = 4096  # bytes of a datagram; without EDNS an answer has 512 at most


def ask_by_udp(reactor: Any, host: str, port: int, query: dns.Query) -> Deferred[dns.Message]:
    """
    @param reactor: an C{IReactorFDSet}.
    @param host: an address, as text.
    @return: fires with the answer, which may be truncated; fails with C{OSError} when nobody listens there. Has to be cancelled if
        it takes too long.
    @raise OSError: there is no descriptor, or no way there.
    """
    return _Datagrams(reactor, open_datagrams(host, port), _question(query)).answered


async def ask_by_tcp(reactor: Any, host: str, port: int, query: dns.Query, patience: float) -> dns.Message:
    """
    @param patience: seconds for connecting. The answer has to be cancelled if it takes too long.
    @raise OSError: the connection ends without an answer.
    @raise twisted.internet.error.ConnectError: there is none.
    """
    protocol = _Stream(_question(query))
    factory = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
    await kind(reactor, host, port, timeout=patience).connect(factory)
    try:
        return await protocol.answered
    finally:
        protocol.transport.abortConnection()  # type: ignore[union-attr]


def open_datagrams(host: str, port: int) -> socket.socket:
    """
    A socket for datagrams to and from there.

    @raise OSError: there is no descriptor, or no way there.
    """
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    try:
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _question(query: dns.Query) -> dns.Message:
    message = dns.Message(secrets.randbelow(2**16), recDes=1)
    message.queries = [query]
    return message


def _answer(data: bytes, asked: dns.Message) -> dns.Message | None:
    """C{data} as an answer; None if it is none."""
    message = dns.Message()
    try:
        message.fromStr(data)
    except Exception:  # whatever the parser of hostile bytes may raise
        return None
    return message if message.id == asked.id and message.answer else None


@implementer(IReadDescriptor)
class _Datagrams:
    """
    @ivar answered: see L{ask_by_udp}.
    """

    def __init__(self, reactor: Any, sock: socket.socket, asked: dns.Message) -> None:
        self.answered: Deferred[dns.Message] = Deferred(lambda _: self._close())
        self._reactor = reactor
        self._socket = sock
        self._asked = asked
        reactor.addReader(self)
        try:
            sock.send(asked.toStr())
        except BaseException:
            self._close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "DNS"

    def doRead(self) -> None:
        """What is no answer is left alone: another one may come."""
        try:
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        answer = _answer(data, self._asked)
        if answer is not None:
            self._close()
            self.answered.callback(answer)

    def connectionLost(self, reason: Failure) -> None:
        """There is nothing to read, but an error."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._fail(OSError(number, os.strerror(number) if number else reason.getErrorMessage()))

    def _fail(self, error: OSError) -> None:
        self._close()
        self.answered.errback(error)

    def _close(self) -> None:
        self._reactor.removeReader(self)
        self._socket.close()


class _Stream(Int16StringReceiver):
    """
    @ivar answered: fires with the answer; fails with C{OSError}.
    """

    def __init__(self, asked: dns.Message) -> None:
        self.answered: Deferred[dns.Message] = Deferred()
        self._asked = asked

    def connectionMade(self) -> None:
        self.sendString(self._asked.toStr())  # type: ignore[no-untyped-call]

    def stringReceived(self, data: bytes) -> None:
        answer = _answer(data, self._asked)
        if answer is not None and not self.answered.called:
            self.answered.callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answered.called:
            self.answered.errback(OSError(0, "it closes the connection without an answer"))
