from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.preface.crc32c import crc32c


class Crc32cTests(SynchronousTestCase):
    def test_known_values(self) -> None:
        """The catalogue's check value, and those of RFC 3720, appendix B.4."""
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        for data, crc in (
            (bytes(32), 0x8A9136AA),
            (b"\xff" * 32, 0x62A8AB43),
            (bytes(range(32)), 0x46DD794E),
            (bytes(range(31, -1, -1)), 0x113FDB5C),
        ):
            self.assertEqual(crc32c(data), crc)

    def test_nothing(self) -> None:
        self.assertEqual(crc32c(b""), 0)
