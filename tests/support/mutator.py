"""Seeded damage: the same seed and bytes give the same mutant, on every machine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

EXTREMES = tuple(
    number.to_bytes(size, order)  # type: ignore[arg-type]
    for size in (1, 2, 4, 8)
    for order in ("little", "big")
    for number in (0, 1, (1 << (8 * size - 1)) - 1, 1 << (8 * size - 1), (1 << 8 * size) - 1)
)
TOKENS = (b"", b"0", b"-1", b"1e999", b"NaN", b"nan", b"99999999999999999999", b"\xff\xfe", b"\0", b"\r\n", b'"', b",")
TOKENS += (b"../../x", b"/etc/passwd", b"\x1b[31m", b"\xe2\x80\xae", b"null", b"[]", b"{}", b"\xed\xa0\x80", b"true")
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 1 << 31, 1 << 63, 1 << 70, -(1 << 63), 0.5, 1e308, 1e-320)
VALUES += (
    float("nan"),
    float("inf"),
    "",
    "x",
    "..",
    "\0",
    "\x1b[0m",
    "a" * 5000,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [0] * 99,
)


def mutant(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one of `seeds`, damaged in one to four ways."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        chance.choice(WAYS)(data, chance, seeds)
    return bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Return a position: half of the time near the beginning, where the headers are, or near the end."""
    near = min(len(data), chance.choice((16, 64, 256)))
    return chance.choice(
        (chance.randrange(near + 1), len(data) - chance.randrange(near + 1), chance.randrange(len(data) + 1))
    )


def _flip(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    for _ in range(chance.choice((1, 3, 20))):
        if data:
            data[min(_place(data, chance), len(data) - 1)] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    start, value = _place(data, chance), chance.choice(EXTREMES)
    data[start : start + len(value)] = value


def _noise(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    start, size = _place(data, chance), chance.choice((1, 8, 64, 512))
    data[start : start + size] = chance.choice((chance.randbytes(size), bytes(size), b"\xff" * size))


def _cut(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    del data[_place(data, chance) :]


def _remove(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    start = _place(data, chance)
    del data[start : start + chance.choice((1, 4, 100, len(data)))]


def _repeat(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    start = _place(data, chance)
    piece = bytes(data[start : start + chance.choice((1, 16, 300))])
    target = _place(data, chance)
    data[target:target] = piece * chance.choice((1, 2, 50))


def _splice(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    other = bytearray(chance.choice(seeds))
    data[_place(data, chance) :] = other[_place(other, chance) :]


def _token(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    start, token = _place(data, chance), chance.choice(TOKENS)
    data[start : start + chance.choice((0, 1, len(token)))] = token


WAYS: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    *(_flip, _overwrite, _noise, _cut, _remove, _repeat, _splice, _token),
)


def json_mutant(value: Any, chance: random.Random) -> Any:
    """Return JSON values with one to three of them replaced, removed, renamed or added."""
    changed = json.loads(json.dumps(value))
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_containers(changed))
        inside = chance.choice(places)
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        odd = deepcopy(chance.choice(VALUES))
        if not keys:
            inside.update(x=odd) if isinstance(inside, dict) else inside.append(odd)
            continue
        key, way = chance.choice(keys), chance.randrange(4)
        if way == 0:
            del inside[key]
        elif way == 1 and isinstance(inside, dict):
            inside[chance.choice(("", "x", "..", "schema", str(key).upper()))] = inside.pop(key)
        elif way == 2 and isinstance(inside, list):
            inside.append(inside[key])
        else:
            inside[key] = odd
    return changed


def _containers(value: Any) -> list[Any]:
    found, waiting = [], [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (dict, list)):
            found.append(item)
            waiting += item.values() if isinstance(item, dict) else item
    return found
