"""Whether two small pictures show the same: how well their details agree once one is laid over the other.

Two photos of different things can be much alike in their large areas of light and dark; their details are not, not even
where the best of all affine maps lays one over the other. So the map is found on what is coarse, first by
cross-correlation over shifts, sizes and mirroring, then by Gauss-Newton (Lucas & Kanade 1981; the gain and offset of
light are free, as in Evangelidis & Psarakis, IEEE PAMI 30 (2008)), and judged on what is fine. Where a picture agrees
with itself elsewhere nearly as well, as stripes do, that they agree tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels of a small picture
EDGE = (
    1  # pixels at each edge that are not looked at: what is left of a frame; the coarse search works at half the rest
)
SIZES = (1.0, 0.87, 1.15, 0.76, 1.32)
MIN_START = 0.5  # correlation of what is coarse over the shifts: pairs below it are not laid over each other
MIN_COARSE = 0.6  # the same after the map was found, and
BELOW_FINE = 0.08  # what it may be less than what is asked of what is fine: what agrees in detail does so at large
STEPS = 6  # of Gauss-Newton, at either size
LEAST_GAIN = 0.003  # of correlation that a step must bring, or it is the last
MIN_FINE = 0.5  # correlation of what is fine: below, nothing is ever said
MIN_SHIFT = 0.15  # of a side, from which on a picture that agrees with itself repeats itself
# On Fisher's scale, from how well either agrees with itself elsewhere: photos, and spectrograms, whose tones last.
MIN_STANDING_OUT, MIN_STANDING_OUT_OF_SOUNDS = 0.7, 1.0
MIN_OVERLAP = 0.45  # share of a picture that must lie on the other
MAX_STRETCH = 1.25  # how much more a map may enlarge along one direction than across it
AT_ONCE = 256  # pairs: keeps memory flat

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SmallPictures:
    """n pictures, filtered for comparing them: each of mean 0 and deviation 1."""

    coarse: Floats  # float32 of shape (n, 15, 15)
    fine: Floats  # float32 of shape (n, 30, 30)
    mirrors: bool  # whether a mirrored picture shows the same
    sizes: tuple[float, ...]  # how large one may show what the other shows

    @classmethod
    def of(cls, grey: NDArray[np.uint8], *, mirrors: bool = True, sizes: tuple[float, ...] = SIZES) -> SmallPictures:
        """Return the filtered pictures of `grey`, uint8 of shape (n, 32, 32)."""
        grey = grey[:, EDGE:-EDGE, EDGE:-EDGE]
        half = grey.shape[1] // 2
        coarse = np.empty((len(grey), half, half), np.float32)
        fine = np.empty(grey.shape, np.float32)
        for start in range(0, len(grey), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            light = np.sqrt(grey[some].astype(np.float32))
            light -= light.mean((1, 2), keepdims=True)  # so that blurring leaves nothing of a blank one
            low = _standard(_blurred(light, 1.2) - _blurred(light, 8))
            coarse[some] = low.reshape(len(light), half, 2, half, 2).mean((2, 4))
            detail = _blurred(light, 0.5) - _blurred(light, 2.5)
            local = np.sqrt(_blurred(np.square(detail), 3))
            fine[some] = _standard(detail / (local + 0.1 * local.mean((1, 2), keepdims=True) + 1e-3))
        return cls(coarse, fine, mirrors, sizes)


def _blurred(pictures: Floats, sigma: float) -> Floats:
    """Return square pictures (n, s, s) blurred: two products, which cost a fifth of a filter that moves along axes."""
    across = _blur(pictures.shape[1], sigma)
    return np.asarray(across @ (pictures @ across.T))


@cache
def _blur(side: int, sigma: float) -> Floats:
    """Return the matrix (s, s) that blurs `side` pixels in a row; what lies beyond an edge is as the edge."""
    reach = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * np.square(reach / sigma))
    row, blur = np.arange(side)[:, None], np.zeros((side, side))
    np.add.at(blur, (row, np.clip(row + reach, 0, side - 1)), weights / weights.sum())
    return blur.astype(np.float32)


def aligned_correlations(pictures: SmallPictures, pairs: NDArray[np.intp], least: float = MIN_FINE) -> Floats:
    """Return how well the details of each pair agree once aligned, float32 of shape (p,), -1..1; 0 if below `least`.

    `pairs` is of shape (p, 2): rows of the pictures.
    """
    scores = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        scores[start : start + len(some)] = _aligned(pictures, some, least)
    return scores


def _aligned(pictures: SmallPictures, pairs: NDArray[np.intp], least: float) -> Floats:
    scores = np.zeros(len(pairs), np.float32)
    first, second = pairs.T
    start, maps = _best_shifts(pictures, first, second)
    alike = np.flatnonzero(start >= MIN_START)
    enough = max(MIN_COARSE, least - BELOW_FINE)
    coarse, maps = _refined(pictures.coarse[first[alike]], pictures.coarse[second[alike]], maps[alike], enough)
    kept = coarse >= enough
    alike, maps = alike[kept], maps[kept]
    fine, maps = _refined(pictures.fine[first[alike]], pictures.fine[second[alike]], maps, least)
    stretch = np.linalg.svd(maps[:, :, :2], compute_uv=False)
    true = (fine >= least) & (stretch[:, 0] <= MAX_STRETCH * stretch[:, 1])
    alike, fine = alike[true], fine[true]
    rows, places = np.unique(pairs[alike], return_inverse=True)
    themselves = _repetition(pictures.fine[rows])[places.reshape(-1, 2)].max(axis=1)
    apart = np.arctanh(np.minimum(fine, 0.9999)) - np.arctanh(themselves)
    scores[alike] = np.where(apart >= (MIN_STANDING_OUT if pictures.mirrors else MIN_STANDING_OUT_OF_SOUNDS), fine, 0)
    return scores


def _repetition(pictures: Floats) -> Floats:
    """Return how well each picture (p, s, s) agrees with itself at the best of all shifts but small ones: (p,), 0..1.

    Stripes and tiles repeat: they agree with others of their kind wherever one is laid over the other.
    """
    from scipy.fft import irfft2, rfft2

    side = pictures.shape[1]
    size = (2 * side, 2 * side)
    axis = np.minimum(np.arange(2 * side), np.arange(2 * side, 0, -1))
    overlap = np.maximum(1 - axis / side, 0)
    valid = (np.outer(overlap, overlap) >= MIN_OVERLAP) & (np.hypot(*np.meshgrid(axis, axis)) >= MIN_SHIFT * side)
    spectrum, whole = rfft2(pictures, size), rfft2(np.ones((1, side, side), np.float32), size)
    power = irfft2(rfft2(np.square(pictures), size) * np.conj(whole), size)  # of what lies on the other
    opposite = np.roll(power[:, ::-1, ::-1], 1, axis=(1, 2))
    agreement = irfft2(spectrum * np.conj(spectrum), size) / np.sqrt(np.maximum(power * opposite, 1e-6))
    return np.asarray(np.where(valid, agreement, 0).max(axis=(1, 2), initial=0).clip(0, 0.999), np.float32)


def _standard(pictures: Floats) -> Floats:
    centred = pictures - pictures.mean((1, 2), keepdims=True)
    return np.asarray(centred / (centred.std((1, 2), keepdims=True) + 1e-6), np.float32)


def _grid(side: int) -> Floats:
    """Return the places of the pixels, float32 of shape (3, side * side): x and y in -1..1, and 1."""
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side)]).astype(np.float32)


def _warped(pictures: Floats, maps: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return pictures (p, s, s) seen through maps (p, 2, 3) of places, and which pixels lie inside: (p, s * s) each."""
    side = pictures.shape[1]
    places = (maps @ _grid(side) + 1) * (side / 2) - 0.5
    inside = np.all((places >= 0) & (places <= side - 1), axis=1)
    places = np.clip(places, 0, side - 1.001)
    corner = places.astype(np.int32)
    x, y = (places - corner.astype(np.float32)).transpose(1, 0, 2)
    index = corner[:, 1] * side + corner[:, 0] + np.arange(len(pictures), dtype=np.int32)[:, None] * side * side
    flat = pictures.ravel()
    top, bottom = (flat.take(row) * (1 - x) + flat.take(row + 1) * x for row in (index, index + side))
    return top * (1 - y) + bottom * y, inside


def _best_shifts(pictures: SmallPictures, first: NDArray[np.intp], second: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the best correlation (p,) over mirroring, sizes and shifts, and the maps (p, 2, 3) that reach it.

    Correlations of all shifts come from one product of Fourier transforms, padded so that nothing wraps around.
    """
    from scipy.fft import irfft2, rfft2

    side = pictures.coarse.shape[1]
    fixed, moved = pictures.coarse[first], pictures.coarse[second]
    spectrum = np.conj(rfft2(fixed, (2 * side, 2 * side)))
    best = np.full(len(first), -1, np.float32)
    maps = np.zeros((len(first), 2, 3), np.float32)
    for mirror in (1, -1) if pictures.mirrors else (1,):
        for size in pictures.sizes:
            scaled = np.array([[mirror * size, 0, 0], [0, size, 0]], np.float32)
            seen, inside = _warped(moved, np.broadcast_to(scaled, maps.shape))
            seen = (seen * inside).reshape(moved.shape)
            norm = np.sqrt(np.square(seen).sum((1, 2)) * np.square(fixed).sum((1, 2))) + 1e-6
            products = irfft2(rfft2(seen, (2 * side, 2 * side)) * spectrum, (2 * side, 2 * side))
            flat = products.reshape(len(first), 4 * side * side)
            peak = flat.argmax(axis=1)
            score = flat[np.arange(len(first)), peak] / norm
            shift = np.stack([peak % (2 * side), peak // (2 * side)], axis=1)
            shift = (shift + side) % (2 * side) - side
            better = score > best
            best[better] = score[better]
            maps[better] = scaled
            maps[better, :, 2] = (shift[better] * 2 / side) * np.array([mirror * size, size])
    return best, maps


def _refined(fixed: Floats, moved: Floats, maps: Floats, least: float) -> tuple[Floats, Floats]:
    """Return the best correlation (p,) that Gauss-Newton meets on its way from `maps`, and the maps that reach it.

    A pair is left where the steps that remain, were each twice as good as the last, would not bring it to `least`.
    """
    side = fixed.shape[1]
    grid, flat = _grid(side), fixed.reshape(len(fixed), side * side)
    places = (grid[:, None] * grid).reshape(9, -1).T
    best, best_maps = np.full(len(fixed), -1, np.float32), maps.copy()
    rows = np.arange(len(fixed))  # of the pairs that still come nearer
    for step in range(STEPS + 1):
        if not len(rows):
            break
        seen, inside = _warped(moved, maps)
        weight = inside.astype(np.float32)
        count = weight.sum(1, keepdims=True) + 1e-6
        a = (flat - (flat * weight).sum(1, keepdims=True) / count) * weight
        b = (seen - (seen * weight).sum(1, keepdims=True) / count) * weight
        together, alone = (a * b).sum(1), np.square(a).sum(1)
        score = together / np.sqrt(alone * np.square(b).sum(1) + 1e-6)
        gained = score - best[rows]
        better = (gained > 0) & (count[:, 0] >= MIN_OVERLAP * flat.shape[1])
        best[rows[better]], best_maps[rows[better]] = score[better], maps[better]
        if step == STEPS:
            break
        on = (gained > LEAST_GAIN) & (score + 2 * gained * (STEPS - step) >= least) if step else gained > -2
        rows, flat, moved, maps, a, b, seen, weight, together, alone = (
            part[on] for part in (rows, flat, moved, maps, a, b, seen, weight, together, alone)
        )
        gain = np.maximum(together, 1e-3) / np.maximum(alone, 1e-3)
        slope_y, slope_x = np.gradient(seen.reshape(moved.shape), 2 / side, axis=(1, 2))
        slopes = np.stack([slope_x.reshape(flat.shape), slope_y.reshape(flat.shape)], axis=1)
        slopes *= weight[:, None]
        right = (slopes * (gain[:, None] * a - b)[:, None]) @ grid.T
        # J'J of the Jacobian J = slopes x grid: each product of two slopes, summed with each product of two places
        squares = np.stack([slopes[:, 0] * slopes[:, 0], slopes[:, 0] * slopes[:, 1], slopes[:, 1] * slopes[:, 1]], 1)
        blocks = (squares @ places).reshape(-1, 3, 3, 3)
        normal = blocks[:, [[0, 1], [1, 2]]].transpose(0, 1, 3, 2, 4).reshape(-1, 6, 6)
        damping = 1e-3 * np.trace(normal, axis1=1, axis2=2) / 6 + 1e-6
        normal = normal + damping[:, None, None] * np.eye(6, dtype=np.float32)
        change = np.clip(np.linalg.solve(normal, right.reshape(-1, 6, 1)), -0.15, 0.15).reshape(-1, 2, 3)
        onward = np.concatenate([change, np.zeros((len(rows), 1, 3))], axis=1) + np.eye(3)
        maps = np.asarray(maps @ onward, np.float32)
    return best, best_maps
