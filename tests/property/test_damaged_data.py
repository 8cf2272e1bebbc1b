"""Damage anywhere in an archive or table ends in an error of ours or a skipped example, never in another exception.

It cannot catch damage inside an uncompressed, unsummed picture: that is the decoder's part.
"""

from __future__ import annotations

import random
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.readers.open import open_dataset, open_inputs

MEMBERS = {
    f"{label}/{number}é.jpg": b"\xff\xd8\xff" + f"{label}{number}".encode() * 9 for label in "ab" for number in range(4)
}


@pytest.fixture(params=["gnu.tar", "pax.tar", "x.zip", "x.parquet", "x.csv"])
def sound(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    for name, data in MEMBERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    if path.suffix == ".tar":
        style = tarfile.PAX_FORMAT if path.stem == "pax" else tarfile.GNU_FORMAT
        with tarfile.open(path, "w", format=style) as tar:
            for name in MEMBERS:
                tar.add(tmp_path / name, name if path.stem == "pax" else f"{name[:2]}{'x' * 120}{name[2:]}")
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in MEMBERS:
                archive.write(tmp_path / name, name)
    elif path.suffix == ".csv":
        path.write_text("path,label,split\n" + "".join(f"{name},{name[0]},train\n" for name in MEMBERS))
    else:
        cells = pa.array([{"bytes": data, "path": name} for name, data in MEMBERS.items()])
        pq.write_table(pa.table({"image": cells, "label": [name[0] for name in MEMBERS]}), path, row_group_size=3)
    return path


def damaged(data: bytes, chance: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(chance.choice((1, 2, 5, 30))):
        at = chance.randrange(len(broken))
        broken[at : at + 1] = bytes([chance.choice((0, 0x30, 0x80, 0xFF, chance.randrange(256)))])
    if chance.random() < 0.2:
        del broken[chance.randrange(1, len(broken)) :]
    return bytes(broken)


def test_damage_is_reported_in_our_own_terms(sound):
    whole, chance, refused = sound.read_bytes(), random.Random(0), []
    assert len(scan(open_dataset(sound), progress=Progress()).dataset) == len(MEMBERS)
    for _ in range(120):
        sound.write_bytes(damaged(whole, chance))
        for opening in (open_dataset, lambda path: open_inputs([path])):
            try:
                scan(opening(sound), progress=Progress())
            except UsageError as error:
                refused.append(str(error))
    assert refused
    assert not any("\n" in message for message in refused)
