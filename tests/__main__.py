"""
All tests, in the processes they need: C{python -m tests}.

trial runs the TestCases, on Twisted's default reactor and on ours; pytest runs the end-to-end functions, which need a running
reactor and so a process of their own. Exits with 1 if any of them failed. Arguments are passed to nobody: to run one test, call
C{trial tests.core.test_pipe} or C{pytest tests/e2e -k name}.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

#: Title, what to run, and what the environment says besides: that mutations are tried on one reactor is enough.
RUNS: tuple[tuple[str, list[str], dict[str, str]], ...] = (
    ("trial, default reactor", ["-m", "twisted.trial", "tests"], {"TWISTED_PIPE_MUTATIONS": "off"}),
    ("trial, epollet", ["-m", "twisted.trial", "--reactor=epollet", "tests"], {}),
    ("end to end", ["-m", "pytest", "tests/e2e"], {}),
)


def main() -> int:
    failed = []
    for title, command, said in RUNS:
        print(f"\n=== {title}: python {' '.join(command)}", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            if "pytest" not in command:
                command = [*command[:2], f"--temp-directory={scratch}/trial", *command[2:]]
            code = subprocess.call([sys.executable, *command], env={**os.environ, **said})
        print(f"=== {title}: {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
        if code:
            failed.append(title)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.exit(main())
