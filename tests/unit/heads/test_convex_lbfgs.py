"""L-BFGS on functions whose least point is known."""

import numpy as np

from headstart.heads.convex import minimise


def test_minimise_reaches_the_least_of_each_function():
    rng = np.random.default_rng(0)
    bends = 10.0 ** rng.uniform(-1, 1, size=(3, 20))
    least = rng.normal(size=(3, 20))

    def bowls(point):
        gap = point - least
        return (bends * gap**2).sum(axis=1) / 2 + 1, bends * gap

    reached = minimise(bowls, np.zeros((3, 20)), tolerance=1e-14, steps=1000)
    np.testing.assert_allclose(reached, least, atol=1e-4)


def test_minimise_survives_steps_that_are_too_long():
    def steep(point):
        return (point**4).sum(axis=1) + np.square(point).sum(axis=1), 4 * point**3 + 2 * point

    assert np.abs(minimise(steep, np.full((1, 2), 30.0), tolerance=0, steps=200)).max() < 1e-4


def test_functions_that_end_early_leave_the_others_as_they_would_be_alone():
    rng = np.random.default_rng(0)
    bends, least = 10.0 ** rng.uniform(-1, 1, size=(3, 20)), rng.normal(size=(3, 20))
    bends[0] = 1  # one step suffices

    def bowls(point, rows=slice(None)):
        gap = point - least[rows]
        return (bends[rows] * gap**2).sum(axis=1) / 2 + 1, bends[rows] * gap

    together = minimise(bowls, np.zeros((3, 20)), tolerance=1e-6, steps=100)
    for row in range(3):
        alone = minimise(lambda point, row=row: bowls(point, [row]), np.zeros((1, 20)), tolerance=1e-6, steps=100)
        np.testing.assert_allclose(together[row], alone[0], atol=1e-3)
