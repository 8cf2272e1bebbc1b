"""Relatives: examples that are copies of each other but for a mirror, a crop, other light, a word more or a cut.

Candidates among photos and recordings are the nearest neighbours among features that are computed anyway, whitened,
which is what sets one thing apart from others like it (Jégou & Chum, ECCV 2012), in blocks, so that memory does not
grow with the square of the data; texts are looked up by what they share (`data.shingles`). A second look confirms them:
aligned details of small pictures or spectrograms, or words laid beside each other. Pictures are not confirmed by a
number that holds for all data: what counts is how far a pair stands out from pairs that are alike and unrelated
(`threshold`). Confirmed pairs are joined, and a cluster is kept only as far as its members resemble its centre, so that
a chain of small changes does not join what has nothing in common.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import ResultCache
from headstart.base.errors import counted
from headstart.base.hashing import sha256_json_rows
from headstart.base.threads import ONE_THREAD_A_PRODUCT
from headstart.data.audit import Scan
from headstart.data.dataset import Dataset
from headstart.data.groups import offer, suggested_groups
from headstart.data.images.alignment import MIN_FINE, SmallPictures, aligned_correlations
from headstart.data.shingles import Pairs, Wordings, normal_form
from headstart.data.text import text_of
from headstart.features.features import Extraction
from headstart.features.modality import ImageSummary, SoundSummary, TextSummary

RELATIVES_VERSION = 7
"""Counts up when other relatives come to be found for the same examples."""
MAX_SEARCHED = 100_000  # distinct examples: the time of the search grows with the square of their number
NEIGHBOURS = 4  # of each example that are looked at
SAMPLE = 512  # examples that whitening is estimated from
UNRELATED = 192  # pairs of either kind that the threshold is estimated from
WIDTH = 128  # whitened features
DEVIATIONS = 4  # of the similarity of unrelated examples, beyond which a neighbour is a candidate
MAX_MIN_SIMILARITY = 0.35
MIN_LIKE = 0.9  # correlation of pictures of 8 x 8 boxes from which on they are candidates too
BLOCK, COLUMNS = 1_024, 4_096  # rows that are compared with so many others at once
BATCH = 512  # candidates that are looked at together, the nearest first
MIN_CONFIRMED = 0.01  # share of a batch below which those further away are not looked at
MIN_DEVIATION = 0.05  # of the similarity of whitened features, by which members of a group are nearer at least
LEAST, MOST_FAR = 0.88, 0.93  # agreement that relatives have at least, whatever the neighbours are like
MOST = 0.97  # where random pairs agree so well, relatives cannot be told from others

SecondLook = Callable[..., NDArray[np.float32]]
Relation = Callable[[Pairs], NDArray[np.bool_]]


def with_relatives(extraction: Extraction, cache: Path) -> Extraction:
    """Return the extraction with the relatives among its examples named; for the same contents, as it was found before.

    A note says how many they are.
    """
    scanned = extraction.scan
    key = {"relatives": RELATIVES_VERSION, "made_by": extraction.made_by, "contents": sha256_json_rows(scanned.hashes)}
    store = ResultCache(cache / "relatives")
    known = store.get(key)
    rows = known[1]["clusters"] if known is not None else find_relatives(extraction)
    if known is None:
        store.put(key, {}, {"clusters": rows})
    return replace(extraction, scan=named(scanned, rows, extraction.row_of))


def named(scanned: Scan, clusters: NDArray[np.intp], row_of: NDArray[np.intp]) -> Scan:
    """Return the examples with their clusters named, and a note that counts them.

    Args:
        clusters: of each of the m distinct contents, of shape (m,), as `find_relatives` returns them.
        row_of: the content of each of the n examples, of shape (n,).
    """
    dataset = scanned.dataset
    if len(clusters) > MAX_SEARCHED:
        note = f"Near copies are looked for among at most {MAX_SEARCHED:,} {dataset.items} and were not looked for."
        return replace(scanned, notes=(*scanned.notes, note))
    cluster_of, sizes = clusters[row_of], np.bincount(clusters, minlength=len(clusters))
    members = np.flatnonzero(sizes[cluster_of] > 1)
    if not len(members):
        return scanned
    examples = list(dataset.examples)
    for position in members.tolist():
        examples[position] = replace(examples[position], relatives=str(cluster_of[position]))
    clusters_found = counted(len(np.unique(cluster_of[members])), "cluster", "clusters")
    note = (
        f"{len(members)} {dataset.items} are near copies of others, in {clusters_found}; a split that is drawn keeps "
        "each cluster on one side."
    )
    return replace(scanned, dataset=replace(dataset, examples=tuple(examples)), notes=(*scanned.notes, note))


def offered_groups(dataset: Dataset, x: NDArray[np.float32], row_of: NDArray[np.intp]) -> str | None:
    """Return a note that offers to group examples by their names; None where no such groups are alike.

    Members of a group must be nearer to each other, among whitened features, than pairs of one class at random are, by
    a deviation of the latter.

    Args:
        x: features of the m distinct contents, of shape (m, d).
        row_of: the content of each of the n examples, of shape (n,).
    """
    examples, z = dataset.examples, None
    if not 3 < len(x) <= MAX_SEARCHED or any(example.group is not None for example in examples):
        return None
    for pattern, groups in suggested_groups([example.id for example in examples]):
        with ONE_THREAD_A_PRODUCT:
            z = _whitened(x) if z is None else z
        within = _pairs_within(
            [name if name is None else (name, one.label) for name, one in zip(groups, examples, strict=True)]
        )
        alike = _pairs_within([example.label for example in examples])
        if not len(within) or not len(alike):
            continue
        near, usual = (_similarities(z, row_of[pairs]) for pairs in (within, alike))
        if near.mean() > usual.mean() + max(usual.std(), MIN_DEVIATION):
            return offer(pattern, groups, dataset.items)
    return None


def _pairs_within(names: Sequence[Hashable | None]) -> Pairs:
    """Return at most `SAMPLE` pairs of positions of one name, drawn at random; those without a name are left out."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        if name is not None:
            members[name].append(position)
    several = [np.array(some) for some in members.values() if len(some) > 1]
    if not several:
        return np.empty((0, 2), np.intp)
    random = np.random.default_rng(0)
    sizes = np.array([len(some) for some in several])
    drawn = random.choice(len(several), SAMPLE, p=sizes / sizes.sum())
    return np.array([random.choice(several[at], 2, replace=False) for at in drawn], np.intp)


def _similarities(z: NDArray[np.float16], pairs: Pairs) -> NDArray[np.float32]:
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return (
        np.asarray((z[pairs[:, 0]] * z[pairs[:, 1]]).sum(axis=1, dtype=np.float32))
        if len(pairs)
        else np.zeros(1, np.float32)
    )


def find_relatives(extraction: Extraction) -> NDArray[np.intp]:
    """Return the cluster of each of the m distinct contents, of shape (m,): its first row; of a single one, its own."""
    summary = extraction.summary
    if not isinstance(summary, TextSummary):
        return related_pictures(extraction.x, summary)
    if len(extraction.x) > MAX_SEARCHED:
        return np.arange(len(extraction.x))
    texts = Wordings(_normal_forms(extraction))
    return _clustered(len(extraction.x), texts.repeats(), texts.related)


def related_pictures(x: NDArray[np.float32], summary: ImageSummary | SoundSummary) -> NDArray[np.intp]:
    """Return the cluster of each of m pictures or recordings, as `find_relatives` does, by their features (m, d)."""
    m, mirrors = len(x), isinstance(summary, ImageSummary)
    if not 3 < m <= MAX_SEARCHED:
        return np.arange(m)
    with ONE_THREAD_A_PRODUCT:
        look, z = _second_look(summary.small, mirrors=mirrors), _whitened(x)
        near, ranks = _nearest(z, z, NEIGHBOURS, min(DEVIATIONS / np.sqrt(z.shape[1]), MAX_MIN_SIMILARITY))
        least = threshold(look, near[ranks >= NEIGHBOURS // 2], m)
        if least > MOST:
            return np.arange(m)

        def related(pairs: Pairs) -> NDArray[np.bool_]:
            return look(pairs, least) >= least

        lists = [near, *(_alike(summary.small) if mirrors else [])]
        confirmed = [_confirmed(related, candidates) for candidates in lists]
        return _clustered(m, np.unique(np.concatenate(confirmed), axis=0), related)


def threshold(look: SecondLook, nearly: Pairs, m: int) -> float:
    """Return the agreement from which on a pair is related: one that unrelated pairs of this data do not reach.

    Two kinds of them are measured: neighbours of which either has two nearer ones, which are alike without being copies
    (Lowe's reasoning, IJCV 2004: a match must stand out from the next best), and pairs at random. On Fisher's scale
    (atanh), where correlations are nearly normal, it lies four deviations above the median of the first; the median and
    the 84th percentile, which stand for mean and deviation, are not moved by some relatives among them. It is not below
    what one in forty random pairs has, and at least `LEAST`.
    """
    random = np.random.default_rng(0).integers(0, m, (UNRELATED, 2))
    random = random[random[:, 0] != random[:, 1]]
    nearly = nearly[np.linspace(0, len(nearly) - 1, min(len(nearly), UNRELATED)).astype(np.intp)]
    scores = look(np.concatenate([random, nearly]))
    far = 0.0
    if len(nearly):
        middle, high = np.quantile(np.arctanh(np.clip(scores[len(random) :], 0, 0.999)), (0.5, 0.84))
        far = float(np.tanh(middle + DEVIATIONS * (high - middle)))
    return max(LEAST, min(far, MOST_FAR), float(np.quantile(scores[: len(random)], 0.975)))


def _second_look(small: NDArray[np.uint8], *, mirrors: bool) -> SecondLook:
    """Return what compares pairs of rows of small pictures."""

    def look(pairs: Pairs, least: float = MIN_FINE) -> NDArray[np.float32]:
        rows, places = np.unique(pairs, return_inverse=True)
        sizes = {} if mirrors else {"sizes": (1.0,)}
        pictures = SmallPictures.of(small[rows], mirrors=mirrors, **sizes)
        return aligned_correlations(pictures, places.reshape(pairs.shape), least)

    return look


def _alike(small: NDArray[np.uint8]) -> list[Pairs]:
    """Return the pairs that look alike at 8 x 8 boxes, as they are and mirrored: what weak features may miss."""
    n, side = small.shape[:2]
    flat, mirrored = np.empty((2, n, 64), np.float16)
    for start in range(0, n, BLOCK):
        boxes = small[start : start + BLOCK].reshape(-1, 8, side // 8, 8, side // 8).mean((2, 4), dtype=np.float32)
        boxes -= boxes.mean((1, 2), keepdims=True)
        boxes /= np.sqrt(np.square(boxes).sum((1, 2), keepdims=True)) + 1e-6
        flat[start : start + BLOCK] = boxes.reshape(-1, 64)
        mirrored[start : start + BLOCK] = boxes[:, :, ::-1].reshape(-1, 64)
    return [_nearest(flat, other, 1, MIN_LIKE)[0] for other in (flat, mirrored)]


def _normal_forms(extraction: Extraction) -> list[str]:
    """Return the distinct texts in normal form, in the order of their rows."""
    _, firsts = np.unique(extraction.row_of, return_index=True)
    dataset: Dataset = extraction.scan.dataset
    return [dataset.reread(position, lambda data: normal_form(text_of(data))) for position in firsts.tolist()]


def _spread(n: int) -> NDArray[np.intp]:
    """Return at most `SAMPLE` rows, evenly spread."""
    return np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.intp)


def _whitened(x: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return the features along their principal axes, each of equal spread, and rows of unit length: (n, k)."""
    rows = _of_unit_length(x[_spread(len(x))].astype(np.float64))
    mean = rows.mean(axis=0)
    values, vectors = np.linalg.eigh((rows - mean) @ (rows - mean).T)
    kept = slice(-min(WIDTH, max(1, len(rows) // 4), x.shape[1]), None)
    axes = ((rows - mean).T @ (vectors[:, kept] / np.maximum(values[kept], 1e-9))).astype(np.float32)
    z = np.empty((len(x), axes.shape[1]), np.float16)
    for start in range(0, len(x), BLOCK):
        some = (_of_unit_length(x[start : start + BLOCK]) - mean.astype(np.float32)) @ axes
        z[start : start + len(some)] = _of_unit_length(some)
    return z


def _of_unit_length(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.sqrt(np.square(rows).sum(axis=1, keepdims=True)), 1e-12))


def _nearest(
    left: NDArray[np.float16], right: NDArray[np.float16], count: int, least: float
) -> tuple[Pairs, NDArray[np.int8]]:
    """Return the pairs of a row with its `count` most similar others, if similar by `least`, and the rank of each pair.

    Rows have unit length. The most similar pairs come first; a rank counts the others that are nearer to both.
    """
    n, parts = len(left), list[tuple[NDArray[Any], ...]]()
    for start in range(0, n, BLOCK):
        rows, columns, values = _similar(left[start : start + BLOCK], right, start, least)
        order = np.lexsort((columns, -values, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        ranks = np.arange(len(rows)) - np.searchsorted(rows, rows)
        near = ranks < count
        numbers = np.minimum(rows, columns)[near] * n + np.maximum(rows, columns)[near]
        parts.append((numbers, values[near], ranks[near].astype(np.int8)))
    numbers, values, ranks = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    numbers, places = np.unique(numbers, return_inverse=True)
    nearest, rank = np.full(len(numbers), -1, np.float32), np.full(len(numbers), count, np.int8)
    np.maximum.at(nearest, places, values)
    np.minimum.at(rank, places, ranks)
    order = np.argsort(-nearest, kind="stable")
    return np.stack(np.divmod(numbers[order], n), axis=1), rank[order]


def _similar(
    some: NDArray[np.float16], right: NDArray[np.float16], start: int, least: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the row and column of every value of `some @ right.T` that is `least` at least, and that value.

    `some` are the rows from `start` on, which are not compared with themselves.
    """
    parts, some = list[tuple[NDArray[Any], ...]](), some.astype(np.float32)
    for first in range(0, len(right), COLUMNS):
        similar = some @ right[first : first + COLUMNS].astype(np.float32).T
        rows, columns = np.nonzero(similar >= least)
        values, rows, columns = similar[rows, columns], rows + start, columns + first
        others = rows != columns
        parts.append((rows[others], columns[others], values[others]))
    rows, columns, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return rows, columns, values


def _confirmed(related: Relation, candidates: Pairs) -> Pairs:
    """Return the related pairs among candidates, the nearest first, until next to none of a batch is."""
    confirmed = [candidates[:0]]
    for start in range(0, len(candidates), BATCH):
        some = candidates[start : start + BATCH]
        true = related(some)
        confirmed.append(some[true])
        if true.mean() < MIN_CONFIRMED:
            break
    return np.concatenate(confirmed)


def _clustered(m: int, pairs: Pairs, related: Relation) -> NDArray[np.intp]:
    """Return the first row of each row's cluster, of shape (m,); every member is related to the cluster's centre."""
    clusters = np.arange(m)
    waiting = _components(pairs)
    while waiting:
        members, links = waiting.pop()
        if len(members) == 2:
            clusters[members] = members[0]
            continue
        centre = members[np.argmax(np.bincount(np.searchsorted(members, links).ravel(), minlength=len(members)))]
        linked = np.unique(links[(links == centre).any(axis=1)])
        others = np.setdiff1d(members, linked)
        if len(others):
            spokes = np.stack([np.full(len(others), centre), others], axis=1)
            linked = np.union1d(linked, others[related(spokes)])
        clusters[linked] = linked.min()
        waiting += _components(links[~np.isin(links, linked).any(axis=1)])
    return clusters


def _components(pairs: Pairs) -> list[tuple[NDArray[np.intp], Pairs]]:
    """Return the rows of each connected part, ascending, and its pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return []
    rows, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    graph = coo_array((np.ones(len(pairs)), (places[:, 0], places[:, 1])), shape=(len(rows), len(rows)))
    count, part = connected_components(graph, directed=False)
    order = np.argsort(part, kind="stable")
    members = np.split(order, np.searchsorted(part[order], np.arange(1, count)))
    links = np.argsort(part[places[:, 0]], kind="stable")
    split = np.split(links, np.searchsorted(part[places[links, 0]], np.arange(1, count)))
    return [(rows[some], pairs[own]) for some, own in zip(members, split, strict=True)]
