# test_mask.py
from mask import Mask
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.testing import FilterHarness, check_filter


class MaskTests(SynchronousTestCase):
    def test_address(self):
        self.assertEqual(FilterHarness(Mask).run(b"To: ann", b"@example.com"), b"To: ann*example.com")

    def test_contract(self):
        check_filter(Mask, [b"", b"none", (b"a@b@@", b"a*b**"), bytes(range(256))])
