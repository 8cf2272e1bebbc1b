"""Jobs in processes that are forked from one that has imported everything, and that can be killed at any instant.

`Nursery` starts this file as a program, which takes one job a line: a function (`module:name`), its arguments, and when
to send which signal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    code: int  # 0, 2 for an error that its user can mend, 1 for any other, or the signal, negative
    text: str  # what the function returned, or the error
    seconds: float  # since it began, or since the signal where there was one


class Nursery:
    """One process that has imported what `prepare` needs, and forks one for each job."""

    def __init__(
        self, prepare: str, *arguments: object, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(Path(__file__)), prepare, json.dumps([str(value) for value in arguments])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path]), **(environment or {})},
        )

    def run(
        self, job: str, *arguments: object, after: float | None = None, until: Path | None = None, number: int = 0
    ) -> Ended:
        """Run a job to its end, or send it a signal `after` so many seconds.

        They count from the beginning of the job, or from when a file `until` exists (a pattern in its folder).
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        values = [value if isinstance(value, (int, float)) or value is None else str(value) for value in arguments]
        number = number or (signal.SIGKILL if after is not None else 0)
        self.process.stdin.write(json.dumps([job, values, after, str(until or ""), number]) + "\n")
        self.process.stdin.flush()
        return Ended(*json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End it; what it left running, too."""
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


def _born(job: str, values: list[Any], write: int) -> None:
    code, text = 1, ""
    try:
        os.write(write, b".")
        module, _, name = job.partition(":")
        text, code = str(getattr(import_module(module), name)(*values)), 0
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:  # noqa: BLE001 - the process ends here
        from headstart.base.errors import UsageError

        code, text = 2 if isinstance(error, UsageError) else 1, f"{type(error).__name__}: {error}"
        if code == 1:
            traceback.print_exc()
    finally:
        os.write(write, text.encode("utf-8", "backslashreplace")[:60_000])
        os._exit(code)


def _run(job: str, values: list[Any], after: float | None, until: str, number: int) -> Ended:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _born(job, values, write)
    os.close(write)
    os.read(read, 1)
    start = time.monotonic()
    if after is not None:
        path = Path(until)
        while until and not list(path.parent.glob(path.name)) and time.monotonic() < start + 60:
            time.sleep(0.002)
        time.sleep(after)
        os.kill(child, number)
        start = time.monotonic()
    with os.fdopen(read, "rb") as answers:
        text = answers.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, text, time.monotonic() - start)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = sys.argv[1].partition(":")
    getattr(import_module(module), name)(*json.loads(sys.argv[2]))
    for line in sys.stdin:
        ended = _run(*json.loads(line))
        print(json.dumps([ended.code, ended.text, ended.seconds]), file=answers, flush=True)


if __name__ == "__main__":
    main()
