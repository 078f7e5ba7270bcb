"""Listeners, when no descriptor is free."""

from __future__ import annotations

import errno

from twisted.internet import tcp
from twisted.logger import capturedLogs

from tests.net.fakes import os_error
from tests.net.test_port import Listening, PortCase
from twisted_pipe.net.port import REST


class ExhaustionTests(PortCase):
    def test_the_listener_rests(self) -> None:
        """No spin meanwhile, and then whoever has waited is accepted."""
        for code in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EACCES):
            self.clients_wait(1)
            before = self.engine.statistics
            listening = self.script(code)
            with capturedLogs() as logs:
                self.engine.turn(20)
                self.assertEqual(listening.accepts, 1)
                self.assertEqual(self.engine.statistics.events, before.events + 1)
                self.port.socket = listening.sock
                self.engine.advance(REST - 0.02)
                self.assertEqual(self.engine.statistics.accepted, before.accepted)
                self.engine.advance(0.04)
            self.assertEqual(self.engine.statistics.accepted, before.accepted + 1)
            self.assertEqual(self.engine.statistics.rests, before.rests + 1)
            (line,) = self.lines(logs)
            self.assertIn(f"no connection can be accepted: {os_error(code).strerror}", line)
            self.assertIn("rests for 0.5 s", line)
            self.assertEqual("ulimit" in line, code in (errno.EMFILE, errno.ENFILE), line)

    def test_connections_go_on_while_it_rests(self) -> None:
        self.clients_wait(1)
        self.engine.settle()
        listening = self.script("for ever")
        self.clients_wait(1)
        self.engine.turn()
        self.clients[0].write(b"hello")
        self.engine.turn()
        self.assertEqual(self.protocols[0].data, b"hello")
        self.port.socket = listening.sock

    def test_one_line_however_long_it_lasts(self) -> None:
        self.clients_wait(1)
        listening = self.script("for ever")
        with capturedLogs() as logs:
            self.engine.advance(10 * REST)
        self.assertEqual(len(self.lines(logs)), 1)
        self.assertTrue(9 <= self.engine.statistics.rests <= 11, self.engine.statistics.rests)
        self.port.socket = listening.sock

    def test_one_line_although_it_began_in_the_midst_of_several(self) -> None:
        """Some of those who waited were accepted before it came to that."""
        self.clients_wait(6)
        self.engine.turn(2)  # one each; now it tries two
        listening = self.script(self.engine.pair()[0], "for ever")
        with capturedLogs() as logs:
            self.engine.advance(4 * REST)
        self.assertEqual(len(self.protocols), 3)
        self.assertEqual(len(self.lines(logs)), 1)
        self.port.socket = listening.sock

    def test_a_new_line_when_it_had_recovered(self) -> None:
        with capturedLogs() as logs:
            for _ in range(2):
                self.clients_wait(1)
                listening = self.script("for ever")
                self.engine.advance(REST / 2)
                self.port.socket = listening.sock
                self.engine.advance(REST)
        self.assertEqual(len(self.protocols), 2)
        self.assertEqual(len(self.lines(logs)), 2)

    def test_whoever_waited_for_a_whole_rest_is_refused(self) -> None:
        """Instead of left hanging: the descriptor in reserve is good for that."""
        tcp._reservedFD.reserve()  # type: ignore[no-untyped-call]
        self.clients_wait(3)
        really = self.port.socket

        class Full(Listening):
            """Accepts only while the reserve is given up."""

            def accept(self) -> object:
                self.accepts += 1
                if tcp._reservedFD.available():  # type: ignore[no-untyped-call]
                    raise os_error(errno.EMFILE)
                return really.accept()

        self.port.socket = Full(really)
        self.engine.advance(REST / 2)
        for client in self.clients:
            client.read()
            self.assertFalse(client.ended, "not at once")
        self.engine.advance(REST)
        for client in self.clients:
            client.read()
            self.assertTrue(client.ended or client.reset)
        self.assertTrue(tcp._reservedFD.available())  # type: ignore[no-untyped-call]
        self.assertEqual(self.protocols, [])
        self.port.socket = really

    def test_stopped_while_it_rests(self) -> None:
        """Nothing is left of it, and nothing is said."""
        self.clients_wait(1)
        listening = self.script("for ever")
        self.engine.turn()
        self.port.socket = listening.sock
        self.port.stopListening()
        self.engine.settle()
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])
        self.engine.advance(2 * REST)
        self.assertNotIn(self.port, self.engine.reactor.getReaders())

    def test_a_socket_that_listens_no_more(self) -> None:
        """It ends the listener, with a traceback; it must not spin. Any other error is no end: that would be for good."""
        self.clients_wait(1)
        listening = self.script(errno.EINVAL)
        self.engine.turn()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertNotIn(self.port, self.engine.reactor.getReaders())
        self.assertTrue(listening.accepts)
