"""Networks that are much larger than their file are not built."""

from __future__ import annotations

import pytest
from torch import nn

from headstart.sources.networks.size_bound import check_size


def test_a_network_of_its_file_is_built_and_one_much_larger_is_not() -> None:
    state = nn.Linear(4, 4).state_dict()
    check_size(lambda: nn.Linear(4, 4), state)
    with pytest.raises(ValueError, match="more than 100,000,040 parameters or 1,008 parts"):
        check_size(lambda: nn.Linear(1_000_000, 1_000_000), state)
    with pytest.raises(ValueError, match="1,008 parts"):
        check_size(lambda: nn.Sequential(*(nn.ReLU() for _ in range(2_000))), state)
    check_size(lambda: nn.Linear(20_000, 20_000), None)
    with pytest.raises(ValueError, match="3,000,000,000 parameters"):
        check_size(lambda: nn.Linear(100_000, 100_000), None)
