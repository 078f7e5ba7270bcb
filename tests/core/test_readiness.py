"""What is known of an edge-triggered socket: every row of the table in C{core/readiness.py}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.core.readiness import ERR, ET, EXCLUSIVE, HUP, IN, OUT, PRI, RDHUP, Readiness


def after(*events: int) -> Readiness:
    """A socket after these events."""
    socket = Readiness()
    for event in events:
        socket.note(event)
    return socket


def known(socket: Readiness) -> str:
    """In words."""
    facts = ("readable", "writable", "pending_eof", "urgent")
    return " ".join(fact for fact in facts if getattr(socket, fact)) or "nothing"


class EventTests(SynchronousTestCase):
    def test_nothing_is_known_at_first(self) -> None:
        """A slot's next owner inherits nothing, least of all a pending EOF."""
        self.assertEqual(known(after()), "nothing")

    def test_in(self) -> None:
        self.assertEqual(known(after(IN)), "readable")

    def test_out(self) -> None:
        self.assertEqual(known(after(OUT)), "writable")

    def test_in_and_out(self) -> None:
        self.assertEqual(known(after(IN | OUT)), "readable writable")
        self.assertEqual(known(after(IN, OUT)), "readable writable")

    def test_rdhup_is_a_pending_eof(self) -> None:
        self.assertEqual(known(after(IN | RDHUP)), "readable pending_eof")
        self.assertEqual(known(after(RDHUP)), "readable pending_eof")

    def test_urgent_data_alone_is_nothing_to_read(self) -> None:
        self.assertEqual(known(after(PRI)), "urgent")

    def test_err_only_lets_both_handlers_run(self) -> None:
        self.assertEqual(known(after(ERR)), "readable writable pending_eof")

    def test_hup_only_lets_both_handlers_run(self) -> None:
        self.assertEqual(known(after(HUP)), "readable writable pending_eof")

    def test_flags_of_registration_are_no_events(self) -> None:
        self.assertEqual(known(after(ET | EXCLUSIVE)), "nothing")

    def test_one_event_takes_nothing_of_another_back(self) -> None:
        self.assertEqual(known(after(IN | RDHUP, OUT, IN, 0)), "readable writable pending_eof")

    def test_the_numbers_are_those_of_epoll(self) -> None:
        import select

        numbers = {
            "IN": IN,
            "PRI": PRI,
            "OUT": OUT,
            "ERR": ERR,
            "HUP": HUP,
            "RDHUP": RDHUP,
            "ET": ET,
            "EXCLUSIVE": EXCLUSIVE,
        }
        self.assertEqual(numbers, {name: getattr(select, f"EPOLL{name}") & 0xFFFFFFFF for name in numbers})


class ReadTests(SynchronousTestCase):
    def reads(self, socket: Readiness, asked: int, got: int) -> str:
        socket.did_read(asked, got)
        return known(socket)

    def test_full_read_still_ready(self) -> None:
        self.assertEqual(self.reads(after(IN), 100, 100), "readable")

    def test_short_read_not_ready(self) -> None:
        self.assertEqual(self.reads(after(IN), 100, 99), "nothing")

    def test_pending_eof_and_short_read_still_ready(self) -> None:
        """So that the EOF is read, of which no further edge tells."""
        self.assertEqual(self.reads(after(IN | RDHUP), 100, 99), "readable pending_eof")

    def test_pending_eof_that_comes_later_counts(self) -> None:
        socket = after(IN)
        self.reads(socket, 100, 50)
        socket.note(IN | RDHUP)
        self.assertEqual(self.reads(socket, 100, 50), "readable pending_eof")

    def test_urgent_data_and_short_read_still_ready(self) -> None:
        """A read stops at its mark; of what is behind it no further edge tells."""
        self.assertEqual(self.reads(after(IN | PRI), 100, 50), "readable urgent")
        self.assertEqual(self.reads(after(IN | PRI), 100, 0), "urgent")

    def test_urgent_data_that_comes_later_counts(self) -> None:
        socket = after(IN)
        self.reads(socket, 100, 50)
        socket.note(IN | PRI)
        self.assertEqual(self.reads(socket, 100, 50), "readable urgent")

    def test_eof_not_ready(self) -> None:
        self.assertEqual(self.reads(after(IN | RDHUP), 100, 0), "pending_eof")
        self.assertEqual(self.reads(after(IN), 100, 0), "nothing")

    def test_a_new_edge_makes_ready_again(self) -> None:
        socket = after(IN)
        self.reads(socket, 100, 1)
        socket.note(IN)
        self.assertEqual(known(socket), "readable")

    def test_reading_says_nothing_of_writing(self) -> None:
        self.assertEqual(self.reads(after(IN | OUT), 100, 1), "writable")


class WriteTests(SynchronousTestCase):
    def writes(self, socket: Readiness, asked: int, sent: int) -> str:
        socket.did_write(asked, sent)
        return known(socket)

    def test_full_write_still_ready(self) -> None:
        self.assertEqual(self.writes(after(OUT), 100, 100), "writable")

    def test_short_write_not_ready(self) -> None:
        self.assertEqual(self.writes(after(OUT), 100, 99), "nothing")

    def test_nothing_taken_not_ready(self) -> None:
        self.assertEqual(self.writes(after(OUT), 100, 0), "nothing")

    def test_a_new_edge_makes_ready_again(self) -> None:
        socket = after(OUT)
        self.writes(socket, 100, 1)
        socket.note(OUT)
        self.assertEqual(known(socket), "writable")

    def test_writing_says_nothing_of_reading(self) -> None:
        self.assertEqual(self.writes(after(IN | OUT), 100, 1), "readable")
        self.assertEqual(self.writes(after(RDHUP | OUT), 100, 1), "readable pending_eof")
