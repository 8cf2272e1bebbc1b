"""What a full disk is said to be."""

import errno
from pathlib import Path

import pytest

from headstart.base.disk import prove_room, reraise_disk_errors, temporary_folder
from headstart.base.errors import UsageError


def test_a_disk_that_is_full_is_one_line_with_the_bytes__DSK_01(tmp_path: Path) -> None:
    by_bytes = pytest.raises(UsageError, match=r"features needs 8 free bytes; found [\d,]+ free bytes; free some space")
    with by_bytes, reraise_disk_errors(tmp_path / "features", 8):
        raise OSError(errno.ENOSPC, "No space left on device")
    by_limit = pytest.raises(UsageError, match=r"needs more free bytes; found a limit on the size of a file")
    with by_limit, temporary_folder() as folder:
        raise OSError(errno.EFBIG, "File too large", str(folder))


def test_room_is_proved_by_writing_and_nothing_is_left(tmp_path: Path) -> None:
    prove_room(tmp_path / "probe", 3 << 20)
    assert not list(tmp_path.iterdir())
