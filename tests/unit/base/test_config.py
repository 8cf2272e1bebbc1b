"""What this process may use."""

from __future__ import annotations

from headstart.base.config import cores, cores_shared, use_cores


def test_one_of_several_processes_uses_its_share_of_the_cores() -> None:
    every = cores()
    use_cores(1)
    assert (cores(), cores_shared()) == (1, 1)
    use_cores(every + 1)
    assert cores() == every
    use_cores(None)
    assert (cores(), cores_shared()) == (every, None)
