"""The mean of two or three sources: their features side by side, and one linear head that averages theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_nets import convnet
from worded import write_halves

from headstart.base.errors import SourceError, UsageError
from headstart.data.readers.arrays.in_memory import from_items
from headstart.features.extract import extract
from headstart.fitting.fit import fit
from headstart.heads.linear import softmax
from headstart.model import load
from headstart.sklearn import SourceFeatures
from headstart.sources.layers import layer_names, stages_of
from headstart.sources.providers.simple import SimpleSource
from headstart.sources.registry import open_source

TEXTS = ["aaaaa abaab", "bbaac", "baabc aaacc", "bbaac"]


def test_features_of_the_members_stand_side_by_side(tmp_path: Path) -> None:
    _, (first, second, _) = write_halves(tmp_path)
    members = [open_source(uri) for uri in (first, second)]
    both = open_source(f"mean:{first}+{second}")
    info = both.info
    assert (info.uri, info.kind) == (f"mean:{first}+{second}", "text") and info.notes == members[0].info.notes
    assert info.parameters == sum(member.info.parameters for member in members)
    assert info.feature_size == sum(member.info.feature_size for member in members)
    assert {"1/pool", "1/joined", "2/sif"} <= set(info.layers) and "joined" not in info.layers
    assert len({info.sha256, open_source(f"mean:{second}+{first}").info.sha256, members[0].info.sha256}) == 3
    np.testing.assert_array_equal(both.encode(TEXTS), np.hstack([member.encode(TEXTS) for member in members]))
    joined = both.at("2/joined").encode(TEXTS)
    np.testing.assert_array_equal(joined, members[1].at("joined").encode(TEXTS))
    transformer = SourceFeatures(f"mean:{first}+{second}", layer="1/pool,2/joined").fit(TEXTS)
    np.testing.assert_allclose(transformer.transform(TEXTS)[:, -joined.shape[1] :], joined, atol=1e-6)
    assert len(transformer.get_feature_names_out()) == transformer.transform(TEXTS).shape[1]


def test_what_a_member_has_in_the_cache_is_not_extracted_again(tmp_path: Path) -> None:
    _, uris = write_halves(tmp_path)
    dataset, members = from_items(TEXTS, kind="text"), [open_source(uri) for uri in uris]
    alone = [extract(dataset, member, cache=tmp_path / "cache") for member in members]
    both = extract(dataset, open_source(f"mean:{'+'.join(uris)}"), cache=tmp_path / "cache")
    assert (both.misses, both.hits, both.row_of.tolist()) == (0, 4, alone[0].row_of.tolist())
    np.testing.assert_array_equal(both.x, np.hstack([each.x for each in alone]))
    assert sum(block.width for block in both.blocks) == both.x.shape[1]


def test_what_one_member_cannot_use_is_skipped_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (first, second, _) = write_halves(tmp_path)
    source = open_source(f"mean:{first}+{second}")
    dataset = from_items(TEXTS[:3], kind="text")
    lost = dataset.examples[1]

    def extracted(own: object, member: object, **options: object) -> object:
        if member is source.members[1] and lost in own.examples:  # type: ignore[attr-defined]
            own = own.keep([at for at, each in enumerate(own.examples) if each is not lost])  # type: ignore[attr-defined]
            options["hashes"] = None
        return original(own, member, **options)  # type: ignore[arg-type]

    from headstart.features import extract as module

    original = module.extract
    both = module.side_by_side(dataset, source, None, lambda *a, **k: extracted(*a, cache=tmp_path / "c", **k))
    assert both.positions == (0, 2) and len(both.x) == 2


def test_the_mean_of_two_halves_is_better_than_each_and_a_bundle_says_the_same(tmp_path: Path) -> None:
    data, (first, second, _) = write_halves(tmp_path)
    both = fit(data, source=f"mean:{first}+{second}")
    alone = [fit(data, source=uri).report["test"]["accuracy"]["value"] for uri in (first, second)]
    assert both.report["test"]["accuracy"]["value"] > max(alone) + 0.1, alone
    assert [side[:2] for side in both.layer.split(",")][::-1][0] == "2/" and both.layer.startswith("1/")
    both.save(tmp_path / "bundle")
    again = load(tmp_path / "bundle")
    np.testing.assert_allclose(again.predict_proba(TEXTS), both.predict_proba(TEXTS), atol=1e-6)
    x = both.source.at(both.layer).encode(TEXTS)
    scores = both.head.scores(x) + (0 if both.terms is None else both.terms.scores(TEXTS))
    np.testing.assert_allclose(
        softmax(scores / np.float32(both.head.temperature)), both.predict_proba(TEXTS), atol=1e-5
    )


def test_a_member_that_was_changed_is_not_opened_by_the_bundle(tmp_path: Path) -> None:
    data, (first, second, nothing) = write_halves(tmp_path)
    fit(data, source=f"mean:{first}+{second}").save(tmp_path / "bundle")
    Path(nothing.removeprefix("words:")).replace(second.removeprefix("words:"))
    with pytest.raises(UsageError, match="must be those of the bundle"):
        load(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mean:packaged:minilm", "two or three different members"),
        ("mean:packaged:minilm+packaged:minilm", "two or three different members"),
        ("mean:packaged:a+packaged:b+packaged:c+packaged:d", "two or three different members"),
        ("mean:mean:packaged:a+packaged:b", "two or three different members"),
        ("mean:simple:pixels+packaged:efficientnet-lite9", "packaged: sources are"),
        ("mean:simple:pixels+nobody:knows", "the provider of a source must be one of"),
        ("mean:simple:pixels+simple:words", "must read the same kind of examples"),
    ],
)
def test_what_is_no_mean_is_told_in_one_line(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        open_source(uri)
    assert "\n" not in str(raised.value)


def test_a_mean_is_not_tuned_and_has_no_weights_of_its_own(tmp_path: Path) -> None:
    data, (first, second, _) = write_halves(tmp_path)
    uri = f"mean:{first}+{second}"
    with pytest.raises(SourceError, match="must be one network; found mean:"):
        fit(data, source=uri, tune="last:1")
    for options in ({"arch": "timm:resnet18"}, {"size": 64}):
        with pytest.raises(UsageError, match="must belong to one source"):
            open_source(uri, **options)  # type: ignore[arg-type]


def test_layers_of_members_are_named_after_their_number() -> None:
    blocks = ("1/pool", "1/late.avg", "2/pool")
    assert layer_names(blocks) == ("1/pool", "1/joined", "1/late.avg", "2/pool")
    assert stages_of("1/joined,2/pool", blocks) == blocks and stages_of("2/joined", blocks) == ("2/pool",)
    assert stages_of("joined", ("pool", "late.avg")) == ("pool", "late.avg")


def test_members_of_other_preprocessing_are_another_source() -> None:
    members = [SimpleSource("pixels"), SimpleSource("pixels")]
    from headstart.sources.providers.mean import MeanSource

    before = MeanSource(members).info.sha256
    members[1].preprocessing = replace(members[1].preprocessing, resize=9)  # type: ignore[arg-type]
    assert MeanSource(members).info.sha256 != before


def test_what_is_no_network_reads_as_the_network_beside_it(tmp_path: Path) -> None:
    convnet(tmp_path / "net.onnx")
    both = open_source(f"mean:simple:pixels+onnx:{tmp_path / 'net.onnx'}")
    assert both.members[0].preprocessing == both.members[1].preprocessing != SimpleSource("pixels").preprocessing
