"""Networks of transformers: pooled as their classifiers pool, loaded whole or refused, encoders in each pooling."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.base.errors import SourceError
from headstart.sources.layers import POOLINGS, Pooling
from headstart.sources.networks import transformers_networks
from headstart.sources.networks.transformers_networks import (
    FAMILIES,
    TEXT_FAMILIES,
    Encoder,
    Steps,
    build_classifier,
    build_encoder,
)

VIT = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    **{"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 6},
    **{"image_size": 8, "patch_size": 4, "id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}},
}
BERT = {
    "model_type": "bert",
    **{"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 6},
    **{"vocab_size": 11, "max_position_embeddings": 9},
}
WHERE = "org/net/model.safetensors"


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Inner(nn.Module):
    """A base network whose last hidden state is known."""

    def __init__(self, state: Tensor) -> None:
        super().__init__()
        self.state, self.config = state, SimpleNamespace(num_register_tokens=2)
        self.pooler, self.head = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.layernorm = self.post_layernorm = nn.Threshold(0.0, 7.0)

    def forward(self, pixel_values: Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=self.state * pixel_values.mean())


class Model(nn.Module):
    base_model_prefix = "inner"

    def __init__(self, state: Tensor, classifier: nn.Module | None) -> None:
        super().__init__()
        self.inner, self.classifier = Inner(state), classifier


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("vit", lambda state: state[:, 0]),
        ("deit", lambda state: state[:, 0]),
        ("swin", lambda state: state.mean(1)),
        ("dinov2", lambda state: torch.cat([state[:, 0], state[:, 3:].mean(1)], 1)),  # two registers
        ("clip", lambda state: torch.where(state[:, 0] > 0, state[:, 0], 7.0)),
        ("siglip", lambda state: state.flatten(1)),
    ],
)
def test_tokens_are_pooled_as_the_family_does(kind: str, expected: Any) -> None:
    state = noise(2, 6, 4)
    steps = Steps(Model(state, None), FAMILIES[kind].pool)
    np.testing.assert_allclose(steps.forward_head(state), expected(state), rtol=1e-6)


@pytest.mark.parametrize(("kind", "floor"), [("resnet", None), ("regnet", None), ("convnext", 7.0)])
def test_maps_are_pooled_over_positions(kind: str, floor: float | None) -> None:
    state = noise(2, 4, 3, 5)
    pooled = Steps(Model(state, None), FAMILIES[kind].pool).forward_head(state)
    mean = state.mean((2, 3))
    expected = mean if floor is None else torch.where(mean > 0, mean, floor)  # normalised after the mean
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_the_two_steps_are_the_whole() -> None:
    state, pictures = noise(2, 6, 4), torch.full((2, 3, 4, 4), 2.0)
    classifier = nn.Linear(4, 3)
    steps, bare = (Steps(Model(state, part), FAMILIES["vit"].pool) for part in (classifier, None))
    with torch.inference_mode():
        np.testing.assert_allclose(steps.forward_features(pictures), 2 * state)
        np.testing.assert_allclose(steps(pictures), classifier(2 * state[:, 0]), rtol=1e-6)
        np.testing.assert_allclose(steps.forward_head(state, pre_logits=True), state[:, 0])
        np.testing.assert_allclose(bare(pictures), 2 * state[:, 0])
    assert steps.classifier is classifier and bare.classifier is None
    alone = Inner(state)
    alone.base_model_prefix = "vit"
    assert Steps(alone, FAMILIES["vit"].pool).base is alone, "a network without a head is its own base"


def test_towers_of_a_pair_are_those_of_their_own_kind() -> None:
    for kind in ("clip", "siglip"):
        assert FAMILIES[kind].vision and not FAMILIES[f"{kind}_vision_model"].vision
        assert FAMILIES[kind].bare == FAMILIES[f"{kind}_vision_model"].bare
    assert not FAMILIES.keys() & TEXT_FAMILIES.keys()


class Layers(nn.Module):
    """An encoder whose hidden states are the ids, scaled by the number of the layer."""

    def forward(self, *, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool) -> Any:
        assert output_hidden_states
        base = torch.stack([input_ids, -input_ids + 1], 2).float()
        states = [base * layer for layer in range(4)]
        return SimpleNamespace(last_hidden_state=states[-1], hidden_states=states)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("cls", [6, -3]), ("mean", [9, -6]), ("max", [12, -3]), ("mean_sqrt_len_tokens", [9 * 2**0.5, -6 * 2**0.5])],
)
@pytest.mark.parametrize("normalise", [False, True])
def test_a_text_is_pooled_over_its_own_tokens(operation: str, expected: list[float], normalise: bool) -> None:
    assert operation in POOLINGS
    ids, mask = torch.tensor([[2, 4, 90]]), torch.tensor([[1, 1, 0]])
    pooled, second, first = Encoder(Layers(), Pooling(operation, normalise, (1, 0)))(ids, mask)
    row = np.array([expected]) / (np.linalg.norm(expected) if normalise else 1)
    np.testing.assert_allclose(pooled, row, rtol=1e-5)
    mean = np.array([[3, -2]]) / 13**0.5
    np.testing.assert_allclose(first, mean, rtol=1e-5)
    np.testing.assert_allclose(second, mean, rtol=1e-5, err_msg="of unit length, whatever its layer's scale")


# The library takes seconds to build its first network: what follows runs by default in `test_huggingface`, in large.


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    built, notes = build_classifier(VIT, None, where=WHERE)
    assert notes == ()
    return {name: tensor.clone() for name, tensor in built.model.state_dict().items()}


@pytest.mark.slow
def test_the_weights_of_a_file_are_loaded_every_one(state: dict[str, Tensor]) -> None:
    built, notes = build_classifier(VIT, state, where=WHERE)
    assert notes == () and not built.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in built.model.state_dict().items())
    with torch.inference_mode():
        assert built(noise(1, 3, 8, 8)).shape == (1, 3)
    fp16 = {name: tensor.half() for name, tensor in state.items()}
    widened, _ = build_classifier({**VIT, "torch_dtype": "float16"}, fp16, where=WHERE)
    assert {tensor.dtype for tensor in widened.model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vit.layernorm.weight": None}, r"found 1 of \d+ missing: vit\.layernorm\.weight; name a repository"),
        ({"vit.more.weight": torch.ones(2)}, r"found 1 left over: vit\.more\.weight"),
        ({"vit.layernorm.bias": torch.ones(9)}, r"found 1 of another shape: vit\.layernorm\.bias \(9,\) for \(8,\)"),
    ],
)
def test_a_body_that_is_not_whole_is_refused__CKP_07(
    state: dict[str, Tensor], changes: dict[str, Any], said: str
) -> None:
    changed = {name: tensor for name, tensor in {**state, **changes}.items() if tensor is not None}
    with pytest.raises(
        SourceError, match=rf"{WHERE} must hold every weight of the network's body and no other; {said}"
    ):
        build_classifier(VIT, changed, where=WHERE)


@pytest.mark.slow
def test_a_classifier_that_is_not_there_is_taken_off_and_told__CKP_07(state: dict[str, Tensor]) -> None:
    body = {name: tensor for name, tensor in state.items() if not name.startswith("classifier")}
    built, notes = build_classifier(VIT, body, where=WHERE)
    assert built.classifier is None and notes == ("its classifier was left out (there is none): features only",)
    other = {**body, "classifier.weight": torch.ones(5, 8), "classifier.bias": torch.ones(5)}
    built, (note,) = build_classifier(VIT, other, where=WHERE)
    assert built.classifier is None and "classifier.weight (5, 8) for (3, 8)" in note
    extra = {**state, "vit.pooler.dense.weight": torch.ones(8, 8), "decoder.bias": torch.ones(1)}
    built, (note,) = build_classifier(VIT, extra, where=WHERE)
    assert built.classifier is not None
    assert note == "2 tensors were left out that its features do not need: decoder (1), pooler (1)"


@pytest.mark.slow
def test_settings_that_cannot_be_built_are_one_line_and_the_library_speaks_again() -> None:
    logging: Any = transformers_networks.transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with pytest.raises(
        SourceError, match=r"transformers must be able to build a vit network from config\.json"
    ) as caught:
        build_classifier({**VIT, "hidden_act": "unheard of"}, None, where=WHERE)
    assert "\n" not in str(caught.value)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.slow
def test_an_encoder_reads_texts_of_any_length_in_any_batch() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(BERT, Pooling("mean", normalise=True, layers=(0,)), None, where=WHERE)
    assert not encoder.training and encoder.model.pooler is None, "no classifier uses it"
    ids, mask = torch.tensor([[3, 4, 0, 0], [5, 6, 7, 8]]), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    with torch.inference_mode():
        both, alone = encoder(ids, mask), encoder(ids[:1, :2], mask[:1, :2])
    for block, row in zip(both, alone, strict=True):
        assert block.shape == (2, 8)
        np.testing.assert_allclose(block[:1], row, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(block.norm(dim=1), 1, rtol=1e-5)
