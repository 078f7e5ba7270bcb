"""Malformed and unusual messages, each with the answer that the RFCs ask for; whole, and byte by byte."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.http.corpus_requests import MALFORMED_REQUESTS, VALID_REQUESTS, RequestCase
from tests.http.corpus_responses import MALFORMED_RESPONSES, VALID_RESPONSES, ResponseCase
from twisted_pipe.http.chunked import ChunkedDecoder
from twisted_pipe.http.head import (
    BadMessage,
    Framing,
    HeadLimits,
    RequestHead,
    ResponseHead,
    parse_request,
    parse_response,
)


@attrs.frozen
class Accepted:
    """What a stream was taken for."""

    framing: str
    length: int
    rest: bytes
    minor: int
    extra: bytes | bool  # host, or keep_alive


def _body(head: RequestHead | ResponseHead, data: bytes, bare_lf: bool, status: int) -> tuple[int, bytes]:
    """The bytes of the body and what stands behind it. What is cut off is refused as well."""
    if head.framing is Framing.NONE:
        return 0, data
    if head.framing is Framing.CLOSE:
        return len(data), b""
    if head.framing is Framing.LENGTH:
        if len(data) < head.length:
            raise BadMessage(status, "it is cut off")
        return head.length, data[head.length :]
    decoder = ChunkedDecoder(bare_lf)
    try:
        decoder.decode(memoryview(bytearray(data)))
    except ValueError as error:
        raise BadMessage(status, str(error)) from None
    if missing := decoder.at_end():
        raise BadMessage(status, f"it is cut off: {missing} was to come")
    return decoder.decoded, data[len(data) - decoder.surplus :]


def read_request(data: bytes, limits: HeadLimits) -> Accepted:
    """
    The first one.

    @raise BadMessage: with the status.
    """
    head = parse_request(data, limits)
    if head is None:
        raise BadMessage(400, "it is cut off")
    length, rest = _body(head, data[head.size :], limits.bare_lf, 400)
    return Accepted(head.framing.value, length, rest, head.minor, head.host)


def read_response(data: bytes, method: bytes, limits: HeadLimits) -> Accepted:
    """
    The final one.

    @raise BadMessage: with status 502.
    """
    head = parse_response(data, method, limits)
    while head is not None and head.status < 200:
        data = data[head.size :]
        head = parse_response(data, method, limits)
    if head is None:
        raise BadMessage(502, "it is cut off")
    length, rest = _body(head, data[head.size :], limits.bare_lf, 502)
    return Accepted(head.framing.value, length, rest, head.minor, head.keep_alive)


def head_end(data: bytes) -> int:
    return data.find(b"\r\n\r\n") + 4


class RequestTests(SynchronousTestCase):
    def answer(self, case: RequestCase) -> int | Accepted:
        try:
            return read_request(case.raw, HeadLimits(bare_lf=case.bare_lf))
        except BadMessage as error:
            self.assertTrue(error.why, case.name)
            return error.status

    def check(self, cases: list[RequestCase]) -> None:
        """All of them, so that one failure does not hide another."""
        wrong = []
        for case in cases:
            found = self.answer(case)
            wanted = case.status or Accepted(case.framing, case.length, case.rest, case.minor, case.host)
            if found != wanted:
                wrong.append(f"{case.name}: {found}, and not {wanted} ({case.why})")
        self.assertEqual(wrong, [], "\n".join(["", *wrong]))

    def test_malformed_ones_are_refused(self) -> None:
        self.check(MALFORMED_REQUESTS)

    def test_unusual_ones_are_accepted(self) -> None:
        self.check(VALID_REQUESTS)

    def test_nothing_is_accepted_before_it_is_whole(self) -> None:
        """A head comes with its last byte, and not before; it is not refused before, either."""
        for case in VALID_REQUESTS:
            if case.bare_lf:
                continue
            limits = HeadLimits()
            end = head_end(case.raw)
            for size in range(end) if end < 1000 else (end - 1, end // 2):
                self.assertIsNone(parse_request(case.raw[:size], limits), (case.name, size))
            for data in (case.raw[:end], case.raw):
                head = parse_request(data, limits)
                assert head is not None
                self.assertEqual(head.size, end, case.name)

    def test_a_malformed_one_is_never_accepted_on_the_way(self) -> None:
        """Whoever feeds it byte by byte, and stops when there is an answer, gets one that refuses it, or a body that is refused."""
        limits = HeadLimits()
        for case in MALFORMED_REQUESTS:
            if len(case.raw) > 4000:
                continue
            for size in range(len(case.raw)):
                try:
                    head = parse_request(case.raw[:size], limits)
                except BadMessage as error:
                    self.assertEqual(error.status, case.status, (case.name, size))
                    break
                if head is not None:
                    with self.assertRaises(BadMessage):
                        read_request(case.raw, limits)
                    self.assertEqual(case.raw[: head.size], case.raw[: head_end(case.raw)], case.name)
                    break

    def test_what_is_not_http_is_refused_at_once(self) -> None:
        """There may never be an empty line."""
        for data in (
            b"\x16\x03\x01",
            b"\x05\x01\x00",
            b"\x00",
            b" GET",
            b"\r\n\r\n",
            b"GET\t/",
            b"\rG",
            b"{",
            b"X" * 33_000,
        ):
            with self.assertRaises(BadMessage, msg=data):
                parse_request(data, HeadLimits())

    def test_bare_lf_opens_no_other_door(self) -> None:
        """What is malformed for other reasons than a bare LF is refused with C{bare_lf}, too."""
        wrong = []
        for case in MALFORMED_REQUESTS:
            if "a bare LF" in case.why:
                continue
            found = self.answer(attrs.evolve(case, bare_lf=True))
            if found != case.status:
                wrong.append(f"{case.name}: {found}, and not {case.status} ({case.why})")
        self.assertEqual(wrong, [], "\n".join(["", *wrong]))

    def test_there_are_enough(self) -> None:
        names = [case.name for case in MALFORMED_REQUESTS + VALID_REQUESTS]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(len(MALFORMED_REQUESTS), 200)
        self.assertGreaterEqual(len(VALID_REQUESTS), 45)


class ResponseTests(SynchronousTestCase):
    def answer(self, case: ResponseCase) -> int | Accepted:
        try:
            return read_response(case.raw, case.method, HeadLimits(bare_lf=case.bare_lf))
        except BadMessage as error:
            self.assertTrue(error.why, case.name)
            return error.status

    def check(self, cases: list[ResponseCase]) -> None:
        wrong = []
        for case in cases:
            found = self.answer(case)
            wanted: int | Accepted = 502
            if case.framing:
                wanted = Accepted(case.framing, case.length, case.rest, case.minor, case.keep_alive)
            if found != wanted:
                wrong.append(f"{case.name}: {found}, and not {wanted} ({case.why})")
        self.assertEqual(wrong, [], "\n".join(["", *wrong]))

    def test_malformed_ones_are_refused(self) -> None:
        self.check(MALFORMED_RESPONSES)

    def test_unusual_ones_are_accepted(self) -> None:
        self.check(VALID_RESPONSES)

    def test_nothing_is_accepted_before_it_is_whole(self) -> None:
        limits = HeadLimits()
        for case in VALID_RESPONSES:
            if case.bare_lf:
                continue
            end = head_end(case.raw)
            for size in range(end):
                self.assertIsNone(parse_response(case.raw[:size], case.method, limits), (case.name, size))
            head = parse_response(case.raw, case.method, limits)
            assert head is not None
            self.assertEqual(head.size, end, case.name)

    def test_a_malformed_one_is_never_accepted_on_the_way(self) -> None:
        """Whoever feeds it byte by byte finds a head where the whole has one, and else is told, or waits."""
        limits = HeadLimits()
        for case in MALFORMED_RESPONSES:
            if len(case.raw) > 4000:
                continue
            for size in range(len(case.raw)):
                try:
                    head = parse_response(case.raw[:size], case.method, limits)
                except BadMessage as error:
                    self.assertEqual(error.status, 502, case.name)
                    break
                if head is not None:
                    self.assertEqual(head.size, head_end(case.raw), case.name)
                    break

    def test_bare_lf_opens_no_other_door(self) -> None:
        wrong = []
        for case in MALFORMED_RESPONSES:
            if "a bare LF" in case.why:
                continue
            found = self.answer(attrs.evolve(case, bare_lf=True))
            if found != 502:
                wrong.append(f"{case.name}: {found} ({case.why})")
        self.assertEqual(wrong, [], "\n".join(["", *wrong]))

    def test_there_are_enough(self) -> None:
        names = [case.name for case in MALFORMED_RESPONSES + VALID_RESPONSES]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(len(MALFORMED_RESPONSES), 110)
        self.assertGreaterEqual(len(VALID_RESPONSES), 35)
