"""What a protocol works with, and that a third party's protocol can be built of it."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_pipe.errors import BadConfiguration, FilterFailed
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.interfaces import Direction, IPipeProtocol, IPipeProtocolFactory, OnFailure
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.pipe_end import PipeEnd
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.plugin.options import option
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.protocol import PROTOCOLS, ProtocolPlugin
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.units import parse_text
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer


@implementer(IPipeProtocol)
@attrs.define(eq=False)
class Greeter(ServerFactory):
    """A protocol that greets."""

    context: Any
    word: str = option(parse_text, default="hello", help="what it says")

    def statistics(self) -> Any:
        return {}

    def shutdown(self) -> None:
        pass


class Plugin:
    """Builds filters in some way."""

    on_failure = OnFailure.ABORT
    timeout = 0.0

    def __init__(self, name: str, build: Any) -> None:
        self.name = name
        self.build = build


class Endpoint:
    """Connects when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        self.waiting.append((factory, Deferred()))
        return self.waiting[-1][1]


class ContextTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.context = self.make()

    def make(self, **settings: Any) -> ProxyContext:
        group = UpstreamGroup([UpstreamServer("origin:80", self.endpoint)])
        return ProxyContext(group, ProxySettings(**settings), SpillDirectory(), self.clock)

    def test_connect(self) -> None:
        connecting = self.context.connect(self.context.group.pick().server, Protocol)
        [(factory, connected)] = self.endpoint.waiting
        self.assertFalse(factory.noisy)
        protocol = factory.buildProtocol(None)
        connected.callback(protocol)
        self.assertIs(self.successResultOf(connecting), protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connect_times_out(self) -> None:
        connecting = self.make(connect_timeout=7).connect(self.context.group.pick().server, Protocol)
        self.clock.advance(6.9)
        self.assertNoResult(connecting)
        self.clock.advance(0.2)
        self.failureResultOf(connecting, TimeoutError)

    def test_connect_without_a_timeout(self) -> None:
        connecting = self.make(connect_timeout=0).connect(self.context.group.pick().server, Protocol)
        self.clock.advance(100_000)
        self.assertNoResult(connecting)

    def test_pipe(self) -> None:
        client = StringTransport()
        context = self.make(limits=PipeLimits(buffers=3), response_filters=(find_filter("upper"),))
        filters = context.filters(Direction.RESPONSE, client, StringTransport(), "somebody")
        self.assertEqual([each.name for each in filters], ["upper"])
        told = filters[0].filter.context
        self.assertEqual((told.direction, told.connection, told.clock), (Direction.RESPONSE, "somebody", self.clock))
        self.assertEqual((told.client, told.local), (client.getPeer(), client.getHost()))
        pipe = context.pipe(None, client, Direction.RESPONSE, filters, preread=b"ab", name="its name")
        pipe.write(b"c")
        pipe.upstream_ended()
        self.assertEqual(client.value(), b"ABC")
        self.assertTrue(self.successResultOf(pipe.done).clean)
        self.assertEqual((pipe.limits.buffers, pipe.name), (3, "its name"))

    def test_request_limits(self) -> None:
        context = self.make(limits=PipeLimits(read_timeout=5, limit_rate=1000), upload_rate=10)
        pipe = context.pipe(None, StringTransport(), Direction.REQUEST)
        self.assertEqual((pipe.limits.read_timeout, pipe.limits.limit_rate), (0, 10))
        pipe.done.cancel()

    def test_no_filters(self) -> None:
        self.assertEqual(self.context.filters(Direction.REQUEST, StringTransport(), StringTransport()), ())

    def test_a_filter_that_cannot_be_built(self) -> None:
        """It ends the connection, and those built before it are told; or it is left out, if that is what the user wants."""
        told: list[Any] = []

        class Fine(PipeFilter):
            def stopped(self, reason: BaseException | None) -> None:
                told.append(str(reason))

        fine, broken = Plugin("fine", Fine), Plugin("broken", lambda context: 1 / 0)
        client = StringTransport()
        context = self.make(response_filters=(fine, broken))
        error = self.assertRaises(FilterFailed, context.filters, Direction.RESPONSE, client, None)
        self.assertEqual(str(error), "filter 'broken': ZeroDivisionError: division by zero")
        self.assertEqual(told, [str(error)])
        broken.on_failure = OnFailure.BYPASS
        with capturedLogs() as logs:
            [entry] = context.filters(Direction.RESPONSE, client, None, "somebody")
        self.assertEqual(entry.name, "fine")
        self.assertEqual([formatEvent(event) for event in logs], [f"somebody: bypassed: {error.describe()}"])

    def test_join(self) -> None:
        """What has arrived, and the end that has, too, go first."""
        source, sink = PipeEnd(), PipeEnd()
        for end in (source, sink):
            end.makeConnection(StringTransport())
        source.dataReceived(b"early ")
        source.readConnectionLost()
        pipe = self.context.join(source, sink, Direction.REQUEST)
        self.assertEqual(sink.transport.value(), b"early ")  # type: ignore[union-attr]
        self.assertTrue(self.successResultOf(pipe.done).clean)

    def test_join_goes_on(self) -> None:
        source, sink = PipeEnd(), PipeEnd()
        for end in (source, sink):
            end.makeConnection(StringTransport())
        pipe = self.context.join(source, sink, Direction.REQUEST, name="both", keep_open=True)
        source.dataReceived(b"later")
        self.assertEqual((sink.transport.value(), pipe.name), (b"later", "both"))  # type: ignore[union-attr]
        source.readConnectionLost()
        self.assertTrue(self.successResultOf(pipe.done).clean)
        self.assertFalse(sink.transport.disconnecting)  # type: ignore[union-attr]


class ProtocolTests(SynchronousTestCase):
    def test_tcp_is_bundled(self) -> None:
        plugin = PROTOCOLS.find("tcp")
        self.assertTrue(verifyObject(IPipeProtocolFactory, plugin))
        self.assertTrue(verifyObject(IPipeProtocolFactory, plugin.configure({})))

    def test_somebody_elses(self) -> None:
        plugin = ProtocolPlugin("greeter", "Greets.", f"{__name__}:Greeter")
        context = object()
        built: Any = plugin.configure({"word": "good day"}).build(context)
        self.assertTrue(verifyObject(IPipeProtocol, built))
        self.assertEqual((built.context, built.word), (context, "good day"))
        self.assertEqual(plugin.build(context).word, "hello")  # type: ignore[attr-defined]

    def test_errors(self) -> None:
        plugin = ProtocolPlugin("greeter", "Greets.", f"{__name__}:Greeter")
        error = self.assertRaises(BadConfiguration, plugin.configure, {"words": "x"})
        self.assertEqual(
            str(error), "protocol greeter: words: 'x': no such option; did you mean \"word\"? Options: word"
        )
        error = self.assertRaises(BadConfiguration, PROTOCOLS.parse, "htp")
        self.assertIn('no such protocol; did you mean "tcp"? Known: tcp', str(error))
        error = self.assertRaises(BadConfiguration, ProtocolPlugin("x", "", f"{__name__}:Endpoint").configure, {})
        self.assertIn("must be a class that implements IPipeProtocol", str(error))
