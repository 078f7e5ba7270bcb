# test_mask_asked.py
from unittest import mock

import mask_asked
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.names.dns import Record_A, RRHeader
from twisted.names.error import DNSNameError, DNSServerError
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import FilterFailed
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.testing import FilterHarness

CONTEXT = FilterContext(client=IPv4Address("TCP", "192.0.2.1", 50000))
LISTED = [RRHeader(payload=Record_A("127.0.0.2"))], [], []


class MaskAskedTests(SynchronousTestCase):
    def setUp(self):
        self.answer = Deferred()
        self.look_up = mock.Mock(return_value=self.answer)
        self.patch(mask_asked, "lookupAddress", self.look_up)
        self.harness = FilterHarness(mask_asked.MaskAsked, context=CONTEXT)

    def test_waits_for_the_answer(self):
        self.harness.feed(b"a@b")
        self.assertEqual(self.harness.take(), b"")
        self.look_up.assert_called_once_with("1.2.0.192.trusted.example.com")
        self.answer.callback(LISTED)
        self.assertEqual(self.harness.take(), b"a@b")

    def test_others(self):
        self.harness.feed(b"a@b")
        self.answer.errback(DNSNameError())
        self.assertEqual(self.harness.take(), b"a*b")

    def test_no_answer_at_all(self):
        self.harness.feed(b"a@b")
        self.assertRaises(FilterFailed, self.harness.advance, 61)

    def test_name_server_fails(self):
        self.look_up.return_value = fail(DNSServerError())
        self.assertRaises(FilterFailed, self.harness.feed, b"a@b")
