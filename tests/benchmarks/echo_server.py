"""A plain Twisted echo server on the reactor named: C{echo_server.py REACTOR PORT}."""

import sys

from twisted.application.reactors import installReactor

installReactor(sys.argv[1])
from twisted.internet import reactor  # noqa: E402
from twisted.internet.protocol import Factory, Protocol  # noqa: E402


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


reactor.listenTCP(int(sys.argv[2]), Factory.forProtocol(Echo), backlog=4096, interface="127.0.0.1")  # type: ignore[arg-type]
reactor.run()
