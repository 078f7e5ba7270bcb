from __future__ import annotations

from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.status import error_page, reason, status_line


class StatusTests(SynchronousTestCase):
    def test_names_of_rfc_9110(self) -> None:
        for status, name in (
            (200, b"OK"),
            (404, b"Not Found"),
            (413, b"Content Too Large"),
            (414, b"URI Too Long"),
            (431, b"Request Header Fields Too Large"),
            (499, b"Client Closed Request"),
            (502, b"Bad Gateway"),
            (505, b"HTTP Version Not Supported"),
        ):
            self.assertEqual(reason(status), name)
            self.assertEqual(status_line(status), b"HTTP/1.1 %d %b" % (status, name))

    def test_without_a_name_the_space_stays(self) -> None:
        """RFC 9112, section 4: the reason may be missing, and the space before it not."""
        self.assertEqual(status_line(599), b"HTTP/1.1 599 ")


class Texts(HTMLParser):
    """The texts of a page, and whether its elements are closed in order."""

    def __init__(self, page: bytes) -> None:
        HTMLParser.__init__(self)
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page.decode("ascii"))
        self.close()

    def handle_starttag(self, tag: str, attributes: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data)


class PageTests(SynchronousTestCase):
    def test_it_says_what_happened_and_who_says_so(self) -> None:
        page = Texts(error_page(404, b"somebody"))
        self.assertEqual((page.texts, page.open), (["404 Not Found", "404 Not Found", "somebody"], []))

    def test_or_nobody(self) -> None:
        self.assertEqual(Texts(error_page(502, b"")).texts, ["502 Bad Gateway"] * 2)
