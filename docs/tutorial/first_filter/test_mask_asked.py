# test_mask_asked.py
from unittest import mock

import mask_asked
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.names.dns import PTR, Record_PTR, RRHeader
from twisted.names.error import DNSServerError
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import FilterFailed
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.testing import FilterHarness

CONTEXT = FilterContext(client=IPv4Address("TCP", "192.0.2.1", 50000))


def named(name):
    return [RRHeader(type=PTR, payload=Record_PTR(name))], [], []


class MaskAskedTests(SynchronousTestCase):
    def setUp(self):
        self.answer = Deferred()
        self.patch(mask_asked, "lookupPointer", mock.Mock(return_value=self.answer))
        self.harness = FilterHarness(mask_asked.MaskAsked, context=CONTEXT)

    def test_waits_for_the_answer(self):
        self.harness.feed(b"a@b")
        self.assertEqual(self.harness.take(), b"")
        self.answer.callback(named("host.example.com"))
        self.assertEqual(self.harness.take(), b"a@b")

    def test_others(self):
        self.harness.feed(b"a@b")
        self.answer.callback(named("host.example.org"))
        self.assertEqual(self.harness.take(), b"a*b")

    def test_no_answer_at_all(self):
        self.harness.feed(b"a@b")
        self.assertRaises(FilterFailed, self.harness.advance, 61)

    def test_name_server_fails(self):
        mask_asked.lookupPointer.return_value = fail(DNSServerError())
        self.assertRaises(FilterFailed, self.harness.feed, b"a@b")
