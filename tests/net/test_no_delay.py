from __future__ import annotations

import socket

from tests.net.test_writing import WritingCase


class NoDelayTests(WritingCase):
    """TCP_NODELAY: Nagle's algorithm would hold a second small packet back until the first is acknowledged."""

    def setUp(self) -> None:
        WritingCase.setUp(self)
        self.transport, self.peer = self.engine.tcp()
        self.next()

    def no_delay(self) -> bool:
        return bool(self.transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_one_write_a_turn_needs_none(self) -> None:
        for _ in range(3):
            self.transport.write(b"x")
            self.next()
        self.assertFalse(self.no_delay())

    def test_set_by_the_second_write_of_a_turn(self) -> None:
        self.transport.write(b"x")
        self.transport.write(b"y")
        self.assertTrue(self.no_delay())

    def test_never_if_the_program_said_so(self) -> None:
        self.transport.setTcpNoDelay(False)
        self.transport.write(b"x")
        self.transport.write(b"y")
        self.assertFalse(self.no_delay())

    def test_what_the_program_says_later(self) -> None:
        self.transport.write(b"x")
        self.transport.write(b"y")
        self.transport.setTcpNoDelay(False)
        self.next()
        self.transport.write(b"x")
        self.transport.write(b"y")
        self.assertFalse(self.no_delay())
        self.assertFalse(self.transport.getTcpNoDelay())
