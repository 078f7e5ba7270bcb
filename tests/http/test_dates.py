from __future__ import annotations

import calendar
import contextlib
import locale
from email.utils import formatdate

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.dates import http_date


class DateTests(SynchronousTestCase):
    def test_the_example_of_the_rfc(self) -> None:
        """RFC 9110, section 5.6.7."""
        seconds = calendar.timegm((1994, 11, 6, 8, 49, 37))
        self.assertEqual(http_date(seconds), b"Sun, 06 Nov 1994 08:49:37 GMT")

    def test_as_the_standard_library(self) -> None:
        for day in range(800):
            seconds = 1_700_000_000 + day * 86_400 + day * 61
            self.assertEqual(http_date(seconds), formatdate(seconds, usegmt=True).encode())

    def test_whatever_the_locale(self) -> None:
        before = locale.setlocale(locale.LC_ALL)
        self.addCleanup(locale.setlocale, locale.LC_ALL, before)
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
        self.assertEqual(http_date(5 * 30 * 86400), b"Sun, 31 May 1970 00:00:00 GMT")

    def test_a_second_is_made_once(self) -> None:
        self.assertIs(http_date(1000.0), http_date(1000.999))
        self.assertNotEqual(http_date(1000.999), http_date(1001))
        self.assertEqual(http_date(1000), b"Thu, 01 Jan 1970 00:16:40 GMT")
