"""Arrays and tensors as people hold them: pictures of any usual shape and range of values, and labels in any form.

No library is imported to look at them: a tensor is whatever gives a numpy array. What could be read in two ways is an
error that names the ways to say which one is meant.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import DataError
from headstart.data.dataset import BadExample

CHANNELS = (1, 3, 4)
CHANNELS_FIRST = (1, 3)
DIMMEST = 32.0
"""The least greatest value of floats in 0..255: below it, and above 1, nobody can tell what white is."""
_SHAPES = "(n, height, width), (n, height, width, 3) or (n, 3, height, width)"
_WHITE = "give floats in 0..1 or whole numbers in 0..255, such as x / x.max() of the whole set"


def as_array(item: Any) -> NDArray[Any] | None:
    """Return an array or a tensor of any library as a numpy array, and None for what is neither."""
    if isinstance(item, np.ndarray):
        return item
    if isinstance(item, (str, bytes)) or not (
        hasattr(item, "shape") and hasattr(item, "dtype") and hasattr(item, "__array__")
    ):
        return None
    for step in ("detach", "cpu", "numpy"):
        if hasattr(item, step):
            item = getattr(item, step)()
    return np.asarray(item)


class ArrayPictures(Sequence[NDArray[Any]]):
    """Pictures in one array or several, each as uint8 or uint16 of shape (h, w) or (h, w, 3 or 4) when asked for.

    Raises:
        DataError: the channels could be in two places, or the values have a range that tells no white.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], *, axis: int | None = None) -> None:
        """Take pictures one by one; `axis` is that of the channels where their shapes are known to be alike."""
        self._arrays, self._axis = arrays, axis
        self._scale = _scale(arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, position: Any) -> Any:
        array = self._arrays[position]
        try:
            axis = self._axis if self._axis is not None else channel_axis(array.shape)
        except DataError as error:
            reason = f"an array of shape {array.shape}, not (h, w), (h, w, 3), (h, w, 4) or (3, h, w)"
            raise BadExample(reason) from error
        if not array.size:
            raise BadExample("an array without pixels")
        if array.ndim == 3 and axis == 0:
            array = array.transpose(1, 2, 0)
        array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
        if array.dtype.kind == "f" or self._scale != 1:
            return np.rint(np.asarray(array, np.float64) * self._scale).astype(np.uint8)
        return array if array.dtype == np.uint8 else array.astype(np.uint16 if array.max(initial=0) > 255 else np.uint8)


def pictures_of(array: NDArray[Any], *, rows: int | None = None) -> Sequence[NDArray[Any]]:
    """Return the pictures in one array: one, or several in its first axis (which they are where `rows` labels exist).

    Raises:
        DataError: the shape is none of pictures, or could mean two things.
    """
    if array.dtype.kind not in "buif":
        raise DataError("arrays of pictures must hold numbers", f"an array of {array.dtype}", _WHITE)
    if array.ndim == 2 and rows is None:
        return ArrayPictures([array])
    if array.ndim == 3 and rows is None:
        last, first = array.shape[2] in CHANNELS, array.shape[0] in CHANNELS_FIRST
        if last and not first:
            return ArrayPictures([array], axis=2)
        if first:
            raise DataError(
                f"an array of three axes must be {_SHAPES[:18]} or one picture (height, width, 3)",
                f"{array.shape}, which could be either",
                "give x[None] for one picture, or x[..., None] for several grey ones",
            )
    if array.ndim == 3:
        return ArrayPictures(list(array), axis=2)
    if array.ndim == 4:
        return ArrayPictures(list(array), axis=channel_axis(array.shape[1:], array.shape))
    raise DataError(
        f"an array of pictures must be {_SHAPES}",
        f"one of shape {array.shape}",
        "reshape it: x.reshape(n, height, width)",
    )


def channel_axis(shape: tuple[int, ...], whole: tuple[int, ...] | None = None) -> int:
    """Return the axis of the channels of one picture, 0 or 2 (2 as well where there are none).

    Raises:
        DataError: it could be either, or neither.
    """
    if len(shape) == 2:
        return 2
    if len(shape) == 3:
        first, last = shape[0] in CHANNELS_FIRST, shape[2] in CHANNELS
        if first != last:
            return 0 if first else 2
        if first:
            raise DataError(
                "an array must show which axis holds the channels",
                f"the shape {whole or shape}, where it could be two",
                "give PIL pictures: [PIL.Image.fromarray(one) for one in x], each of shape (height, width, 3)",
            )
    raise DataError(f"an array of pictures must be {_SHAPES}", f"one of shape {whole or shape}", "reshape it so")


def picture_bytes(array: NDArray[Any]) -> bytes:
    """Return a picture, uint8 or uint16 of shape (h, w) or (h, w, 3 or 4), as the bytes of a lossless file."""
    if array.dtype == np.uint16:
        colour = array.ndim == 3
        pixels = np.ascontiguousarray(array[..., :3] if colour else array, ">u2")
        return b"P%d %d %d 65535\n" % (6 if colour else 5, array.shape[1], array.shape[0]) + pixels.tobytes()
    from PIL import Image

    if array.ndim == 3 and array.shape[2] not in CHANNELS[1:]:
        raise BadExample(f"an array of shape {array.shape}, not (h, w), (h, w, 3) or (h, w, 4)")
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(data, "PNG", compress_level=1)
    return data.getvalue()


def _scale(arrays: Sequence[NDArray[Any]]) -> float:
    """Return what the values of a set are multiplied by to be in 0..255, or 1 where they are whole numbers.

    Raises:
        DataError: they are negative, not finite, or have no range that people use.
    """
    filled = [array for array in arrays if array.size]
    if not filled:
        return 1.0
    if all(array.dtype == np.uint8 for array in filled):
        return 1.0
    low, high = min(array.min() for array in filled), max(array.max() for array in filled)
    if all(array.dtype == np.bool_ for array in filled):
        return 255.0
    received = f"values in {low:.6g}..{high:.6g}"
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise DataError("pixels must be finite and not negative", received, f"undo their normalisation, then {_WHITE}")
    if not any(array.dtype.kind == "f" for array in filled):
        if high > 65535:
            raise DataError("whole numbers of pixels must be in 0..255 or 0..65535", received, _WHITE)
        return 1.0
    if high <= 1:
        return 255.0
    if high < DIMMEST or high > 255:
        raise DataError("floats of pixels must be in 0..1 or in 0..255", received, _WHITE)
    return 1.0


def plain_labels(labels: object) -> list[Any]:
    """Return labels one by one: of shape (n,) or (n, 1), as tensors, or one-hot (then the position of the one).

    Whole numbers that are kept as floats become whole again.

    Raises:
        DataError: a row names several classes, or is nothing of the kind.
    """
    array = as_array(labels)
    if array is None:
        values = [_plain(label) for label in list(labels)]  # type: ignore[call-overload]
        if not any(isinstance(value, (list, tuple)) for value in values):
            return values
        try:
            array = np.array(values)
        except ValueError as error:  # lists of several lengths, or within lists
            do = "give one label an example; several labels an example are not supported"
            raise DataError("every example must have one label", "lists of several", do) from error
    if not array.ndim:
        raise TypeError("a single label")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        return _one_hot(array)
    if array.ndim != 1:
        raise DataError(
            "labels must be a list, an array of shape (n,) or (n, 1), or one-hot",
            f"one of shape {array.shape}",
            "give labels of one of these forms",
        )
    if array.dtype.kind == "f" and np.isfinite(array).any():
        finite = array[np.isfinite(array)]
        if (finite == np.rint(finite)).all():
            return [int(value) if np.isfinite(value) else None for value in array]
    return list(array.tolist())


def _plain(label: Any) -> Any:
    """Return a label that is a tensor, an array or a list of one value as that value."""
    array = as_array(label)
    value = label if array is None or array.dtype.kind == "O" else array.tolist()
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return value


def _one_hot(array: NDArray[Any]) -> list[Any]:
    if array.dtype.kind not in "buif" or not np.isin(array, (0, 1)).all() or not (array.sum(axis=1) == 1).all():
        several = array.dtype.kind in "buif" and bool(np.isin(array, (0, 1)).all())
        received = "rows of several ones or none" if several else f"an array of {array.dtype} of shape {array.shape}"
        do = "give one label an example; several labels an example are not supported"
        raise DataError("labels in columns must be one-hot, a single 1 in each row", received, do)
    return list(array.argmax(axis=1).tolist())


def is_row(item: object) -> bool:
    """Return whether an item is a record of named values: a mapping, a named tuple or a dataclass."""
    return isinstance(item, Mapping) or hasattr(item, "_asdict") or hasattr(type(item), "__dataclass_fields__")


def row_of(item: Any) -> dict[str, Any]:
    """Return a record as a dict; see `is_row`."""
    if isinstance(item, Mapping):
        return dict(item)
    if hasattr(item, "_asdict"):
        return dict(item._asdict())
    return {name: getattr(item, name) for name in type(item).__dataclass_fields__}
