"""The aligner matches tensors of other names where it can prove it, and refuses where it cannot."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest
import timm
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from headstart.sources.checkpoints.align import Misaligned, Shape, align, pattern, role, side_by_side, strip_prefixes

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@cache
def shapes(name: str = "resnet18") -> dict[str, Shape]:
    with torch.device("meta"):
        body = timm.create_model(name)
    return {key: tuple(tensor.shape) for key, tensor in body.state_dict().items()}


def learned(name: str = "resnet18") -> dict[str, Shape]:
    return {key: shape for key, shape in shapes(name).items() if not key.endswith("num_batches_tracked")}


def words(draw: random.Random) -> str:
    return "".join(draw.choices(LETTERS, k=8))


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite1", "vit_tiny_patch16_224", "mobilenetv3_small_100"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.module.", "backbone."])
def test_the_same_names_match_by_name_whatever_stands_before_them(name: str, prefix: str) -> None:
    given = {prefix + key: shape for key, shape in shapes(name).items()}
    found = align(given, shapes(name), ordered=False)
    assert found.method == "names"
    assert found.notes == ((f"{prefix!r} taken off every name",) if prefix else ())
    assert found.pairs == {key: prefix + key for key in learned(name)}


def test_a_prefix_that_the_architecture_has_and_the_file_lacks_is_put_on() -> None:
    wanted = {f"body.{key}": shape for key, shape in shapes().items()}
    assert align(shapes(), wanted).pairs == {f"body.{key}": key for key in learned()}


def test_a_name_that_begins_like_a_prefix_is_left_alone() -> None:
    names = ["model.weight", "modeller.weight"]
    assert strip_prefixes(names, names) == {name: name for name in names}


@settings(max_examples=20)
@drawn(seed=st.integers(0, 2**32), name=st.sampled_from(["resnet18", "tf_efficientnet_lite0", "vit_tiny_patch16_224"]))
def test_any_new_names_in_the_same_order_align(seed: int, name: str) -> None:
    draw = random.Random(seed)
    given = {words(draw): shape for shape in learned(name).values()}
    found = align(given, shapes(name))
    assert found.method == "order"
    assert found.pairs == dict(zip(learned(name), given, strict=True))
    (note,) = found.notes
    assert re.search(r"matched by order and shape; \d+ of them only their order tells apart", note)


@settings(max_examples=30)
@drawn(seed=st.integers(0, 2**32))
def test_a_dropped_tensor_is_refused_with_both_counts__CKP_07(seed: int) -> None:
    draw = random.Random(seed)
    kept = dict(learned())
    gone = draw.choice(list(kept))
    del kept[gone]
    with pytest.raises(Misaligned, match=re.escape(f"1 missing ({gone}) and 0 extra")):
        align(kept, shapes())
    renamed = {words(draw): shape for shape in kept.values()}
    with pytest.raises(Misaligned, match="101 tensors for 102"):
        align(renamed, shapes())


@settings(max_examples=30)
@drawn(seed=st.integers(0, 2**32))
def test_shuffled_tensors_are_matched_by_their_names_or_refused(seed: int) -> None:
    draw = random.Random(seed)
    truth = {key: key.replace("layer", "stage").replace("downsample", "shortcut") for key in learned()}
    items = [(truth[key], shape) for key, shape in learned().items()]
    draw.shuffle(items)
    try:
        found = align(dict(items), shapes()).pairs
    except Misaligned:
        return
    assert found == truth


def test_names_sorted_by_letter_are_matched_by_their_patterns() -> None:
    truth = {key: key.replace("layer", "stage").replace("downsample", "shortcut") for key in learned()}
    given = {name: learned()[key] for key, name in sorted(truth.items(), key=lambda item: item[1])}
    found = align(given, shapes(), ordered=False)
    assert found.method == "patterns"
    assert found.pairs == truth
    assert "patterns of their names" in found.notes[0]


def test_sorted_names_without_meaning_are_refused() -> None:
    draw = random.Random(0)
    given = dict(sorted((words(draw), shape) for shape in learned().values()))
    with pytest.raises(Misaligned, match="the file keeps no order, and the names do not tell"):
        align(given, shapes(), ordered=False)


def two(first: str, second: str) -> dict[str, Shape]:
    return {first: (4,), second: (4,)}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (two("norm_a.bias", "norm_a.weight"), "a bias, stands where"),
        (two("bn.beta", "bn.gamma"), "a bias, stands where"),
    ],
)
def test_roles_that_speak_against_the_order_turn_to_names(given: dict[str, Shape], why: str) -> None:
    wanted = two("norm.weight", "norm.bias")
    found = align(given, wanted)
    assert found.method == "patterns"
    assert [role(found.pairs[name]) for name in wanted] == ["weight", "bias"]


def test_a_name_in_the_place_of_another_is_not_matched_by_order() -> None:
    given = {"second.conv": (4, 4), "first.conv": (4, 4), "tail.fully": (3, 4)}
    wanted = {"first.conv": (4, 4), "second.conv": (4, 4), "fc": (3, 4)}
    assert align(given, wanted).pairs == {"first.conv": "first.conv", "second.conv": "second.conv", "fc": "tail.fully"}


def test_two_of_one_pattern_whose_numbers_run_backwards_are_not_matched_by_order() -> None:
    given = {"block.1.w": (4, 4), "block.0.w": (4, 4)}
    wanted = {"layers.0.conv": (4, 4), "layers.1.conv": (4, 4)}
    assert align(given, wanted).pairs == {"layers.0.conv": "block.0.w", "layers.1.conv": "block.1.w"}
    assert align(given, wanted).method == "patterns"


def test_swapped_patterns_of_one_shape_are_refused_unless_words_tell_them_apart() -> None:
    wanted = {"attn.query.kernel": (4, 4), "attn.key.kernel": (4, 4)}
    close = {"b.attn.key.kernel": (4, 4), "b.attn.query.kernel": (4, 4)}
    assert align(close, wanted, ordered=False).pairs == {key: f"b.{key}" for key in wanted}
    with pytest.raises(Misaligned):
        align({"left.kernel": (4, 4), "right.kernel": (4, 4)}, wanted, ordered=False)


def test_wrong_shapes_under_the_right_names_are_refused_and_the_first_three_listed__CKP_05() -> None:
    given = dict(shapes())
    for key in list(given)[:5]:
        given[key] = (7,)
    with pytest.raises(
        Misaligned, match=r"5 of the right name .*: conv1.weight \(7,\) for \(64, 3, 7, 7\), .* and 2 more"
    ):
        align(given, shapes())


def test_another_architecture_is_refused_where_it_first_differs() -> None:
    with pytest.raises(Misaligned, match=r"0 missing and 80 extra \(layer1.2.conv1.weight, .* and 77 more\)"):
        align(shapes("resnet34"), shapes())
    renamed = {f"t.{at}": shape for at, shape in enumerate(learned("resnet34").values())}
    with pytest.raises(Misaligned, match=r"182 tensors for 102; first t\.25 .* is wanted"):
        align(renamed, shapes())


def test_the_lists_stand_side_by_side() -> None:
    given, wanted = {"x": (1, 2), "y": (3,)}, {"conv.weight": (1, 2)}
    assert side_by_side(given, wanted) == "conv.weight (1, 2)  x (1, 2)\n                    y (3,)"
    with pytest.raises(Misaligned) as caught:
        align(given, wanted)
    assert caught.value.both == side_by_side(given, wanted)


def test_parts_of_a_name() -> None:
    assert pattern("_blocks.12._bn0.weight") == ("_blocks.#._bn#.weight", (12, 0))
    assert [role(name) for name in ("a.gamma", "b/kernel:0", "c.moving_variance", "d.running_mean", "e.alpha")] == [
        "weight", "weight", "variance", "mean", None,
    ]  # fmt: skip
