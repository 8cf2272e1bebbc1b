"""The formats of recordings, told by the content of a file."""

from __future__ import annotations

from typing import Literal

from headstart.data.dataset import BadExample
from headstart.data.images import formats as image_formats

Encoding = Literal["wav", "flac", "ogg", "mp3", "aiff", "au"]

SUFFIXES: dict[Encoding, tuple[str, ...]] = {
    "wav": (".wav", ".wave", ".rf64"),
    "flac": (".flac",),
    "ogg": (".ogg", ".oga", ".opus"),
    "mp3": (".mp3",),
    "aiff": (".aif", ".aiff", ".aifc"),
    "au": (".au", ".snd"),
}
UNREAD_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".caf")
"""Of recordings that are found, and refused by name unless their content is another's."""
SOUND_SUFFIXES: frozenset[str] = frozenset(
    {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}.union(UNREAD_SUFFIXES)
)

NOT_ACCEPTED = "format not accepted ({}): convert it to WAV or FLAC"
_UNREAD: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "M4A or MP4"),
    (8, b"AVI ", "AVI"),
    (0, b"\x30\x26\xb2\x75", "WMA"),
    (0, b"#!AMR", "AMR"),
    (0, b"#!SILK", "SILK"),
    (1, b"#!SILK", "SILK"),
    (0, b"ADIF", "AAC"),
    (0, b"NIST_1A", "NIST SPHERE"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "TTA"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b".ra\xfd", "RealAudio"),
    (0, b".RMF", "RealAudio"),
    (0, b"Creative Voice File", "VOC"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b"riff\x2e\x91", "Wave64"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"caff", "CAF"),
    (0, b"MThd", "MIDI"),
    (0, b"\x1aE\xdf\xa3", "WebM"),
)


def sniff(data: bytes) -> Encoding:
    """Return the accepted format of `data`, told by its first bytes; raises BadExample, which names another format."""
    if not data:
        raise BadExample("no samples (an empty file)")
    head, kind = data[:4], data[8:12]
    if head in (b"RIFF", b"RIFX", b"RF64", b"BW64") and kind == b"WAVE":
        return "wav"
    if head == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return "aiff"
    plain: dict[bytes, Encoding] = {b"fLaC": "flac", b"OggS": "ogg", b".snd": "au"}
    if head in plain:
        return plain[head]
    if head[:3] == b"ID3":
        return "mp3"
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        if data[1] & 0x06:
            return "mp3"
        if data[1] & 0xF0 == 0xF0:
            raise BadExample(NOT_ACCEPTED.format("AAC"))
    refused = next((name for at, magic, name in _UNREAD if data.startswith(magic, at)), None)
    if refused:
        raise BadExample(NOT_ACCEPTED.format(refused))
    raise BadExample("not an accepted recording" + _looks_like(data))


def is_recording(data: bytes) -> bool:
    """Return whether the beginning of a file is that of a recording, in an accepted format or another."""
    try:
        sniff(data)
    except BadExample as error:
        return error.reason.startswith(NOT_ACCEPTED.partition("(")[0])
    return True


def _looks_like(data: bytes) -> str:
    try:
        kind: str | None = image_formats.sniff(data).upper()
    except BadExample:
        kind = image_formats.looks_like(data)
    return f" (looks like {kind})" if kind else ""
