"""Keras is imported on torch with channels last, beside no TensorFlow, and draws weights from a seed."""

from __future__ import annotations

import random
import sys

import pytest

from headstart.base.errors import SourceError
from headstart.sources.keras.library import build_application, import_keras

torch = pytest.importorskip("torch")


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(SourceError, match="Keras must run on torch; found KERAS_BACKEND=jax"):
        import_keras()


def test_keras_that_was_set_to_channels_first_is_refused() -> None:
    keras = import_keras()
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(SourceError, match="with channels last; found torch and channels_first"):
            import_keras()
    finally:
        keras.config.set_image_data_format("channels_last")


def test_tensorflow_is_never_imported_beside_torch() -> None:
    build_application("MobileNet", size=32, top=False, shape_only=True)
    assert "tensorflow" not in sys.modules


def test_a_keras_that_runs_on_another_backend_already_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keras = import_keras()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(SourceError, match="Keras must run on torch, with channels last; found jax and") as refused:
        import_keras()
    assert "\n" not in str(refused.value)


def test_random_weights_leave_the_random_state_alone() -> None:
    before = random.getstate(), torch.get_rng_state()
    build_application("MobileNet", size=32, top=False, seed=3)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_what_keras_refuses_is_refused_in_its_words() -> None:
    with pytest.raises(SourceError, match="Keras must be able to build 'VGG16'; found Input size must be at least"):
        build_application("VGG16", size=8, top=False, shape_only=True)
