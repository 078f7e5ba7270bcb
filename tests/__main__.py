"""
All tests, in the processes they need: C{python -m tests}.

trial runs the TestCases, on Twisted's default reactor and on ours; pytest runs the end-to-end functions, which need a running
reactor and so processes of their own, one for each file. As many run at once as there are cores; those that measure, last and
alone. When one is over, in the order of the list, the end of what it printed is shown, and all of it if it failed. Exits with 1 if
any of them failed. Arguments are passed to nobody: to run one test, call C{trial tests.core.test_pipe} or
C{pytest tests/e2e -k name}.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import attrs

E2E = Path("tests/e2e")
#: Those that compare how fast something is with and without something else.
MEASURING = ("test_stalled.py",)
#: Those that take longest, which begin first.
LONG = ("test_http_crowd.py", "test_tcp_proxy.py", "test_transports.py", "test_http_failures.py", "test_http_matrix.py")
#: Trial tests that take long and no reactor runs: they are tried once, with ours.
PURE = ("core", "filters", "fuzz", "http")
LIMIT = 30 * 60  #: seconds of one run; then it is interrupted, and has failed
KEPT = 1 << 20  #: bytes of its output, the last ones
SHOWN = 3  #: lines of the output of one that passed


@attrs.frozen
class Run:
    """
    @ivar command: what Python runs. C{SCRATCH} in it is a directory that is removed afterwards.
    """

    title: str
    command: tuple[str, ...]


@attrs.frozen
class Outcome:
    """
    @ivar output: the end of what it printed.
    @ivar seconds: how long it took.
    """

    run: Run
    code: int
    output: str
    seconds: float


def trial(title: str, *arguments: str) -> Run:
    return Run(title, ("-m", "twisted.trial", "--temp-directory=SCRATCH/trial", *arguments))


def rooms_with_a_reactor() -> list[str]:
    """Packages and modules of trial tests to which it matters which reactor runs, or which are small."""
    found = sorted([*Path("tests").glob("*/__init__.py"), *Path("tests").glob("test_*.py")])
    names = [path.parent.name if path.name == "__init__.py" else path.stem for path in found]
    return [f"tests.{name}" for name in names if name not in PURE]


def end_to_end(file: Path) -> Run:
    return Run(f"end to end, {file.stem}", ("-m", "pytest", "--basetemp=SCRATCH/pytest", str(file)))


def side_by_side() -> list[Run]:
    """What may run beside each other, the longest first."""
    files = [file for file in sorted(E2E.glob("test_*.py")) if file.name not in MEASURING]
    files.sort(key=lambda file: file.name not in LONG)
    return [
        trial("trial, epollet", "--reactor=epollet", "tests"),
        trial("trial, default reactor", *rooms_with_a_reactor()),
        *map(end_to_end, files),
    ]


def carry_out(run: Run) -> Outcome:
    """One run, to its end or to the limit."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as output:
        command = [sys.executable, *(word.replace("SCRATCH", scratch) for word in run.command)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            code = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            code = stop(process)
            output.write(f"\n=== interrupted: it did not end within {LIMIT} s\n".encode())
        output.seek(max(0, output.seek(0, os.SEEK_END) - KEPT))
        return Outcome(run, code, output.read().decode(errors="replace"), time.monotonic() - began)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Interrupt it, so that it stops what it started; it has failed, whatever it says of itself."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(30) or 1
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def outcomes(runs: list[Run], at_once: int) -> Iterator[Outcome]:
    """In the order of C{runs}, each as soon as it and those before it are over."""
    pool = ThreadPoolExecutor(at_once)
    try:
        started: list[Future[Outcome]] = [pool.submit(carry_out, run) for run in runs]
        for each in started:
            yield each.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C nothing more begins


def show(outcome: Outcome) -> None:
    print(f"\n=== {outcome.run.title}: python {' '.join(outcome.run.command)}")
    lines = outcome.output.rstrip("\n").split("\n")
    print("\n".join(lines if outcome.code else lines[-SHOWN:]))
    ended = "FAILED" if outcome.code else "passed"
    print(f"=== {outcome.run.title}: {ended} in {outcome.seconds:.0f} s", flush=True)


def main() -> int:
    failed = []
    cores = len(os.sched_getaffinity(0))
    for runs, at_once in ((side_by_side(), cores), ([end_to_end(E2E / name) for name in MEASURING], 1)):
        print(f"{len(runs)} runs, {at_once} at once", flush=True)
        for outcome in outcomes(runs, at_once):
            show(outcome)
            if outcome.code:
                failed.append(outcome.run.title)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.exit(main())
