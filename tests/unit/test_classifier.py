"""`fit` behaves as a scikit-learn classifier: cloned, cross-validated, and checked as far as its inputs allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils import estimator_checks
from toy_texts import sentences

import headstart as hs
from headstart.base.errors import UsageError
from headstart.classifier import PARAMETERS
from headstart.run.options import FitOptions

NUMBERS = "it reads photos, texts and recordings, and the check fits it on rows of numbers"
FIT_NUMBERS = """
fit_score_takes_y estimators_overwrite_params dont_overwrite_parameters estimators_fit_returns_self
readonly_memmap_input n_features_in_after_fitting positive_only_tag_during_fit estimators_dtypes complex_data
dtype_object estimators_empty_data_messages pipeline_consistency estimators_nan_inf estimator_sparse_array
estimator_sparse_matrix estimators_pickle f_contiguous_array_estimator classifier_data_not_an_array
classifiers_classes classifiers_train supervised_y_2d methods_sample_order_invariance
methods_subset_invariance fit2d_1sample fit2d_1feature dict_unchanged fit_idempotent fit_check_is_fitted
n_features_in fit2d_predict1d
"""
EXPECTED_FAILURES = {f"check_{name}": NUMBERS for name in FIT_NUMBERS.split()}
EXPECTED_FAILURES["check_classifiers_one_label"] = "of one class nothing can be learned, and that is an error"


class Rows(hs.Classifier):
    """A classifier that says it reads rows of numbers, so that scikit-learn does not leave every check out."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@pytest.mark.slow
def test_scikit_learn_checks_it() -> None:
    results = estimator_checks.check_estimator(Rows(), expected_failed_checks=EXPECTED_FAILURES, on_skip=None)
    by_status: dict[str, set[str]] = {}
    for result in results:
        by_status.setdefault(result["status"], set()).add(result["check_name"])
    assert by_status["xfail"] == EXPECTED_FAILURES.keys()
    assert len(by_status["passed"]) > 15


@pytest.mark.parametrize(
    "check",
    [
        "estimator_cloneable",
        "estimator_repr",
        "no_attributes_set_in_init",
        "do_not_raise_errors_in_init_or_set_params",
        "estimators_unfitted",
        "mixin_order",
        "parameters_default_constructible",
        "get_params_invariance",
        "set_params",
        "classifiers_regression_target",
        "requires_y_none",
    ],
)
def test_the_checks_that_need_no_fit(check: str) -> None:
    getattr(estimator_checks, f"check_{check}")("Classifier", Rows())


def test_its_parameters_are_options_of_fit() -> None:
    parameters = hs.Classifier().get_params()
    assert parameters.keys() == PARAMETERS.keys() | {"progress"}
    assert parameters.pop("progress") is False
    assert parameters == {name: FitOptions.model_fields[name].default for name in parameters}
    assert {"source", "layer", "tune", "budget", "labels_per_class", "seed"} <= parameters.keys()
    assert not {"out", "root", "text_column", "resume", "tensorboard"} & parameters.keys()
    with pytest.raises(TypeError, match="no parameter 'sourc', did you mean 'source'"):
        hs.Classifier(sourc="packaged:minilm")


def test_it_answers_in_arrays_of_the_labels_it_was_given(cache: Any) -> None:
    texts, names = zip(*sentences(24), strict=True)
    y = np.array([10 if name == names[0] else 9 for name in names])
    classifier = hs.Classifier(source="packaged:wordllama")
    assert clone(classifier).get_params() == classifier.get_params()
    assert classifier.fit(texts, y).score(texts, y) > 0.9
    assert classifier.classes_.tolist() == [9, 10]
    predicted, shares = classifier.predict(texts), classifier.predict_proba(texts)
    assert isinstance(predicted, np.ndarray) and predicted.dtype == y.dtype
    assert shares.shape == (len(texts), 2)
    np.testing.assert_array_equal(predicted, classifier.classes_[shares.argmax(axis=1)])
    assert classifier.predict(texts[0]).tolist() == [predicted[0]]
    assert classifier.model_.report["examples"]["test"] > 0
    assert cross_val_score(classifier, np.array(texts), y, cv=2).mean() > 0.7


def test_labels_that_look_alike_are_kept_apart(cache: Any) -> None:
    texts, names = zip(*sentences(24), strict=True)
    y = ["Yes" if name == names[0] else "yes " for name in names]
    classifier = hs.Classifier(source="packaged:wordllama").fit(texts, y)
    assert set(classifier.predict(texts)) == {"Yes", "yes "}
    assert classifier.score(texts, y) > 0.9


def test_what_cannot_be_is_refused_by_the_names_of_its_parameters() -> None:
    with pytest.raises(UsageError, match="y must hold a label for each item of X"):
        hs.Classifier().fit(["a", "b"], ["x"])
    with pytest.raises(UsageError, match=r"^labels_per_class= must be at least 2"):
        hs.Classifier(labels_per_class=1).fit(["a", "b"], ["x", "y"])
