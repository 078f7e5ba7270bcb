"""A pipe whose downstream is a request of C{twisted.web}: the body of a response, not the client's connection."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.outcome import PipeOutcome

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Streamed(Resource):
    """Responds with what is written to the pipe of each request."""

    isLeaf = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.pipes: list[EventPipe] = []

    def render_GET(self, request: Request) -> int:
        pipe = EventPipe(None, request, clock=self.clock)
        pipe.done.addCallback(self.ended, request)
        self.pipes.append(pipe)
        return NOT_DONE_YET

    def ended(self, outcome: PipeOutcome, request: Request) -> None:
        if outcome.clean and request.channel is not None:
            request.finish()


class RequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        self.resource = Streamed(clock)
        site = Site(self.resource, reactor=clock)
        self.addCleanup(site.stopFactory)
        protocol = site.buildProtocol(None)
        self.transport = StringTransport()
        protocol.makeConnection(self.transport)
        self.protocol = protocol

    def test_clean_end_keeps_the_connection(self) -> None:
        for number in range(2):
            self.protocol.dataReceived(ASK)
            pipe = self.resource.pipes[number]
            pipe.write(b"body")
            pipe.upstream_ended()
            self.assertTrue(self.transport.value().endswith(b"\r\n4\r\nbody\r\n0\r\n\r\n"))
            self.assertFalse(self.transport.disconnecting)
            self.transport.clear()

    def test_broken_response_cannot_look_whole(self) -> None:
        self.protocol.dataReceived(ASK)
        pipe = self.resource.pipes[0]
        pipe.write(b"body")
        pipe.upstream_lost(Failure(OSError("gone")))
        self.assertTrue(self.transport.value().endswith(b"\r\n4\r\nbody\r\n"))
        self.assertTrue(self.transport.disconnecting)

    def test_a_client_that_has_gone(self) -> None:
        """The request has no channel then; the pipe ends all the same, however it learns of that."""

        def cancelled(pipe: EventPipe) -> None:
            pipe.done.cancel()

        for number, end in enumerate((cancelled, EventPipe.upstream_ended)):
            self.setUp()
            self.protocol.dataReceived(ASK)
            (pipe,) = self.resource.pipes
            pipe.write(b"body")
            self.protocol.connectionLost(Failure(ConnectionDone()))
            end(pipe)
            self.assertTrue(pipe.done.called, number)
