# test_mask_long.py
from mask_long import MaskLong
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.testing import FilterHarness, check_filter

SAMPLES = [
    (b"order 12345, card 4111111111111111.", b"order 12345, card ****************."),
    (b"123456789012", b"************"),
    (b"12345678901", b"12345678901"),
    (b"1234567890123 12 1234567890123", b"************* 12 *************"),
]


class MaskLongTests(SynchronousTestCase):
    def test_contract(self):
        check_filter(MaskLong, SAMPLES)

    def test_option(self):
        self.assertEqual(FilterHarness("mask-long:least=3").run(b"12 1", b"23"), b"12 ***")

    def test_keeps_no_more_than_a_number(self):
        harness = FilterHarness(MaskLong)
        harness.feed(b"9" * 1000)
        self.assertEqual(harness.take(), b"*" * 1000)
