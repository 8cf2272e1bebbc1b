import numpy as np
from sklearn.neighbors import NearestCentroid

from headstart.heads.closed_form import fit_centroids
from headstart.heads.principal_axes import principal_rows


def test_without_imaginary_examples_it_is_that_of_scikit_learn_and_with_many_all_means_meet():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.normal(size=(90, 12)) + rng.normal(size=(3, 12))[y]
    principal = principal_rows(x, np.ones(90), np.ones(12))
    many, none = fit_centroids(principal, y, 3, penalties=[1e12, 1e-12], counts=np.ones((1, 90), np.int64))
    predicted = none.scores(principal.rows)[0].argmax(axis=0)
    np.testing.assert_array_equal(predicted, NearestCentroid().fit(x, y).predict(x))
    np.testing.assert_allclose(many.coefficients, 0, atol=1e-6)


def test_each_set_of_weights_has_the_means_of_its_own_rows():
    rng = np.random.default_rng(1)
    y = np.arange(40) % 2
    principal = principal_rows(rng.normal(size=(40, 5)), np.ones(40), np.ones(5))
    counts = np.stack([np.arange(40) < 30, np.arange(40) >= 10]).astype(np.int64)
    (heads,) = fit_centroids(principal, y, 2, penalties=[2.0], counts=counts)
    for fold, used in enumerate(counts > 0):
        for label in (0, 1):
            members = principal.rows[used & (y == label)]
            np.testing.assert_allclose(heads.coefficients[fold, label], members.sum(axis=0) / (len(members) + 2))
