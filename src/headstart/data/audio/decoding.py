"""Sounds: from the bytes of a recording to samples of one channel at one rate, read in blocks.

Imports soundfile (libsndfile) on first use: WAV, FLAC, Ogg, MP3, AIFF and AU, told by their content.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import one_line
from headstart.base.extras import missing_extra
from headstart.data.audio.formats import SOUND_SUFFIXES, SUFFIXES, Encoding, sniff
from headstart.data.audio.lengths import mend_flac, mend_mp3
from headstart.data.audio.limits import MOST_SAMPLES, LargeRecording, is_direct, prove
from headstart.data.dataset import BadExample, answer_bounded, run_bounded
from headstart.data.file_tree import MAX_BYTES, read_file

RATES = (1_000, 768_000)  # least and greatest number of samples a second that is read
USUAL = frozenset({16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
"""The usual sampling rates; a note names every other one."""
LOOKED_AT = 30.0
"""Seconds of a recording that are looked at before anything is learned; whatever is used later is checked then."""
MOST_HEARD = 4 * 3_600
"""Seconds of a recording that are heard where all of it is."""
BLOCK = 2**18  # samples that are read at once, all channels together
FINEST = 1_000
"""Rates are related by fractions of no greater terms: exact for every usual rate, else within a millionth."""

_HELD = {"uint8": "u1", "int8": "<i2", "int16": "<i2", "int32": "<i4"} | dict.fromkeys(
    ("float16", "float32", "float64"), "<f4"
)
_UNKNOWN = 0x7FFFF000  # what a recorder writes as the size that it does not know yet is this or more
_COUNTLESS = 2**48  # frames: more than any file holds


def remarks(data: bytes, name: str) -> tuple[str, ...]:
    """Return what is odd and yet fine about a recording, as clauses to be counted in a report.

    Give the whole file, or more than `MAX_BYTES` of a larger one; of its name only the suffix counts.

    Raises:
        BadExample: it is no recording, truncated, broken, without samples, or holds NaN or infinity.
    """
    return tuple(bounded(_remarks, data, name=name))


def length(data: bytes) -> tuple[float, int]:
    """Return seconds and rate (Hz) of the recording in `data`, as its header says; raises BadExample as `remarks`."""
    seconds, rate = bounded(_length, data, whole=True)
    return seconds, rate


def samples(data: bytes, *, rate: int, seconds: float, share: float = 0.0) -> NDArray[np.float32]:
    """Return some seconds of a recording: float32 of shape (n,), full scale -1..1, n at most `rate * seconds`.

    Channels are averaged. Another rate is converted by a polyphase filter. Integers and companded samples come on one
    scale, floats as they are. No more of the recording is decoded than is returned. A longer one begins at its first
    sample where `share` is 0, and so late that its last one is read where it is 1.

    Raises:
        BadExample: as `remarks`.
    """
    result: NDArray[np.float32] = bounded(_samples, data, whole=share > 0, rate=rate, seconds=seconds, share=share)
    return result


def windows(
    data: bytes, *, rate: int, seconds: float, hop: float, most: float = MOST_HEARD
) -> Iterator[NDArray[np.float32]]:
    """Yield windows of a whole recording, each as `samples` gives it, one every `hop` seconds; no more is held.

    The last one ends with the recording; a shorter recording is one window. What lies behind `most` seconds is not
    read. What this takes grows with the recording: see `bounded`.

    Raises:
        BadExample: as `remarks`, wherever in the recording.
    """
    with _opened(data, math.inf) as file:
        span, ratio = round(seconds * file.samplerate), _ratio(rate, file.samplerate)
        buffered, start, count = np.empty(0, np.float32), 0, 0  # samples, where they begin, windows so far

        def ready(more: int) -> Iterator[NDArray[np.float32]]:
            nonlocal buffered, start, count
            while (begin := round(count * hop * file.samplerate)) + span + more <= start + len(buffered):
                yield _resampled(buffered[begin - start : begin - start + span + more], ratio)[: round(rate * seconds)]
                count += 1
                keep = min(round(count * hop * file.samplerate), start + len(buffered) - span)
                buffered, start = buffered[max(0, keep - start) :], max(start, keep)

        # Of a file that is larger than is read, the end is in the middle of something.
        with suppress(RuntimeError) if len(data) > MAX_BYTES else nullcontext():
            for block in _blocks(data, file, most, math.inf):
                buffered = np.concatenate([buffered, _mono(block)])
                yield from ready(_beyond(ratio))
        if not count and not len(buffered):
            raise BadExample("too large")
        yield from ready(0)
        ended = round((count - 1) * hop * file.samplerate) + span if count else 0
        if start + len(buffered) > ended:
            yield _resampled(buffered[-span:], ratio)[: round(rate * seconds)]


def whole_in_windows(data: bytes, *, rate: int, seconds: float, hop: float, most: float) -> NDArray[np.float32]:
    """Return all `windows` of a recording, float32 of shape (k, samples); one that is shorter than a window is as long.

    Of one that is longer than `most` seconds, windows that lie evenly in all of it. The first alone where `hop` is 0.

    Raises:
        BadExample: as `remarks`, wherever in the recording.
    """
    if hop:
        least = (min(length(data)[0], MOST_HEARD) - seconds) / (most / seconds)
        whole = bounded(_windows, data, more_seconds=len(data) / 2**20, rate=rate, seconds=seconds, hop=max(hop, least))
    else:
        whole = samples(data, rate=rate, seconds=seconds)
    span: NDArray[np.float32] = whole.reshape(-1, min(len(whole), round(rate * seconds)))
    return span


def _windows(data: bytes, rate: int, seconds: float, hop: float, most: float = math.inf) -> NDArray[np.float32]:
    return np.concatenate(list(windows(data, rate=rate, seconds=seconds, hop=hop)))


def task(data: bytes, work: str, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """Return what `remarks`, `length` or `samples` return, in the process of `run_bounded`."""

    def answer() -> tuple[dict[str, Any], bytes]:
        result = _TASKS[work](data, **arguments)
        return ({}, result.tobytes()) if isinstance(result, np.ndarray) else ({"result": result}, b"")

    return answer_bounded(answer)


def bounded(
    work: Callable[..., Any],
    data: bytes,
    *,
    whole: bool = False,
    task: str = f"{__name__}:task",
    more_seconds: float = 0.0,
    **arguments: Any,
) -> Any:
    """Return the result of `work`, done here where its cost is bounded, else by `task` in a process that is.

    `whole` where a place within the recording is sought.
    """
    encoding = sniff(data)
    _library()
    if is_direct(data, encoding, whole=whole):
        with suppress(LargeRecording):
            return work(data, **arguments, most=MOST_SAMPLES)
    values, result = run_bounded(task, data, more_seconds=more_seconds, work=work.__name__, **arguments)
    prove(data, encoding)
    return values["result"] if "result" in values else np.frombuffer(bytearray(result), values.get("type", "f4"))


def _remarks(data: bytes, name: str, most: float = math.inf) -> list[str]:
    clauses: list[str] = []
    encoding = sniff(data)
    suffix = re.search(r"\.\w+$", name.lower())
    if suffix and suffix[0] in SOUND_SUFFIXES and suffix[0] not in SUFFIXES[encoding]:
        clauses.append(f"{encoding.upper()} named {suffix[0]}, read by content")
    with _opened(data, LOOKED_AT, clauses) as file:
        if file.samplerate not in USUAL:
            clauses.append(f"sampled at {file.samplerate:,} Hz (resampled where the source reads another rate)")
        if file.channels > 1:
            clauses.append(f"{file.channels} channels, mixed down to one")
        if file.frames / file.samplerate > MOST_HEARD and file.frames < _COUNTLESS:
            clauses.append(f"longer than {MOST_HEARD / 3600:g} hours, of which the beginning is heard")
        silent = True
        for block in _blocks(data, file, LOOKED_AT, most):
            silent = silent and not block.any()
    if silent:
        clauses.append("silent: every sample is zero")
    if len(data) > MAX_BYTES:
        clauses.append(f"larger than {MAX_BYTES >> 20} MiB, of which the beginning is read")
    return clauses


def _length(data: bytes, most: float = math.inf) -> tuple[float, int]:
    with _opened(data, math.inf) as file:
        frames = file.frames if file.frames < _COUNTLESS else 0
        return frames / file.samplerate, int(file.samplerate)


def _samples(data: bytes, rate: int, seconds: float, share: float, most: float = math.inf) -> NDArray[np.float32]:
    with _opened(data, math.inf if share else seconds) as file:
        if share and len(data) <= MAX_BYTES and file.frames < _COUNTLESS:
            file.seek(int(share * max(0.0, file.frames - seconds * file.samplerate)))
        ratio = _ratio(rate, file.samplerate)
        needed = seconds + _beyond(ratio) / file.samplerate
        mono = np.concatenate([_mono(block) for block in _blocks(data, file, needed, most)])
    return _resampled(mono, ratio)[: round(rate * seconds)]


def _ratio(rate: int, of: int) -> Fraction:
    """Return how many samples become of each one where those of a rate become those of another."""
    return Fraction(rate, of).limit_denominator(FINEST) or Fraction(1, FINEST)


def _beyond(ratio: Fraction) -> int:
    """Return how many samples behind those that are converted the filter looks at."""
    return 20 * max(1, ratio.denominator // ratio.numerator)


def _resampled(mono: NDArray[np.float32], ratio: Fraction) -> NDArray[np.float32]:
    if ratio != 1:
        from scipy.signal import resample_poly

        taps = _filter(ratio.numerator, ratio.denominator)
        mono = resample_poly(mono, ratio.numerator, ratio.denominator, window=taps)
    return mono.astype(np.float32, copy=False)


def _mono(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the channels of a block of shape (frames, channels), float32."""
    mean: NDArray[np.float32] = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
    return mean


@lru_cache(maxsize=16)
def _filter(up: int, down: int) -> NDArray[np.float32]:
    """Return the low-pass filter between two rates: a sinc of 20 periods under a Kaiser window, as scipy's own is."""
    from scipy.signal import firwin

    most = max(up, down)
    taps: NDArray[np.float32] = firwin(20 * most + 1, 1 / most, window=("kaiser", 5.0)).astype(np.float32)
    return taps


def sound_bytes(item: object) -> bytes:
    """Return a recording given from Python as the bytes of a WAV file that loses nothing.

    Bytes pass through; a path is read; a pair (samples, rate) is an array of shape (n,) or (n, channels), floats with
    full scale -1..1, or integers of 8 to 32 bits, and samples a second. Anything else is a BadExample.
    """
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item[: MAX_BYTES + 1])
    if isinstance(item, (str, os.PathLike)):
        return read_file(os.fspath(item), begin=True)
    array, rate = item if isinstance(item, tuple) and len(item) == 2 else (None, 0)
    try:
        array = np.asarray(array)
    except ValueError as error:  # lists of unequal lengths
        raise BadExample("samples that are no array of shape (n,) or (n, channels)") from error
    stored_type = _HELD.get(array.dtype.name)
    if stored_type is None or array.ndim not in (1, 2) or not _is_rate(rate):
        what = f"{array.dtype} of shape {array.shape} at {rate!r}" if isinstance(item, tuple) else type(item).__name__
        raise BadExample(f"not a path, bytes or a pair (samples, rate) ({one_line(what, 80)})")
    if array.dtype == np.int8:
        array = array.astype(np.int16) * 256
    channels = max(1, array.shape[1]) if array.ndim == 2 else 1
    data, each = array.astype(stored_type).tobytes(), channels * np.dtype(stored_type).itemsize
    coding = 3 if "f" in stored_type else 1
    form = struct.pack("<HHIIHH", coding, channels, rate, rate * each, each, 8 * each // channels)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def _is_rate(rate: object) -> bool:
    return isinstance(rate, (int, np.integer)) and 1 <= int(rate) <= RATES[1]


_TASKS: dict[str, Callable[..., Any]] = {work.__name__: work for work in (_remarks, _length, _samples, _windows)}


class _Bytes(io.BytesIO):
    """Bytes whose position never is negative: libsndfile asks for such ones of damaged files."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(offset if whence else max(0, offset), whence)  # the other two end at 0 by themselves


def _library() -> Any:
    try:
        import soundfile
    except (ModuleNotFoundError, OSError) as error:  # OSError: the package without its libsndfile
        raise missing_extra("recordings", "soundfile", extra="audio") from error
    return soundfile


@contextmanager
def _opened(data: bytes, seconds: float, clauses: list[str] | None = None) -> Iterator[Any]:
    """Give the recording in `data` as an open `soundfile.SoundFile`; its errors become BadExample.

    Of it `seconds` are read, all where they are infinite. What its header says wrongly is added to `clauses`.
    """
    encoding, complete = sniff(data), len(data) <= MAX_BYTES
    soundfile = _library()
    if complete:
        _check_whole(data, encoding)
    if complete or encoding == "mp3":
        data, clause = _mended(data, encoding, seconds)
        if clause and clauses is not None and complete:
            clauses.append(clause)
    try:
        with soundfile.SoundFile(_Bytes(data)) as file:
            low, high = RATES
            if not low <= file.samplerate <= high:
                raise BadExample(f"{file.samplerate:,} samples a second, not {low:,} to {high:,}")
            yield file
    except soundfile.LibsndfileError as error:
        message = error.error_string.strip().rstrip(".")
        # What libsndfile says of an MP3 without a sound frame is meant for a file on disk.
        message = "no sound in it" if message.startswith("File does not exist") else one_line(message, 80)
        raise BadExample(f"broken: {message}") from error
    except (OSError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise BadExample(f"broken: {one_line(error, 80)}") from error


def _mended(data: bytes, encoding: Encoding, seconds: float) -> tuple[bytes, str]:
    if encoding == "mp3":
        return mend_mp3(data, min(seconds, LOOKED_AT), whole=math.isinf(seconds))
    return mend_flac(data) if encoding == "flac" else (data, "")


def _blocks(data: bytes, file: Any, seconds: float, most: float) -> Iterator[NDArray[np.float32]]:
    """Yield the next seconds of an open recording in blocks, float32 of shape (frames, channels).

    Raises:
        LargeRecording: they are more than `most` samples, all channels together.
        BadExample: there is no sample, fewer than the header says, or one that is no number.
    """
    needed = int(np.ceil(seconds * file.samplerate))
    if file.channels * min(needed, file.frames) > most:
        raise LargeRecording
    size, read = max(1, BLOCK // file.channels), 0
    claimed = file.frames - file.tell() if file.frames < _COUNTLESS else 0
    if claimed:
        needed = min(needed, claimed)  # libsndfile gives no more
    while read < needed:
        block = file.read(min(size, needed - read), dtype="float32", always_2d=True)
        if not len(block):
            break
        if not np.isfinite(block).all():
            raise BadExample("samples that are NaN or infinite")
        read += len(block)
        yield block
    if not read:
        raise BadExample("no samples" if len(data) <= MAX_BYTES else "too large")
    # Of an MP3 it is no more than an estimate, or what its header says of frames that are missing.
    if claimed and read < needed and file.format != "MP3" and len(data) <= MAX_BYTES:
        raise BadExample(f"truncated (its header says {file.frames:,} samples, {read:,} are there)")


def _check_whole(data: bytes, encoding: Encoding) -> None:
    """Raise BadExample where a header says more samples than there are, which libsndfile passes over in silence."""
    try:
        if encoding == "wav":
            _check_chunks(data)
        elif encoding in ("aiff", "au") and (claimed := _claimed(data, encoding)) > len(data) + 1:
            raise BadExample(f"truncated (its header says {claimed:,} bytes, {len(data):,} are there)")
        elif encoding == "ogg" and not data[data.rfind(b"OggS") + 5] & 4:
            raise BadExample("truncated (the last page of the stream is missing)")
    except (struct.error, IndexError):
        raise BadExample("truncated") from None


def _claimed(data: bytes, encoding: Encoding) -> int:
    """Return the bytes that the header of an AIFF or AU file says the whole has; 0 where it does not say."""
    first, second = struct.unpack_from(">II", data, 4)
    if encoding == "aiff":
        return int(first) + 8
    return int(first + second) if second < _UNKNOWN else 0


def _check_chunks(data: bytes) -> None:
    order = ">" if data[:4] == b"RIFX" else "<"
    offset, align, claimed = 12, 1, None
    while offset + 8 <= len(data):
        name, size = data[offset : offset + 4], struct.unpack_from(f"{order}I", data, offset + 4)[0]
        if name == b"ds64":
            (claimed,) = struct.unpack_from("<Q", data, offset + 16)
        elif name == b"fmt ":
            align = max(1, struct.unpack_from(f"{order}H", data, offset + 20)[0])
        elif name == b"data":
            present = len(data) - offset - 8
            promised = claimed if claimed is not None else size if size < _UNKNOWN else 0
            if promised // align > present // align:
                mismatch = f"its header says {promised // align:,} samples, {present // align:,} are there"
                raise BadExample(f"truncated ({mismatch})")
            return
        offset += 8 + size + size % 2
    raise BadExample("no samples (a header only)")
