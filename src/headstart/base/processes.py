"""Python processes of our own: they run nothing of the user's, and a task that takes too much ends with its process.

A decoder that is given a hostile file can take minutes, gigabytes, or the process with it, and a thread in the middle
of C code cannot be stopped. `run_limited` hands such a task to a worker process, which is started once and reused; the
operating system ends it where it exceeds the limits, and the next task starts another.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from headstart.base import errors
from headstart.base.config import cores

MAX_SECONDS = 5.0
"""Of processor that one task may take."""
MAX_BYTES = 300 << 20
"""Of memory that one task may take beyond what its process and the file itself hold."""
WAIT = 12.0
"""Times that, by the clock, where it neither computes nor ends."""
INHERITED = frozenset({"PYTHONHOME", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE"})
"""Variables of Python that a process inherits; the others can make it load code, from the working folder for one."""
FRAME = struct.Struct(">IQ")


@dataclass(frozen=True)
class Limits:
    """What a task may take."""

    seconds: float = MAX_SECONDS  # of processor
    size: int = MAX_BYTES  # bytes of memory beyond what its process and the file itself hold
    patience: float = WAIT  # times the seconds of processor, by the clock

    @property
    def wait(self) -> float:
        """The seconds that it may take by the clock."""
        return self.patience * self.seconds


LIMITS = Limits()


class TaskError(Exception):
    """A task was ended, or its process died; the text is the reason, as a clause."""


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours in a process of its own."""
    return [sys.executable, "-P", "-s", "-m", module, *arguments]


def start_python(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Run a module of ours in a process of its own, with pipes to its standard input and output."""
    return subprocess.Popen(
        python_command(module, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=python_environment(),
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process with pipes, whatever it is doing."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    process.wait()


def python_environment() -> dict[str, str]:
    """Return the environment of such a process: it finds what this one can import, and nothing in the working folder.

    A user's folder may hold a file `numpy.py` or `json.py`, which must not be taken for the library.
    """
    package = os.path.realpath(Path(__file__).parents[2])
    unsafe = {os.path.realpath(os.curdir)} - {package}
    paths = [path for path in sys.path if path and os.path.realpath(path) not in unsafe]
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name in INHERITED
    }
    return {**inherited, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths))}


def run_limited(
    function: str,
    data: bytes = b"",
    *,
    limits: Limits = LIMITS,
    workers: Workers | None = None,
    **arguments: Any,
) -> tuple[dict[str, Any], bytes]:
    """Run a function in a worker process, and return what it returns; a UsageError that it raises is raised here.

    Args:
        function: as `module:name`; it is given `data` and the arguments, and returns plain values and bytes.
        data: its first argument.
        limits: what it may take.
        workers: the processes that do it; by default those that all tasks share.
        **arguments: plain values.

    Raises:
        TaskError: it took more, or ended its process.
    """
    task = {"function": function, "limits": asdict(limits), "arguments": arguments}
    values, result = (workers or WORKERS).run(task, data, limits)
    if "fault" in values:
        raise TaskError(str(values["fault"]))
    if "refusal" in values:
        kind, *reasons = values["refusal"]
        raise getattr(errors, kind)(*reasons)
    return values, result


class _Worker:
    def __init__(self) -> None:
        self.process = start_python(__name__)

    def run(self, task: Mapping[str, Any], data: bytes, limits: Limits) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(limits.wait, self.process.kill)
        timer.daemon = True
        try:
            timer.start()
            _write_frame(self.process.stdin, task, data)
            return _read_frame(self.process.stdout)
        except (EOFError, BrokenPipeError):
            raise TaskError(self._cause_of_death(limits)) from None
        finally:
            timer.cancel()

    def _cause_of_death(self, limits: Limits) -> str:
        code = self.process.wait()
        if code == -signal.SIGPROF:
            return f"takes more than {limits.seconds:.0f} s"
        if code == -signal.SIGKILL:
            return f"does not end within {limits.wait:.0f} s, or takes all of the memory there is"
        return f"ends the process that reads it ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


class Workers:
    """Idle workers, at most one a core; each is started when it is first wanted."""

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._started = False
        self._lock = threading.Lock()

    def run(self, task: Mapping[str, Any], data: bytes, limits: Limits) -> tuple[dict[str, Any], bytes]:
        """Return what a task returns; raises TaskError where it took more than its limits, or ended its process."""
        self._start()
        worker = self._idle.get() or _Worker()
        try:
            answer = worker.run(task, data, limits)
        except BaseException:
            end_process(worker.process)
            self._idle.put(None)
            raise
        self._idle.put(worker)
        return answer

    def _start(self) -> None:
        with self._lock:
            if not self._started:
                self._started = True
                for _ in range(cores()):
                    self._idle.put(None)
                atexit.register(self.close)

    def close(self) -> None:
        """End those that are idle."""
        with suppress(queue.Empty):
            while True:
                worker = self._idle.get_nowait()
                if worker is not None:
                    end_process(worker.process)


WORKERS = Workers()


def _write_frame(file: IO[bytes], values: Mapping[str, Any], data: bytes) -> None:
    header = json.dumps(values).encode()
    file.write(FRAME.pack(len(header), len(data)) + header)
    file.write(data)
    file.flush()


def _read_frame(file: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    header, data = FRAME.unpack(_read_whole(file, FRAME.size))
    return json.loads(_read_whole(file, header)), _read_whole(file, data)


def _read_whole(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _serve() -> None:
    """Do the tasks that come on standard input until it ends; Ctrl-C is for the process that waits for them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not write between the answers
    with suppress(EOFError, BrokenPipeError):
        while True:
            task, data = _read_frame(sys.stdin.buffer)
            module, _, name = task["function"].partition(":")
            function = getattr(import_module(module), name)
            limits = Limits(**task["limits"])
            try:
                with_limits(limits.seconds, limits.size)
                values, result = function(data, **task["arguments"])
            except MemoryError:
                values, result = {"fault": f"takes more than {limits.size >> 20} MiB of memory"}, b""
            except errors.UsageError as error:
                kind = next(kind.__name__ for kind in type(error).__mro__ if hasattr(errors, kind.__name__))
                values, result = {"refusal": [kind, error.must, str(error.received), error.remedy]}, b""
            finally:
                with_limits(None, None)
            _write_frame(answers, values, result)
            del data, result


def with_limits(seconds: float | None, size: int | None) -> None:
    """Let this process end after so much processor time, and get no more memory than that; None for no limit.

    Where the system knows neither limit (Windows), only `Limits.wait` holds.
    """
    try:
        import resource
    except ImportError:
        return
    signal.setitimer(signal.ITIMER_PROF, seconds or 0)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if size is None else _data_bytes() + size
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _data_bytes() -> int:
    """Return the bytes of memory that count against the limit now."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 1 << 30
    return int(status.partition("VmData:")[2].split()[0]) * 1024


if __name__ == "__main__":
    _serve()
