"""
Twisted's own test suite on C{epollet}, compared by test id with C{epoll}: C{python tests/conformance/compare.py [PACKAGES]}.

Not part of the test run: it takes minutes. Default packages: C{twisted.internet twisted.protocols twisted.web}; C{twisted} for
all. Exits with 1 if a test fails or is skipped on epollet that passes on epoll. Tests that fail on epoll, too (as root, say, or
without a terminal), are listed and do not count.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile

PACKAGES = ["twisted.internet", "twisted.protocols", "twisted.web"]
TIME_LIMIT = 1200
_RESULT = re.compile(r"^(\[(?:FAIL|ERROR|SKIPPED)\])$")
_TEST = re.compile(r"^[\w.]+\.\w+$")


def run(reactor: str, packages: list[str]) -> tuple[dict[str, str], str]:
    """Test id -> FAIL, ERROR or SKIPPED, and trial's summary line."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "twisted.trial",
            f"--reactor={reactor}",
            f"--temp-directory={scratch}/trial",
            *packages,
        ]
        environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, env=environment, cwd=scratch)
    lines = done.stdout.splitlines()
    results: dict[str, str] = {}
    kind = ""
    for line in lines:
        if match := _RESULT.match(line):
            kind = match[1].strip("[]")
        elif kind and _TEST.match(line) and line.startswith("twisted."):
            results[line] = kind
    counted = next((line for line in lines if line.startswith("Ran ")), "")
    return results, f"{counted} {lines[-1] if lines else done.stderr[-500:]}"


def main(packages: list[str]) -> int:
    ours, our_summary = run("epollet", packages)
    theirs, their_summary = run("epoll", packages)
    print(f"epollet: {our_summary}\nepoll:   {their_summary}")
    if "Ran" not in our_summary or "Ran" not in their_summary:
        return 1
    new = {test: kind for test, kind in ours.items() if test not in theirs}
    for test in sorted(set(ours) & set(theirs)):
        if ours[test] != "SKIPPED":
            print(f"fails on both: {test}")
    for test in sorted(theirs.keys() - ours.keys()):
        print(f"only on epoll: {theirs[test]} {test}")
    for test, kind in sorted(new.items()):
        print(f"NEW on epollet: {kind} {test}")
    print(f"{len(new)} new")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or PACKAGES))
