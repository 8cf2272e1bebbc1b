"""The table of modalities holds one row a kind, and a task leads back to its row."""

from __future__ import annotations

from typing import get_args

import pytest

from headstart.data.modality import MODALITIES, Kind, modality_of_task
from headstart.sources.uri import parse


def test_every_kind_has_a_row_of_its_own() -> None:
    assert set(MODALITIES) == set(get_args(Kind))
    assert all(modality.kind == kind for kind, modality in MODALITIES.items())
    assert len({modality.task for modality in MODALITIES.values()}) == len(MODALITIES)


def test_default_sources_are_packaged() -> None:
    defaults = [row.default_source for row in MODALITIES.values() if row.default_source]
    assert {parse(uri).provider for uri in defaults} == {"packaged"}


def test_a_task_leads_to_its_modality() -> None:
    assert all(modality_of_task(modality.task) is modality for modality in MODALITIES.values())
    with pytest.raises(KeyError):
        modality_of_task("object-detection")
