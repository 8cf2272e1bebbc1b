"""`fit` as a scikit-learn classifier; importing this file imports scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from headstart.base.errors import UsageError, did_you_mean
from headstart.base.progress import Progress
from headstart.fitting.fit import fit
from headstart.run.options import DataOptions, FitOptions

PARAMETERS = {
    name: field.default
    for name, field in FitOptions.model_fields.items()
    if name in ("seed", "allow_broken") or name not in DataOptions.model_fields.keys() | {"resume", "tensorboard"}
}
"""The options of `hs.fit` with their defaults, save those of tables, of folders and of a run that is continued."""


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of photos, texts or recordings for scikit-learn's pipelines, searches and cross-validation.

    Its parameters are the options of `hs.fit` that do not concern tables and folders, under the same names and with the
    same defaults; `progress` is as there. Like `hs.fit` it holds out a test part of what it is fitted on, and measures
    itself there: `model_.report`. Features are cached by content, so that folds and searches compute them once.

    It reads photos, texts and recordings, not rows of numbers. `check_estimator` therefore skips it (its tag
    `two_d_array` is False); of the checks themselves those pass that fit nothing on rows of numbers.

    Attributes:
        classes_: the class labels, sorted, of the type of `y`, shape (c,).
        model_: the `Model`, with everything that `hs.fit` returns.
    """

    def __init__(self, *, progress: Progress | bool = False, **options: Any) -> None:
        for name in options.keys() - PARAMETERS.keys():
            raise TypeError(f"Classifier has no parameter {name!r}{did_you_mean(name, PARAMETERS)}")
        self.progress = progress
        for name, default in PARAMETERS.items():
            setattr(self, name, options.get(name, default))

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's name
        """Fit the classifier.

        Args:
            X: n paths, bytes of files, PIL pictures, arrays, or texts.
            y: n labels of any type that can be sorted.

        Raises:
            UsageError: the examples, the labels or a parameter cannot be used.
        """
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        if len(labels) != len(X):
            shown = f"{labels.shape} for {len(X)} items"
            raise UsageError("y must hold a label for each item of X", shown, "give as many labels as items")
        self.classes_, rows = np.unique(labels, return_inverse=True)
        names = [str(name) for name in self.classes_]
        if len({name.strip().casefold() for name in names} - {""}) < len(names):
            names = [f"class {number}" for number in range(len(names))]  # else the reader would find them alike
        options = {name: getattr(self, name) for name in PARAMETERS}
        self.model_ = fit((X, [names[row] for row in rows]), **options, progress=self.progress)
        self._columns = [self.model_.classes.index(name) for name in names]
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the most probable class of each item, an array of shape (n,) of the type of `y`; `X` as in `fit`.

        One item alone is a list of one. UsageError: an item cannot be read; the message names it.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return class probabilities, float32 of shape (n, c), columns as in `classes_`; `X` as in `predict`."""
        check_is_fitted(self, "model_")
        return np.asarray(self.model_.predict_proba(X)[:, self._columns])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def _signature() -> inspect.Signature:
    """Return the signature of the constructor as scikit-learn reads it: every parameter with its default."""
    own = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    named = {**PARAMETERS, "progress": False}
    return inspect.Signature(
        own + [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=named[name]) for name in named]
    )


Classifier.__init__.__signature__ = _signature()  # type: ignore[attr-defined]
