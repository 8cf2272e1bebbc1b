"""Transferability scores that the literature knows: how well features, or a source's own classes, fit labels.

Each is a pure function of numbers that a frozen source gives and of labels, which may be numbers or names; classes
without a row have no say. `headstart rank --scores` shows them beside the accuracy that it measures: none decides
anything, since on usual pools of sources all of them rank worse than a fixed list by ImageNet accuracy (ICLR 2026,
arXiv 2510.06448).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError

RANK_TOLERANCE = 1e-10  # a direction with a smaller share of the largest squared singular value holds rounding alone
CODING_ERROR = 1e-4  # epsilon of TransRate
VARIANCE_KEPT = 0.8  # by N-LEEP's principal components
CLUSTERS_PER_CLASS = 5  # of N-LEEP's mixture
GBC_COMPONENTS = 64
NEIGHBOURS = 5
PENALTY_RANGE = np.geomspace(1e-12, 1e12, 97)  # of LogME, as shares of the largest squared singular value
SEARCH_STEPS = 60  # of LogME: each leaves two thirds of an interval


class _Rows(NamedTuple):
    """Centred rows along their principal axes, and their classes."""

    z: NDArray[np.float64]  # float64 of shape (n, k), k = rank
    variances: NDArray[np.float64]  # float64 of shape (k,), > 0, of the columns of z, descending
    y: NDArray[np.intp]  # of shape (n,), class ids in 0..c-1, each with a row
    sizes: NDArray[np.int64]  # of shape (c,), rows of each class
    means: NDArray[np.float64]  # float64 of shape (c, k), of each class


def _checked(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return rows in float64 and class ids in 0..c-1, each with a row; UsageError where they are none."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.shape != x.shape[:1] or not x.size:
        shapes = f"shapes {x.shape} and {y.shape}"
        raise UsageError("a score needs rows of shape (n, d), with n, d >= 1, and n labels", shapes, "give such arrays")
    x = x.astype(np.float64)
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise UsageError("every number that a score is made of must be finite", f"row {row}", "leave that row out")
    return x, np.unique(y, return_inverse=True)[1]


def _probabilities(p: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    p, y = _checked(p, y)
    if p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise UsageError("rows of class probabilities must sum to 1", f"{p.sum(axis=1).max():.4g}", "give a softmax")
    return p / p.sum(axis=1, keepdims=True), y


def _principal(x: NDArray[Any], y: NDArray[Any]) -> _Rows:
    x, y = _checked(x, y)
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    rank = int((s**2 > RANK_TOLERANCE * max(s[0] ** 2, np.finfo(float).tiny)).sum())
    z = u[:, :rank] * s[:rank]
    sizes = np.bincount(y)
    return _Rows(z, s[:rank] ** 2 / len(x), y, sizes, _class_sums(z, y) / sizes[:, None])


def _class_sums(rows: NDArray[np.float64], y: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sum of the rows of each class, float64 of shape (c, d)."""
    sums = np.zeros((int(y.max()) + 1, rows.shape[1]))
    np.add.at(sums, y, rows)
    return sums


def h_score(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return tr(cov(X)^+ cov(E[X|y])), 0..c-1 (Bao et al. 2019, An information-theoretic approach to transferability).

    It is the variance between classes as a share of all variance, summed over directions. It saturates at c - 1 where
    there are as many features as rows: use `shrunk_h_score` there.

    Args:
        x: features of shape (n, d), of any real dtype.
        y: n labels.

    Raises:
        UsageError: shapes that do not fit, no rows, or a number that is not finite; all scores raise it.
    """
    rows = _principal(x, y)
    return float((_between(rows) / rows.variances).sum())


def shrunk_h_score(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the H-score with a shrunk covariance (Ibrahim et al. 2021, Newer is not always better).

    That is (1 - a) tr(S^-1 cov(E[X|y])) with S = (1 - a) cov(X) + a m I, m the mean variance of a feature, and a as
    Ledoit and Wolf (2004) give it. Unlike the H-score it does not saturate with as many features as rows. Arguments as
    in `h_score`.
    """
    rows = _principal(x, y)
    shrinkage, mean = _ledoit_wolf(rows.z, rows.variances, np.shape(x)[1])
    return float(((1 - shrinkage) * _between(rows) / ((1 - shrinkage) * rows.variances + shrinkage * mean)).sum())


def _between(rows: _Rows) -> NDArray[np.float64]:
    """Return the variance of the class means along each axis, float64 of shape (k,)."""
    return np.asarray(rows.sizes @ np.square(rows.means) / len(rows.y))


def _ledoit_wolf(z: NDArray[np.float64], variances: NDArray[np.float64], d: int) -> tuple[float, float]:
    """Return the shrinkage 0..1 of the covariance of centred rows of `d` features, and the mean of its diagonal.

    `z` (n, k) are the rows along their principal axes: everything that Ledoit and Wolf (2004) need.
    """
    mean = float(variances.sum() / d)
    squares = float(np.square(variances).sum())
    spread = float(np.square(np.square(z).sum(axis=1)).mean() - squares) / len(z)
    distance = squares - d * mean**2
    return (min(1.0, spread / distance) if distance > 0 else 1.0), mean


def leep(p: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the log expected empirical prediction, <= 0 (Nguyen et al. 2020, LEEP).

    The mean over rows of log sum_z P(y|z) p(z|x), with P(y|z) from the joint distribution of labels and the source's
    classes. It needs a source with a classifier, and sees nothing that this throws away.

    Args:
        p: the source's class probabilities, of shape (n, k), rows summing to 1.
        y: n labels.
    """
    p, y = _probabilities(p, y)
    joint = _class_sums(p, y)
    mass = p.sum(axis=0)
    given_source = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    return float(np.log(np.einsum("nk,nk->n", given_source[y], p)).mean())


def n_leep(x: NDArray[Any], y: NDArray[Any], *, seed: int = 0) -> float:
    """Return LEEP with the clusters of a Gaussian mixture for the source's classes, <= 0 (Li et al. 2021, N-LEEP).

    The mixture has 5 c components of full covariance, as far as there are rows, on the principal components with 80 %
    of the variance; it is random by `seed`. It serves sources without a classifier, and rises towards 0 by chance where
    there are few rows for each component. Arguments as in `h_score`.
    """
    from sklearn.mixture import GaussianMixture

    x, y = _checked(x, y)
    order = np.lexsort(x.T)  # the mixture begins from drawn rows: which, must not depend on their order
    rows = _principal(x[order], y[order])
    if not len(rows.variances):
        return leep(np.ones((len(x), 1)), y)
    kept = int(np.searchsorted(np.cumsum(rows.variances) / rows.variances.sum(), VARIANCE_KEPT)) + 1
    z = rows.z[:, :kept] / np.sqrt(rows.variances[0])
    z *= np.sign(z[np.abs(z).argmax(axis=0), np.arange(z.shape[1])])
    components = min(CLUSTERS_PER_CLASS * len(rows.sizes), max(1, len(np.unique(z, axis=0)) // 2))
    mixture = GaussianMixture(components, reg_covar=1e-3, random_state=seed, max_iter=50, tol=1e-2)
    return leep(_fitted(mixture, z).predict_proba(z), rows.y)


def _fitted(mixture: Any, z: NDArray[np.float64]) -> Any:
    """Return the mixture fitted to rows; that its last step still gained a little is no matter here."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mixture.fit(z)


def nce(p: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the negative conditional entropy -H(Y|Z) in nats, <= 0 (Tran et al. 2019).

    Z is the likeliest of the source's classes for each row. Arguments as in `leep`.
    """
    p, y = _probabilities(p, y)
    joint = _class_sums(np.eye(p.shape[1])[p.argmax(axis=1)], y) / len(y)
    mass = np.broadcast_to(joint.sum(axis=0), joint.shape)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / mass[seen])).sum())


def logme(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the log maximum evidence per row (You et al. 2021, LogME), in nats; the higher the better.

    The mean over one-vs-rest targets t in {0, 1} of max over a, b of log N(t; 0, I/b + X X'/a) / n. For one ratio of a
    to b the best b is known, so that the maximum is searched along that ratio alone, on a grid and then inside it:
    exact also for d > n, where the paper's fixed-point iteration may stop early. X is not centred. Where a target
    lies in the span of fewer features than rows the evidence has no bound: the ratio then ends at 1e-12 of the largest
    squared singular value. Arguments as in `h_score`.
    """
    x, y = _checked(x, y)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    squares = s**2 / max(s[0] ** 2, np.finfo(float).tiny)
    targets = np.eye(int(y.max()) + 1)[y]
    parts = np.square(u.T @ targets)  # of shape (k, c)
    outside = np.maximum(np.square(targets).sum(axis=0) - parts.sum(axis=0), 0)
    outside = np.where((len(s) == len(x)) | (outside < 1e-12 * len(x)), 0, outside)
    return float(
        np.mean([_max_evidence(squares, part, rest, len(x)) for part, rest in zip(parts.T, outside, strict=True)])
    )


def _max_evidence(squares: NDArray[np.float64], parts: NDArray[np.float64], outside: float, n: int) -> float:
    """Return the largest evidence per row of a target whose squared parts along each direction are `parts` (k,)."""

    def evidence(logs: Any) -> NDArray[np.float64]:
        penalties = np.exp(np.atleast_1d(logs))[:, None]
        noise = ((parts * penalties / (penalties + squares)).sum(axis=1) + outside) / n
        with np.errstate(divide="ignore"):
            logs_of_noise = np.log(noise)
        return np.asarray(-(np.log(2 * np.pi) + 1 + logs_of_noise + np.log1p(squares / penalties).sum(axis=1) / n) / 2)

    grid = np.log(PENALTY_RANGE)
    values = evidence(grid)
    best = int(values.argmax())
    low, high = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    for _ in range(SEARCH_STEPS):  # the evidence has one peak between two points of the grid
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if evidence(left)[0] < evidence(right)[0] else (low, right)
    return float(max(values[best], evidence((low + high) / 2)[0]))


def trans_rate(x: NDArray[Any], y: NDArray[Any], *, error: float = CODING_ERROR) -> float:
    """Return R(Z) - mean over classes of R(Z_c), in nats (Huang et al. 2022, Frustratingly easy TransRate).

    R(A) = logdet(I + A'A / (n e)) / 2 is the rate of coding n rows up to the error e; all rows are centred once. It
    depends on the scale of the features and grows with their number: it compares layers of a source, hardly sources.
    Arguments as in `h_score`.
    """
    rows = _principal(x, y)
    whole = np.log1p(rows.variances / error).sum() / 2
    return float(whole - np.mean([_rate(rows.z[rows.y == own], error) for own in range(len(rows.sizes))]))


def _rate(z: NDArray[np.float64], error: float) -> float:
    singular = np.linalg.svd(z, compute_uv=False)
    return float(np.log1p(singular**2 / (len(z) * error)).sum() / 2)


def gbc(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return minus the sum over ordered pairs of classes of exp(-D) (Pandy et al. 2022, Gaussian Bhattacharyya).

    D is the Bhattacharyya distance of two spherical normal distributions on the first 64 principal components. A class
    of one row has no spread: that of all classes together stands for it. Arguments as in `h_score`.
    """
    rows = _principal(x, y)
    z, means = rows.z[:, :GBC_COMPONENTS], rows.means[:, :GBC_COMPONENTS]
    d, c = max(1, z.shape[1]), len(rows.sizes)
    scatter = np.bincount(rows.y, np.square(z - means[rows.y]).sum(axis=1), minlength=c)
    pooled = scatter.sum() / (len(z) * d)
    floor = max(np.finfo(float).tiny ** 0.25, 1e-9 * float(rows.variances.sum()) / d)
    variances = np.maximum(np.where(rows.sizes > 1, scatter / (rows.sizes * d), pooled), floor)
    average = (variances[:, None] + variances) / 2
    squares = np.square(means[:, None] - means).sum(axis=2)
    distance = squares / (8 * average) + d / 2 * np.log(average / np.sqrt(variances[:, None] * variances))
    return float(c - np.exp(-distance).sum())


def knn_agreement(x: NDArray[Any], y: NDArray[Any], *, neighbours: int = NEIGHBOURS) -> float:
    """Return how often the nearest other rows share the label, 0..1, over the `neighbours` nearest (Euclidean).

    It needs no fit and sees curved classes as well, but suffers most from features that say nothing. Rows as near as
    the last of them count in part. Arguments as in `h_score`; 0 for one row.
    """
    rows = _principal(x, y)
    n = len(rows.y)
    count = min(neighbours, n - 1)
    if count < 1:
        return 0.0
    lengths = np.square(rows.z).sum(axis=1)
    share = 0.0
    for row in range(n):
        distance = np.maximum(lengths + lengths[row] - 2 * rows.z @ rows.z[row], 0)
        distance[row] = np.inf
        last = np.partition(distance, count - 1)[count - 1]
        margin = 1e-9 * (lengths[row] + last) + 1e-300
        nearer = distance < last - margin
        level = (distance <= last + margin) & ~nearer
        same = rows.y == rows.y[row]
        share += (same & nearer).sum() + (same & level).sum() * (count - nearer.sum()) / level.sum()
    return float(share / (n * count))


def lda_agreement(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return how often linear discriminant analysis names the label of a row that is left out, 0..1 (Fisher 1936).

    The covariance within classes is shrunk as Ledoit and Wolf (2004) say, once for all rows; leaving a row out is then
    exact by a correction of rank one (Sherman & Morrison 1950). The only row of a class counts as an error. Arguments
    as in `h_score`.
    """
    rows = _principal(x, y)
    n, d = np.shape(x)
    within = rows.z - rows.means[rows.y]
    variances, axes = np.linalg.eigh(within.T @ within / n) if rows.z.shape[1] else (np.ones(0), np.ones((0, 0)))
    variances = np.maximum(variances, 0)
    shrinkage, mean = _ledoit_wolf(within, variances, d)
    floor = RANK_TOLERANCE * float(rows.variances.sum() + np.finfo(float).tiny)
    scale = axes / np.sqrt(np.maximum((1 - shrinkage) * variances + shrinkage * mean, floor))
    z, means, own = rows.z @ scale, rows.means @ scale, within @ scale
    sizes = rows.sizes[rows.y]
    grown = np.where(sizes > 1, sizes / np.maximum(sizes - 1, 1), 1.0)
    others = np.square(z).sum(axis=1)[:, None] - 2 * z @ means.T + np.square(means).sum(axis=1)
    along = np.einsum("nk,nk->n", own, z)[:, None] - own @ means.T
    length = np.square(own).sum(axis=1)
    at_own = np.arange(n), rows.y
    others[at_own], along[at_own] = grown**2 * length, grown * length
    taken = (1 - shrinkage) * grown / n
    squared = others + (taken / np.maximum(1 - taken * length, 1e-12))[:, None] * np.square(along)
    squared[at_own] = np.where(sizes > 1, squared[at_own], np.inf)
    priors = np.log(np.broadcast_to(rows.sizes, squared.shape).astype(np.float64))
    priors[at_own] = np.log(np.maximum(sizes - 1, 1))
    return float(((squared / 2 - priors).argmin(axis=1) == rows.y).mean())


FEATURE_SCORES = {
    "h_score": h_score,
    "shrunk_h_score": shrunk_h_score,
    "n_leep": n_leep,
    "logme": logme,
    "trans_rate": trans_rate,
    "gbc": gbc,
    "knn": knn_agreement,
    "lda": lda_agreement,
}
"""Scores of features of shape (n, d), by the key in `result.json`."""
CLASS_SCORES = {"leep": leep, "nce": nce}
"""Scores of the source's own class probabilities, of shape (n, k)."""
