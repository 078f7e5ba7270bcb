"""The console script."""

from __future__ import annotations

import subprocess
import sys

from twisted.scripts import twistd
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.service.run import main


class RunTests(SynchronousTestCase):
    def test_is_twistd_in_the_foreground(self) -> None:
        seen: list[list[str]] = []
        self.patch(sys, "argv", ["twisted-pipe", "--listen", "8080"])
        self.patch(twistd, "run", lambda: seen.append(sys.argv))
        main()
        self.assertEqual(seen, [["twistd", "--reactor=epollet", "--pidfile=", "-n", "pipe", "--listen", "8080"]])

    def test_imports_no_reactor(self) -> None:
        """twistd installs it, which fails when there is one."""
        script = (
            "import sys, twisted_pipe.service.run, twisted.scripts.twistd, twisted_pipe.service.maker\n"
            "print('twisted.internet.reactor' in sys.modules)"
        )
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout, "False\n")
