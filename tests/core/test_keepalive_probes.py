from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.core.keepalive_probes import KeepaliveProbes


class KeepaliveProbesTests(SynchronousTestCase):
    def test_all_three(self) -> None:
        self.assertEqual(KeepaliveProbes.parse("30s:10s:3"), KeepaliveProbes(30, 10, 3))
        self.assertEqual(KeepaliveProbes.parse("30:10:3"), KeepaliveProbes(30, 10, 3))

    def test_units(self) -> None:
        self.assertEqual(KeepaliveProbes.parse("1h:2m:1"), KeepaliveProbes(3600, 120, 1))
        self.assertEqual(KeepaliveProbes.parse("1H:2M:1"), KeepaliveProbes(3600, 120, 1))

    def test_what_is_left_out_is_the_system_s(self) -> None:
        self.assertEqual(KeepaliveProbes.parse("1m::"), KeepaliveProbes(idle=60))
        self.assertEqual(KeepaliveProbes.parse(":7:"), KeepaliveProbes(interval=7))
        self.assertEqual(KeepaliveProbes.parse("::5"), KeepaliveProbes(count=5))
        self.assertEqual(KeepaliveProbes.parse("::"), KeepaliveProbes())

    def test_the_largest_that_linux_takes(self) -> None:
        self.assertEqual(KeepaliveProbes.parse("32767:32767:127"), KeepaliveProbes(32767, 32767, 127))

    def test_nothing_else(self) -> None:
        wrong = [
            "",
            "on",
            "30",
            "30:10",
            "1:1:1:1",
            "s::",
            "0::",
            "0s::",
            ":0:",
            "::0",
            "::3s",
            "::128",
            "32768::",
            "10h::",
        ]
        wrong += ["-1::", "+1::", "1.5::", "1 ::", "1ms::", "1d::", "\u0661::", "999999::", "1_0::", "::0x1"]
        for text in wrong:
            error = self.assertRaises(ValueError, KeepaliveProbes.parse, text)
            self.assertIn("idle:interval:count", str(error))
