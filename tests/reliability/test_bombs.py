"""Small data files that unpack to gigabytes: refused or skipped, within bounds of time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bombs import BOMBS
from tally import Tally, check_one_line

ROW = "small files that unpack to gigabytes"
SECONDS, MEBIBYTES = 3, 256  # of processor, and beyond what the libraries take
READ = """
import json, sys, time
from pathlib import Path
import pyarrow.parquet
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.readers.open import open_dataset

def peak():
    status = Path("/proc/self/status").read_text()  # `ru_maxrss` is also that of the process that started this one
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10

before, start = peak(), time.process_time()
try:
    found = scan(open_dataset(Path(sys.argv[1])), progress=Progress()).dataset
    outcome = [len(found), found.skipped[0].reason if found.skipped else ""]
except UsageError as error:
    outcome = [0, str(error)]
print(json.dumps([*outcome, time.process_time() - start, peak() - before]))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_unpacks_to_gigabytes_is_refused__CKP_10_TAB_10(name: str, tmp_path: Path, tally: Tally) -> None:
    suffix, make = BOMBS[name]
    path = tmp_path / f"x.{suffix}"
    make(path)
    with tally.attempt(name):
        done = subprocess.run(
            [sys.executable, "-c", READ, str(path)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 0, done.stderr[-1000:]
        used, reason, seconds, mebibytes = json.loads(done.stdout)
        assert used == 0, f"{used} examples were used"
        check_one_line(reason)
        assert seconds < SECONDS and mebibytes < MEBIBYTES, f"{seconds:.1f} s and {mebibytes} MiB"
    tally.check()
