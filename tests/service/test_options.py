"""The options of C{twistd pipe}: what each means, what C{--help} says of it, and what is said when it is wrong."""

from __future__ import annotations

import io
import os
import resource
import shlex
import sys
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

import twisted_pipe
from tests.net.fakes import Engine
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.limits import GIB, KIB, MIB, PipeLimits
from twisted_pipe.net.spillfile import default_temp_path
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.maker import Options, makeService
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.service.pipe_service import PipeService
from twisted_pipe.service.refusal import one_line_errors
from twisted_pipe.service.stream_server import StreamServer

PLACES = ("--listen", "tcp:8080", "--upstream", "127.0.0.1:9000")


class OptionsCase(SynchronousTestCase):
    def configured(self, *arguments: str, places: tuple[str, ...] = PLACES) -> PipeConfiguration:
        options = PipeOptions()
        options.parseOptions([*places, *arguments])
        return options.configuration(MemoryReactorClock())

    def server(self, *arguments: str, places: tuple[str, ...] = PLACES) -> StreamServer:
        (server,) = self.configured(*arguments, places=places).servers
        assert isinstance(server, StreamServer)
        return server

    def settings(self, *arguments: str) -> ProxySettings:
        return self.server(*arguments).settings

    def limits(self, *arguments: str) -> PipeLimits:
        return self.settings(*arguments).limits

    def refused(self, *arguments: str, places: tuple[str, ...] = PLACES) -> str:
        """The line that is printed instead of starting."""
        options = PipeOptions()
        with self.assertRaises(SystemExit) as caught, one_line_errors():
            options.parseOptions([*places, *arguments])
            options.configuration(MemoryReactorClock())
        code: Any = caught.exception.code
        self.assertTrue(code.startswith("twistd pipe: "))
        self.assertNotIn("\n", code)
        line: str = code.removeprefix("twistd pipe: ")
        return line


class MeaningTests(OptionsCase):
    def test_defaults(self) -> None:
        found = self.configured()
        self.assertEqual(self.settings(), ProxySettings(limits=PipeLimits(read_timeout=0)))
        self.assertEqual(found.spill.path, default_temp_path())
        self.assertIsNone(found.pid_file)

    def test_places(self) -> None:
        """Both can be given more than once, and keep their order."""
        found = self.server("--listen", "[::1]:8081", "--upstream", "unix:/run/app")
        assert found.group is not None
        self.assertEqual([listener.text for listener in found.listeners], ["tcp:8080", "[::1]:8081"])
        self.assertEqual([server.name for server in found.group.servers], ["127.0.0.1:9000", "unix:/run/app"])

    def test_filters(self) -> None:
        found = self.settings(
            *("--filter", "upper", "--filter", "throttle:rate=1k:burst=2k"),
            *("--request-filter", "hexdump", "--request-filter", "upper"),
        )
        self.assertEqual([each.name for each in found.response_filters], ["upper", "throttle"])
        self.assertEqual([each.name for each in found.request_filters], ["hexdump", "upper"])

    def test_protocol(self) -> None:
        self.configured("--protocol", "tcp")

    def test_buffering(self) -> None:
        self.assertTrue(self.limits("--buffering", "on").buffering)
        self.assertFalse(self.limits("--buffering", "off").buffering)

    def test_access_log(self) -> None:
        self.assertFalse(self.settings().access_log)
        self.assertFalse(self.settings("--access-log", "off").access_log)
        self.assertTrue(self.settings("--access-log", "on").access_log)

    def test_debug_events(self) -> None:
        self.assertFalse(self.configured().debug_events)
        options = PipeOptions()
        options.parseOptions([*PLACES, "--debug-events"])
        self.assertTrue(options.configuration(Engine(self).reactor).debug_events)
        self.assertEqual(
            self.refused("--debug-events"),
            "--debug-events: '': must be left out on this reactor: only epollet can (twistd --reactor=epollet)",
        )

    def test_worker_connections(self) -> None:
        self.assertEqual(self.configured().worker_connections, 0)
        self.assertEqual(self.configured("--worker-connections", "0").worker_connections, 0)
        options = PipeOptions()
        options.parseOptions([*PLACES, "--worker-connections", "100"])
        self.assertEqual(options.configuration(Engine(self).reactor).worker_connections, 100)

    def test_buffers(self) -> None:
        """What is not given follows the size of a buffer."""
        found = self.limits("--buffers", "16 4k")
        self.assertEqual((found.buffers, found.buffer_size), (16, 4 * KIB))
        self.assertEqual((found.busy_size, found.temp_file_write_size), (60 * KIB, 8 * KIB))

    def test_sizes(self) -> None:
        found = self.limits(
            *("--busy-size", "96k", "--max-temp-file-size", "10m", "--temp-file-write-size", "128K"),
            *("--limit-rate", "1500"),
        )
        self.assertEqual(found.busy_size, 96 * KIB)
        self.assertEqual(found.max_temp_file_size, 10 * MIB)
        self.assertEqual(found.temp_file_write_size, 128 * KIB)
        self.assertEqual(found.limit_rate, 1500)
        self.assertEqual(self.limits("--max-temp-file-size", "0").max_temp_file_size, 0)
        self.assertEqual(self.limits("--max-temp-file-size", "2g").max_temp_file_size, 2 * GIB)

    def test_timeouts(self) -> None:
        found = self.settings(
            *("--connect-timeout", "250ms", "--read-timeout", "1m", "--send-timeout", "1.5s"),
            *("--idle-timeout", "1h", "--lingering-timeout", "2"),
        )
        self.assertEqual(found.connect_timeout, 0.25)
        self.assertEqual(found.limits.read_timeout, 60)
        self.assertEqual(found.limits.send_timeout, 1.5)
        self.assertEqual(found.idle_timeout, 3600)
        self.assertEqual(found.lingering_timeout, 2)

    def test_off(self) -> None:
        names = ("connect", "read", "send", "idle", "lingering")
        found = self.settings(*(text for name in names for text in (f"--{name}-timeout", "0")))
        self.assertEqual(
            (found.connect_timeout, found.idle_timeout, found.lingering_timeout, found.limits.read_timeout),
            (0, 0, 0, 0),
        )
        self.assertEqual(found.limits.send_timeout, 0)

    def test_connect_timeout_reaches_the_endpoint(self) -> None:
        """The endpoint would otherwise give up after its own 30 s."""
        reactor = MemoryReactorClock()
        options = PipeOptions()
        options.parseOptions([*PLACES, "--connect-timeout", "2m"])
        [stream] = options.configuration(reactor).servers
        [server] = stream.group.servers  # type: ignore[attr-defined]
        self.assertNoResult(server.endpoint.connect(None))
        self.assertEqual(reactor.tcpClients[0][3], 121)

    def test_paths_are_absolute(self) -> None:
        """A daemon changes its directory."""
        folder = self.mktemp()
        os.makedirs(folder)
        found = self.configured("--temp-path", folder, "--pid-file", os.path.join(folder, "pipe.pid"))
        self.assertEqual(found.spill.path, os.path.abspath(folder))
        assert found.pid_file is not None
        self.assertEqual(found.pid_file.path, os.path.abspath(os.path.join(folder, "pipe.pid")))

    def test_empty_temp_path_is_the_default(self) -> None:
        self.assertEqual(self.configured("--temp-path", "").spill.path, default_temp_path())

    def test_demo(self) -> None:
        found = self.server("--demo", "--buffers", "4 4k", places=())
        self.assertEqual((found.listeners, found.group, found.settings.limits.buffers), ((), None, 4))
        self.assertEqual(len(self.server("--demo", "--listen", "0", places=()).listeners), 1)

    def test_the_last_one_counts(self) -> None:
        self.assertEqual(self.limits("--limit-rate", "1k", "--limit-rate", "2k").limit_rate, 2 * KIB)


class RefusalTests(OptionsCase):
    def assert_refused(self, option: str, value: str, expected: str) -> None:
        self.assertEqual(self.refused(option, value), f"{option}: {value!r}: {expected}")

    def test_missing(self) -> None:
        self.assertEqual(
            self.refused(places=()),
            "--listen: missing: must say where clients connect, such as --listen 8080 (or --config FILE, or try --demo)",
        )
        self.assertEqual(
            self.refused(places=("--listen", "8080")),
            "--upstream: missing: must say where to pass them on to, such as --upstream 127.0.0.1:9000",
        )

    def test_demo_with_upstream(self) -> None:
        self.assertEqual(
            self.refused("--demo"), "--upstream: '127.0.0.1:9000': must be left out: --demo brings its own"
        )

    def test_sizes(self) -> None:
        rule = "a size: a whole number of bytes, or with k, m or g (16k, 1g)"
        for option in ("--busy-size", "--max-temp-file-size", "--temp-file-write-size", "--limit-rate"):
            for value in ("fast", "-1", "", "1t", "1.5k"):
                self.assert_refused(option, value, rule)

    def test_times(self) -> None:
        rule = "a time: a number of seconds, or with ms, s, m, h or d (250ms, 10m)"
        for name in ("connect", "read", "send", "idle", "lingering"):
            for value in ("soon", "-1", "", "1y"):
                self.assert_refused(f"--{name}-timeout", value, rule)
            self.assert_refused(f"--{name}-timeout", "99999999d", "must be less than 1000000000 s")

    def test_buffers(self) -> None:
        rule = 'must be a number and a size: "8 32k"'
        for value in ("8", "", "8 32k 2", "32k"):
            self.assert_refused("--buffers", value, rule)
        self.assert_refused("--buffers", "8 x", f"{rule} ('x')")
        self.assert_refused("--buffers", "x 8k", f"{rule} ('x')")
        self.assert_refused("--buffers", "1 32k", "must be at least 2")
        self.assert_refused("--buffers", "8 0", "must be at least 1")
        self.assert_refused("--buffers", "70000 1k", "at most 65536 buffers")
        self.assert_refused("--buffers", "65536 1g", "65536 buffers of it exceed 68719476736 bytes")

    def test_unquoted_buffers(self) -> None:
        expected = "argument: '16k': must follow an option; a value with a space needs quotes: \"8 32k\""
        self.assertEqual(self.refused("--buffers", "8", "16k"), expected)

    def test_impossible_combinations(self) -> None:
        one = "must be at least one buffer (32768 bytes)"
        self.assert_refused("--busy-size", "1k", one)
        self.assert_refused("--busy-size", "256k", "must leave one buffer to read into: at most 229376 bytes")
        self.assert_refused("--temp-file-write-size", "1k", one)
        self.assert_refused(
            "--max-temp-file-size", "1k", "must be 0 (never spill) or at least one buffer (32768 bytes)"
        )
        self.assertEqual(
            self.refused("--buffers", "2 2g"),
            "--max-temp-file-size: '1g': must be 0 (never spill) or at least one buffer (2147483648 bytes)",
        )

    def test_choices(self) -> None:
        self.assert_refused("--buffering", "maybe", "must be on or off")
        self.assert_refused("--protocol", "htp", 'no such protocol; did you mean "http"? Known: http, tcp')
        self.assert_refused("--protocol", "http:x=y", "http has no options here")
        self.assert_refused("--access-log", "maybe", "must be off or on")

    def test_worker_connections(self) -> None:
        for value in ("many", "-1", "", "1k"):
            line = self.refused("--worker-connections", value)
            self.assertTrue(line.startswith(f"--worker-connections: {value!r}: "), line)
        self.assertEqual(
            self.refused("--worker-connections", "100"),
            "--worker-connections: 100: must be left out on this reactor: only epollet can (twistd --reactor=epollet)",
        )

    def test_more_worker_connections_than_files(self) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        options = PipeOptions()
        options.parseOptions([*PLACES, "--worker-connections", str(files + 1)])
        error = self.assertRaises(BadConfiguration, options.configuration, Engine(self).reactor)
        self.assertIn(f"must be at most the limit on open files, which is {files} (ulimit -n)", str(error))

    def test_temp_path(self) -> None:
        missing = self.mktemp()
        self.assert_refused("--temp-path", missing, "does not exist; an existing, writable directory is needed")
        self.assert_refused("--temp-path", __file__, "is not a directory; an existing, writable directory is needed")

    def test_pid_file(self) -> None:
        self.assert_refused("--pid-file", "/no/such/place/pid", "must be in a directory that exists")
        self.assert_refused("--pid-file", "/", "must be a file, and is a directory")

    def test_endpoints(self) -> None:
        line = self.refused("--listen", "tcp:127.0.0.1:8080")
        self.assertTrue(
            line.startswith("--listen: 'tcp:127.0.0.1:8080': '127.0.0.1' is no number; must be PORT, "), line
        )
        line = self.refused("--upstream", "tcp:8080")
        self.assertTrue(line.startswith("--upstream: 'tcp:8080': it lacks 'port'; must be HOST:PORT, "), line)

    def test_filters(self) -> None:
        for option in ("--filter", "--request-filter"):
            self.assertIn(f"{option}: 'uper': no such filter; did you mean \"upper\"?", self.refused(option, "uper"))
            self.assertEqual(
                self.refused(option, "throttle:rate=x"),
                f"{option} throttle: rate: 'x': a size: a whole number of bytes, or with k, m or g (16k, 1g)",
            )

    def test_command_line(self) -> None:
        self.assertEqual(self.refused("--nonsense"), "option --nonsense not recognized; --help lists the options")
        self.assertEqual(self.refused("--listen"), "option --listen requires argument; --help lists the options")
        self.assertIn("stray", self.refused("stray"))


class HelpTests(OptionsCase):
    def said(self, *arguments: str) -> str:
        """What is printed for these arguments, which end the process with status 0."""
        stdout = io.StringIO()
        self.patch(sys, "stdout", stdout)
        with self.assertRaises(SystemExit) as caught:
            PipeOptions().parseOptions(list(arguments))
        self.assertIn(caught.exception.code, (0, None))
        return stdout.getvalue()

    def described(self) -> dict[str, str]:
        """What C{--help} says of each option, as one line."""
        options = self.said("--help").partition("Options:\n")[2].partition("\n\n")[0]
        found: dict[str, str] = {}
        name = ""
        for line in options.splitlines():
            words = line.split()
            if words[0].startswith("--") and line.index("--") == 6:
                name = words.pop(0).rstrip("=")
                found[name] = ""
            found[name] += " ".join(words) + " "
        return found

    def test_units_and_defaults(self) -> None:
        described = self.described()
        for option, unit, default in (
            ("--protocol", "tcp", "tcp"),
            ("--buffering", "on", "on"),
            ("--buffers", "bytes", "8 32k"),
            ("--busy-size", "SIZE (bytes)", "all but one"),
            ("--max-temp-file-size", "SIZE (bytes)", "1g"),
            ("--temp-file-write-size", "SIZE (bytes)", "two buffers"),
            ("--temp-path", "Directory", default_temp_path()),
            ("--limit-rate", "SIZE (bytes) a second", "0"),
            ("--connect-timeout", "TIME (seconds)", "60s"),
            ("--read-timeout", "TIME (seconds)", "0; http: 60s"),
            ("--send-timeout", "TIME (seconds)", "60s"),
            ("--idle-timeout", "TIME (seconds)", "10m"),
            ("--lingering-timeout", "TIME (seconds)", "5s"),
            ("--access-log", "session", "off"),
            ("--worker-connections", "NUMBER", "0"),
            ("--pid-file", "process number", "none"),
        ):
            self.assertIn(unit, described[option])
            self.assertIn(f"[default: {default}]", described[option])
        named = (
            "--listen",
            "--upstream",
            "--filter",
            "--request-filter",
            "--demo",
            "--test",
            "--debug-events",
            "--help",
            "--version",
        )
        for option in named:
            self.assertTrue(described.pop(option).strip(), option)

    def test_the_defaults_it_states_are_the_defaults(self) -> None:
        limits, defaults = PipeLimits(), PipeOptions()
        self.assertEqual(self.limits("--buffers", defaults["buffers"]).buffer_size, limits.buffer_size)
        self.assertEqual(limits.busy_size, (limits.buffers - 1) * limits.buffer_size)
        self.assertEqual(limits.temp_file_write_size, 2 * limits.buffer_size)

    def test_readable(self) -> None:
        """No line is wider than a terminal, no text has the indentation of its source, and there are examples."""
        text = self.said("--help")
        self.assertEqual([line for line in text.splitlines() if len(line) > 80], [])
        self.assertEqual([text for text in self.described().values() if "  " in text.strip()], [])
        self.assertIn("--listen ENDPOINT --upstream ENDPOINT [options] | --config FILE", " ".join(text.split()))
        self.assertIn("or with k, m or g", text)
        self.assertIn("or with ms, s, m, h or d", text)
        self.assertIn("twisted-pipe --listen 8080 --upstream 127.0.0.1:9000", text)
        self.assertIn("upper           Upper-cases ASCII letters", text)

    def test_examples_work(self) -> None:
        examples = self.said("--help").partition("\nExamples:\n")[2].replace("\\\n", " ").splitlines()
        commands = [shlex.split(line) for line in examples if line.startswith("    ")]
        self.assertEqual(
            [command[0] for command in commands], ["twisted-pipe", "twistd", "twisted-pipe", "twisted-pipe"]
        )
        self.assertEqual(commands.pop(), ["twisted-pipe", "--config", "/etc/pipe.toml"])
        for command in commands:
            arguments = [default_temp_path() if word == "/var/spool/pipe" else word for word in command]
            start = "--protocol" if "--protocol" in arguments else "--listen"
            self.configured(*arguments[arguments.index(start) :], places=())

    def test_traps_are_explained(self) -> None:
        listen = self.described()["--listen"]
        for words in ("127.0.0.1:8080 is tcp:8080:interface=127.0.0.1", "[IPV6]:PORT", "unix:/PATH"):
            self.assertIn(words, listen)
        self.assertIn("ssl:8443:", listen)
        self.assertIn("https://HOST[:PORT]", self.described()["--upstream"])
        self.assertIn("legitimate", self.described()["--read-timeout"])

    def test_filters_of_both_kinds(self) -> None:
        filters, messages = self.said("--help-filters").split("\n\nMessage filters\n\n")
        self.assertTrue(filters.startswith("Filters\n\n"), filters)
        self.assertIn("\n\nupper: Upper-cases ASCII letters: the example.\n", filters)
        self.assertIn("\n\nbasic-auth: ", messages)
        self.assertIn("\n    realm=TEXT: ", messages)

    def test_a_filter_of_either_kind(self) -> None:
        self.assertIn("\n--filter throttle[:key=value...]\n    rate=SIZE", self.said("--help-filter", "throttle"))
        said = self.said("--help-filter", "basic-auth")
        self.assertIn('\nmessage_filters = ["basic-auth[:key=value...]"]\n    file=TEXT', said)

    def test_no_filter_of_that_name(self) -> None:
        said = self.refused("--help-filter", "basic-aut")
        self.assertIn("filter: 'basic-aut': no such filter. Filters: ", said)
        self.assertIn('; no such message filter; did you mean "basic-auth"? Message filters: ', said)

    def test_version(self) -> None:
        self.assertTrue(self.said("--version").startswith(f"twisted_pipe {twisted_pipe.__version__} (Twisted "))


class MakerTests(SynchronousTestCase):
    def test_service(self) -> None:
        options = Options()
        options.parseOptions(list(PLACES))
        self.assertIsInstance(makeService(options), PipeService)

    def test_refusal(self) -> None:
        options = Options()
        options.parseOptions(["--listen", "70000", "--upstream", "9000"])
        with self.assertRaises(SystemExit) as caught:
            makeService(options)
        self.assertIn("twistd pipe: --listen: '70000': 70000 is no port; must be ", str(caught.exception.code))
