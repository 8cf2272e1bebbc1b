"""A converted network for which there is no room."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from headstart.base.errors import UsageError
from headstart.engines.openvino import _keep


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_converted_network_that_finds_no_room_is_one_line_and_leaves_nothing__DSK_01(tmp_path: Path) -> None:
    parameter = ops.parameter([1, 2**20], np.float32)
    model = ov.Model([ops.add(parameter, ops.constant(np.arange(2**20, dtype=np.float32)[None]))], [parameter])
    with largest_file(2**20), pytest.raises(UsageError, match=r"needs 4,194,304 free bytes; found a limit on the size"):
        _keep(model, tmp_path / "openvino")
    assert not list(tmp_path.iterdir())
    _keep(model, tmp_path / "openvino")
    assert {path.suffix for path in (tmp_path / "openvino").iterdir()} == {".xml", ".bin", ".json"}
