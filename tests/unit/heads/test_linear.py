import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from headstart.heads.linear import fit_temperature, log_losses


def scores(n, c, sharpness, seed=0):
    """Scores whose right temperature is `sharpness`: labels are drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, c)) * 2
    y = (logits + rng.gumbel(size=(n, c))).argmax(axis=1)
    return logits * sharpness, y


@pytest.mark.parametrize("sharpness", [1e-4, 0.3, 1, 7, 1e5])
def test_the_temperature_that_made_the_labels_is_found(sharpness):
    made, y = scores(20_000, 4, sharpness)
    assert fit_temperature(made, y, np.ones(len(y))) == pytest.approx(sharpness, rel=0.05)


def test_it_is_the_least_log_loss():
    made, y = scores(400, 3, 0.2)
    weights = np.random.default_rng(1).uniform(0, 2, 400)
    found = fit_temperature(made, y, weights)
    best = minimize_scalar(lambda t: weights @ log_losses(made, y, float(np.exp(t))), bounds=(-5, 3), method="bounded")
    # The imaginary example moves it by about one part in n.
    assert found == pytest.approx(np.exp(best.x), rel=0.02)


def test_scores_without_an_error_do_not_end_in_certainty():
    y = np.arange(50) % 2
    made = np.where(y[:, None] == np.arange(2), 1.0, -1.0)
    losses = log_losses(made, y, fit_temperature(made, y, np.ones(50)))
    assert 0.001 < losses.mean() < 0.05


def test_scores_that_mislead_end_flat_and_keep_their_order_in_float32():
    y = np.arange(50) % 2
    made = np.where(y[:, None] == np.arange(2), -1.0, 1.0)
    shown = (made / fit_temperature(made, y, np.ones(50))).astype(np.float32)
    assert 0 < np.ptp(np.exp(shown)) < 0.01


def test_equal_scores_give_a_temperature():
    assert fit_temperature(np.zeros((5, 3)), np.arange(5) % 3, np.ones(5)) == 1


def test_rows_of_weight_zero_have_no_say():
    made, y = scores(300, 3, 0.5)
    weights = (np.arange(300) < 200).astype(float)
    spoiled = made.copy()
    spoiled[200:] *= -50
    assert fit_temperature(spoiled, y, weights) == fit_temperature(made, y, weights)
