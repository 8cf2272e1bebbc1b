"""Archives and pickles made to harm who opens them, for the tests and for `bench/hostile.py`."""

from __future__ import annotations

import io
import zipfile


def archive(pickled: bytes, members: int = 0) -> bytes:
    """Return a checkpoint of PyTorch that holds this pickle, and so many empty members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        writer.writestr("a/data.pkl", pickled)
        writer.writestr("a/version", "3")
        for at in range(members):
            writer.writestr(f"a/data/{at}", b"")
    return file.getvalue()


def called(function: str, number: int) -> bytes:
    """Return a pickle of a state whose one value is a function called with a number."""
    module, _, name = function.rpartition(".")
    size = number.to_bytes(8, "little")
    return b"\x80\x02}X\x01\0\0\0w" + f"c{module}\n{name}\n".encode() + b"\x8a\x08" + size + b"\x85Rs."
