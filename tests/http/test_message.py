from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.head import parse_request, parse_response
from twisted_pipe.http.message import BadMessage, Framing, Head, RequestHead, ResponseHead


def request(*fields: bytes) -> RequestHead:
    found = parse_request(b"\r\n".join([b"POST /a HTTP/1.1", b"Host: a", *fields, b"", b""]))
    assert found is not None
    return found


class HeadTests(SynchronousTestCase):
    def test_of_several_fields_the_first_or_all(self) -> None:
        head = request(b"X-Y: 1 ", b"x-y:\t2", b"X-Y-Z: 3", b"X-: 4", b"X-Y:")
        self.assertEqual(head.get(b"x-y"), b"1")
        self.assertEqual(head.get_list(b"x-y"), b"1, 2, ")
        self.assertEqual(head.get(b"x-y-z"), b"3")
        self.assertEqual(head.get(b"x-"), b"4")
        self.assertEqual((head.get(b"x"), head.get_list(b"x")), (None, None))

    def test_those_of_the_connection_can_be_asked_for_and_are_not_passed_on(self) -> None:
        head = request(b"Connection: close, X-Mine", b"X-Mine: 1", b"TE: trailers", b"X: y")
        self.assertEqual(head.get(b"te"), b"trailers")
        self.assertEqual(head.get(b"x-mine"), b"1")
        self.assertEqual(head.lines, [b"X: y"])
        self.assertEqual(head.headers[0], (b"Host", b"a"))
        self.assertEqual(len(head.headers), 5)

    def test_whether_something_of_a_body_is_still_to_come(self) -> None:
        for framing, length, wanted in (
            (Framing.NONE, 0, False),
            (Framing.LENGTH, 0, False),
            (Framing.LENGTH, 1, True),
            (Framing.CHUNKED, 0, True),
            (Framing.CLOSE, 0, True),
        ):
            head = Head()
            head.framing, head.length = framing, length
            self.assertIs(head.has_body, wanted, framing)

    def test_what_one_head_says_no_other_does(self) -> None:
        """Defaults stay with the class."""
        said = request(b"Content-Length: 5", b"Connection: close", b"Via: x", b"User-Agent: y")
        silent = request()
        self.assertEqual((said.length, said.keep_alive, said.has_forwarded, said.user_agent), (5, False, True, b"y"))
        found = (silent.length, silent.keep_alive, silent.has_forwarded, silent.user_agent)
        self.assertEqual(found, (0, True, False, None))

    def test_how_they_read(self) -> None:
        self.assertEqual(repr(request(b"Content-Length: 5")), "<RequestHead b'POST /a HTTP/1.1' length>")
        response = parse_response(b"HTTP/1.1 200 OK\r\n\r\n")
        assert isinstance(response, ResponseHead)
        self.assertEqual(repr(response), "<ResponseHead b'HTTP/1.1 200 OK' close>")


class BadMessageTests(SynchronousTestCase):
    def test_it_says_why(self) -> None:
        error = BadMessage(400, "it has no Host")
        self.assertEqual((str(error), error.status, error.why), ("it has no Host", 400, "it has no Host"))
