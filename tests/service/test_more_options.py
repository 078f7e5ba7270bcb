"""Options of the disk, the rates and the engine: what they mean, and what is said when they are wrong."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.net.disks import small_disk
from tests.net.fakes import Engine
from tests.service.test_options import PLACES, OptionsCase
from twisted_pipe.limits import GIB, KIB, MIB
from twisted_pipe.net import spillfile
from twisted_pipe.net.spillfile import SpillDirectory, default_temp_path
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.service.pipe_service import PipeService


class DiskTests(OptionsCase):
    def test_spill_quota(self) -> None:
        self.assertEqual(self.configured().spill.quota.limit, 0)
        self.assertEqual(self.configured("--spill-quota", "10g").spill.quota.limit, 10 * GIB)

    def test_temp_file_threads(self) -> None:
        for arguments, count in (((), 2), (("0",), 0), (("16",), 16)):
            threads = self.configured(*("--temp-file-threads", *arguments) if arguments else ()).spill.threads
            assert threads is not None
            self.assertEqual(threads.count, count)

    def test_their_threads_answer_to_the_reactor(self) -> None:
        reactor = MemoryReactorClock()
        options = PipeOptions()
        options.parseOptions(list(PLACES))
        threads: Any = options.configuration(reactor).spill.threads
        self.assertIs(threads._reactor, reactor)

    def test_no_thread_is_started_before_the_disk_is_slow(self) -> None:
        threads: Any = self.configured().spill.threads
        self.assertEqual((threads.wanted, threads._pool), (False, None))

    def test_what_is_no_size(self) -> None:
        for option in ("spill-quota", "limit-rate-after", "upload-rate"):
            for wrong in ("-1", "many", "1.5g", "10 g", ""):
                line = self.refused(f"--{option}={wrong}")
                self.assertTrue(line.startswith(f"--{option}: "), line)
                self.assertIn("a size", line)

    def test_what_is_no_number(self) -> None:
        for option in ("temp-file-threads", "worker-connections"):
            for wrong in ("-1", "two", "1k", "1.5", "\u0663", ""):
                line = self.refused(f"--{option}={wrong}")
                self.assertTrue(line.startswith(f"--{option}: "), line)
                self.assertIn("a whole number", line)


class RateTests(OptionsCase):
    def test_limit_rate_after(self) -> None:
        self.assertEqual(self.limits().limit_rate_after, 0)
        self.assertEqual(self.limits("--limit-rate", "1k", "--limit-rate-after", "5m").limit_rate_after, 5 * MIB)

    def test_upload_rate(self) -> None:
        settings = self.settings("--upload-rate", "64k")
        self.assertEqual((settings.limits.limit_rate, settings.request_limits.limit_rate), (0, 64 * KIB))

    def test_both_rates(self) -> None:
        settings = self.settings("--limit-rate", "1m", "--upload-rate", "64k")
        self.assertEqual((settings.limits.limit_rate, settings.request_limits.limit_rate), (MIB, 64 * KIB))

    def test_limit_rate_after_does_not_hold_for_the_upload(self) -> None:
        settings = self.settings("--limit-rate-after", "5m", "--upload-rate", "64k")
        self.assertEqual(settings.request_limits.limit_rate_after, 0)

    def test_the_upload_rate_is_told_too(self) -> None:
        """What is done with a connection is said when the service starts."""
        said = self.server("--limit-rate", "1m", "--upload-rate", "64k").describe(SpillDirectory())
        self.assertIn("1.0 MiB/s", said)
        self.assertIn("64.0 KiB/s", said)


class OtherTests(OptionsCase):
    def test_access_log_is_on_or_off(self) -> None:
        self.assertIn("must be off or on", self.refused("--access-log", "maybe"))

    def test_debug_events_takes_no_value(self) -> None:
        self.assertIn("debug-events", self.refused("--debug-events=yes"))

    def test_worker_connections_of_another_reactor(self) -> None:
        line = self.refused("--worker-connections", "100")
        self.assertIn("--worker-connections: ", line)
        self.assertIn("epollet", line)

    def test_worker_connections_reach_the_reactor(self) -> None:
        reactor = Engine(self).reactor
        options = PipeOptions()
        options.parseOptions(["--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9", "--worker-connections", "7"])
        service = PipeService(options.configuration(reactor), reactor)
        service.privilegedStartService()
        self.addCleanup(service.stopService)
        self.assertEqual(reactor.connections.limit, 7)

    def test_each_is_explained(self) -> None:
        usage = PipeOptions().getUsage()
        for option in ("spill-quota", "temp-file-threads", "limit-rate-after", "upload-rate", "access-log"):
            self.assertIn(f"--{option}=", usage)
        self.assertIn("--worker-connections=", usage)
        self.assertIn("--debug-events", usage)


class InMemoryTests(SynchronousTestCase):
    """A temp path on a tmpfs would spill from memory to memory."""

    def warnings(self, *arguments: str) -> list[str]:
        reactor = MemoryReactorClock()
        options = PipeOptions()
        options.parseOptions([*PLACES, *arguments])
        service = PipeService(options.configuration(reactor), reactor)
        with capturedLogs() as logs:
            service.privilegedStartService()
        self.addCleanup(service.stopService)
        return [formatEvent(event) or "" for event in logs if event["log_level"] is LogLevel.warn]

    def test_warned_of(self) -> None:
        with small_disk(self, "64k") as path:
            (line,) = self.warnings("--temp-path", path)
            self.assertTrue(line.startswith(f"temp path: {path} is memory"), line)

    def test_not_if_nothing_is_ever_spilled(self) -> None:
        with small_disk(self, "64k") as path:
            self.assertEqual(self.warnings("--temp-path", path, "--max-temp-file-size", "0"), [])
            self.assertEqual(self.warnings("--temp-path", path, "--buffering", "off"), [])

    def test_not_of_a_disk(self) -> None:
        self.patch(spillfile, "_in_memory", lambda path: False)
        self.assertEqual(self.warnings(), [])

    def test_found_out_of_any_directory_in_it(self) -> None:
        with small_disk(self, "64k") as path:
            os.mkdir(below := os.path.join(path, "below"))
            os.symlink(below, link := os.path.abspath(self.mktemp()))
            for each in (path, below, link):
                self.assertTrue(SpillDirectory(each).in_memory, each)

    def test_a_mount_in_it_is_another_matter(self) -> None:
        with small_disk(self, "64k") as path:
            self.assertTrue(SpillDirectory(path).in_memory)
            self.assertEqual(SpillDirectory(os.path.dirname(path)).in_memory, spillfile._in_memory(os.getcwd()))

    def test_nobody_knows_without_proc(self) -> None:
        self.assertFalse(SpillDirectory("/does/not/exist").in_memory)

    def test_the_default_is_none(self) -> None:
        self.patch(spillfile, "_in_memory", lambda path: path == "/var/tmp")
        self.assertNotEqual(default_temp_path(), "/var/tmp")
        self.patch(spillfile, "_in_memory", lambda path: False)
        if os.path.isdir("/var/tmp"):
            self.assertEqual(default_temp_path(), "/var/tmp")


class StopTests(SynchronousTestCase):
    def test_the_threads_end_with_the_service(self) -> None:
        reactor = MemoryReactorClock()
        options = PipeOptions()
        options.parseOptions(list(PLACES))
        configuration = options.configuration(reactor)
        stopped: list[int] = []

        class Threads:
            def stop(self) -> None:
                stopped.append(1)

        spill: Any = configuration.spill
        spill.threads = Threads()
        service = PipeService(attrs.evolve(configuration, spill=spill), reactor)
        service.privilegedStartService()
        service.stopService()
        self.assertEqual(stopped, [1])
