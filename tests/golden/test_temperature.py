"""Temperatures against values of an independent implementation: golden-section search in plain Python floats.

What these values cannot catch: scores in float32, classes without examples, and whether the scores are those of unseen
examples, because they are for plain float64 scores. The search finds a temperature to about eight digits.
"""

import math
import random

import numpy as np
import pytest

from headstart.heads.linear import fit_temperature, log_losses

CASES = [  # rows, classes, seed, true temperature, weighted; temperature, mean log loss at it
    ((200, 3, 0, 0.3, False), 0.2946141666641502, 0.585631942263608),
    ((200, 3, 1, 4.0, True), 4.084738089343108, 0.6094314917201565),
    ((50, 7, 2, 1.0, True), 1.137233674544788, 1.1404046218596229),
]


def drawn(n, c, seed, sharpness, weighted):
    draw = random.Random(seed)
    scores, y = [], []
    for _ in range(n):
        row = [draw.gauss(0, 2) for _ in range(c)]
        y.append(max(range(c), key=lambda k: row[k] - math.log(-math.log(draw.random()))))
        scores.append([value * sharpness for value in row])
    weights = 1 + np.arange(n) % 3 if weighted else np.ones(n)
    return np.array(scores), np.array(y), weights.astype(float)


@pytest.mark.parametrize(("case", "temperature", "log_loss"), CASES)
def test_temperature_and_the_loss_at_it(case, temperature, log_loss):
    scores, y, weights = drawn(*case)
    assert fit_temperature(scores, y, weights) == pytest.approx(temperature, rel=1e-6)
    losses = log_losses(scores, y, temperature)
    assert weights @ losses / weights.sum() == pytest.approx(log_loss, rel=1e-6)
