"""Reading and checking tables: `python bench/tables.py [--before OTHER/src] [--rows 1000000]`.

Each table is opened in a process of its own, by turns with the code of `--before`; what is shown is the least processor
time in seconds, the peak memory in MiB, and their ratios.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CODE = """
import resource, sys, time
from headstart.data.readers.open import open_dataset
start = time.process_time()
data = open_dataset(sys.argv[1])
seconds = time.process_time() - start
print(len(data), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def tables(folder: Path, rows: int) -> Iterator[Path]:
    """Write tables of texts as TSV, as quoted CSV and as JSON lines, and one of paths; yield each."""
    head = {"plain.tsv": "text\tlabel\n", "quoted.csv": "text,label\n", "paths.csv": "path,label\n", "lines.jsonl": ""}
    line = {
        "plain.tsv": "{0}\t{1}\n",
        "quoted.csv": '"{0}",{1}\n',
        "paths.csv": "photos/{2}.jpg,{1}\n",
        "lines.jsonl": '{{"text": "{0}", "label": "{1}"}}\n',
    }
    (folder / "photos").mkdir()
    for number in range(1000):
        (folder / "photos" / f"{number}.jpg").touch()
    for name, form in line.items():
        with (folder / name).open("w") as file:
            file.write(head[name])
            for row in range(rows):
                text = f"the text of row {row}, which is about as long as a short sentence"
                file.write(form.format(text, f"class {row * 7 % 10}", row % 1000))
        yield folder / name


def main() -> None:
    """Print a table of times and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    here = Path(__file__).parents[1] / "src"
    codes = [here] + ([given.before] if given.before else [])
    with tempfile.TemporaryDirectory() as folder:
        for table in tables(Path(folder), given.rows):
            best: dict[Path, list[tuple[float, float]]] = {code: [] for code in codes}
            for _ in range(given.turns):
                for code in codes:
                    environment = {**os.environ, "PYTHONPATH": str(code)}
                    command = [sys.executable, "-c", CODE, str(table)]
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                    count, seconds, memory = done.stdout.split()
                    assert int(count) == given.rows
                    best[code].append((float(seconds), float(memory)))
            shown = [(min(one[0] for one in best[code]), min(one[1] for one in best[code])) for code in codes]
            ratios = [f"{shown[0][at] / shown[1][at]:.2f}" for at in range(2)] if given.before else []
            print(
                f"{table.name}: {'; '.join(f'{s:.2f} s, {m:.0f} MiB' for s, m in shown)}  {' '.join(ratios)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
