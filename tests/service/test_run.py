"""The console script."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from twisted.logger import Logger, LogPublisher
from twisted.python import usage
from twisted.python.log import LogPublisher as LegacyPublisher
from twisted.scripts import twistd
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.refusal import CannotStart
from twisted_pipe.service.run import main, quiet_log


class RunTests(SynchronousTestCase):
    def test_is_twistd_in_the_foreground(self) -> None:
        seen: list[list[str]] = []
        self.patch(sys, "argv", ["twisted-pipe", "--listen", "8080"])
        self.patch(twistd, "run", lambda: seen.append(sys.argv))
        main()
        [[name, *options, foreground, service, listen, port]] = seen
        self.assertEqual(name, "twistd")
        self.assertEqual(options[:2], ["--reactor=epollet", "--pidfile="])
        self.assertEqual((foreground, service, listen, port), ("-n", "pipe", "--listen", "8080"))
        config = twistd.ServerOptions()
        usage.Options.parseOptions(config, options[1:])
        self.assertIs(config["logger"], quiet_log)

    def test_a_start_that_fails_late_has_a_status(self) -> None:
        """twistd has none of its own once the reactor has run."""
        self.patch(sys, "argv", ["twisted-pipe"])
        self.patch(sys, "__stderr__", None)
        self.patch(CannotStart, "told", None)
        refusal = CannotStart(BadConfiguration("--listen", "slow:1", "no"))
        self.patch(twistd, "run", refusal.tell)
        ended = self.assertRaises(SystemExit, main)
        self.assertEqual(ended.code, 1)
        self.patch(twistd, "run", lambda: None)
        main()

    def test_imports_no_reactor(self) -> None:
        """twistd installs it, which fails when there is one."""
        script = (
            "import sys, twisted_pipe.service.run, twisted.scripts.twistd, twisted_pipe.service.maker\n"
            "print('twisted.internet.reactor' in sys.modules)"
        )
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout, "False\n")

    def test_a_reader_that_has_read_enough(self) -> None:
        """C{--help-plugins | head} ends without a traceback, however much of it was in the buffer."""
        for option in ("--help-plugins", "--version"):
            running = subprocess.Popen(
                [sys.executable, "-c", f"from {main.__module__} import main; main()", option],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert running.stdout is not None
            running.stdout.close()
            running.stdout = None
            _, errors = running.communicate()
            self.assertEqual((errors, running.returncode), (b"", 1), option)

    def test_log(self) -> None:
        """On stdout, whatever that is by then, as twistd's own, without what Twisted says of its plugin cache."""
        stdout = io.StringIO()
        self.patch(sys, "stdout", stdout)
        publisher = LogPublisher(quiet_log())
        log, legacy = Logger(observer=publisher), LegacyPublisher(publishPublisher=publisher)
        legacy.msg(format="Unable to write to plugin cache %(path)s: error number %(errno)d", path="/x", errno=13)
        log.info("this {is_said}", is_said="is said")
        legacy.msg("and this")
        said = [line.partition("] ")[2] for line in stdout.getvalue().splitlines()]
        self.assertEqual(said, ["this is said", "and this"])

    def test_broken_dropin(self) -> None:
        """One line, and no traceback, when the filter that is asked for may be in a drop-in that cannot be imported."""
        folder = Path(self.mktemp()).absolute()
        (folder / "twisted" / "plugins").mkdir(parents=True)
        (folder / "twisted" / "plugins" / "sample_broken.py").write_text("import no_such_module")
        arguments = ["--listen", "0", "--upstream", "9", "--filter", "rot13"]
        said = subprocess.run(
            [sys.executable, "-c", "from twisted_pipe.service.run import main; main()", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(folder)])},
        )
        self.assertEqual((said.returncode, said.stdout), (1, ""))
        [line] = said.stderr.splitlines()
        self.assertTrue(line.startswith("twistd pipe: --filter: 'rot13': no such filter"), line)
        self.assertIn("No module named 'no_such_module'", line)
