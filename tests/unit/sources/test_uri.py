"""URIs, the table of providers, and the one line that each mistake gets."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from headstart.base.errors import MissingExtra, SourceError, UsageError
from headstart.sources import registry
from headstart.sources import uri as spec
from headstart.sources.providers import packaged
from headstart.sources.registry import check_source, open_source
from headstart.sources.uri import PROVIDERS, Spec, check_name, parse
from headstart.testing import ToySource


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("packaged:efficientnet-lite0", Spec("packaged", "efficientnet-lite0")),
        ("timm:resnet50.a1_in1k", Spec("timm", "resnet50.a1_in1k")),
        ("timm:resnet50@0123abc", Spec("timm", "resnet50", "0123abc")),
        (" timm:resnet50 ", Spec("timm", "resnet50")),
        ("packaged:efficientnet-lite0@320px", Spec("packaged", "efficientnet-lite0", side=320)),
        ("timm:resnet50@0123abc@96px", Spec("timm", "resnet50", "0123abc", 96)),
        ("onnx:/a@b.onnx@64px", Spec("onnx", "/a@b.onnx", side=64)),
        ("mirrored:packaged:x@64px", Spec("mirrored", "packaged:x@64px")),
    ],
)
def test_parse_takes_a_uri_apart_and_uri_puts_it_together(uri: str, parts: Spec) -> None:
    assert parse(uri) == parts
    assert parse(uri).uri == uri.strip()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("resnet50", "write timm:resnet50 or torchvision:resnet50"),
        ("minilmm", "write for instance packaged:efficientnet-lite0, did you mean 'minilm'?"),
        (__file__, f"write file:{__file__}"),
        ("pakaged:efficientnet-lite0", "did you mean 'packaged'?"),
        ("packaged:", "write for instance packaged:efficientnet-lite0"),
        ("timm:resnet50@", "provider:name[@revision]"),
        ("timm:resnet50@4px", "the side of pictures must be 8 to 2048 pixels; found @4px"),
        ("timm:resnet50@99999px", "the side of pictures must be 8 to 2048 pixels"),
        ("", "a source must be named provider:name"),
    ],
)
def test_a_mistaken_uri_is_one_line_that_says_what_to_write(uri: str, says: str) -> None:
    with pytest.raises(SourceError, match=re.escape(says)) as caught:
        parse(uri)
    assert "\n" not in str(caught.value)


def test_a_file_whose_name_ends_like_a_side_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "net@64px").touch()
    assert parse(f"file:{tmp_path}/net@64px") == Spec("file", f"{tmp_path}/net@64px")
    assert spec.innermost(f"file:{tmp_path}/net@64px") == f"file:{tmp_path}/net@64px"


@pytest.mark.parametrize(
    ("uri", "inner", "pinned"),
    [
        ("timm:a", "timm:a", "timm:a@new"),
        ("mirrored:timm:a@old@64px", "timm:a@old", "mirrored:timm:a@new@64px"),
        ("spectrogram:hf:a/b", "hf:a/b", "spectrogram:hf:a/b@new"),
        ("toy:net@0", "toy:net@0", "toy:net@new"),
    ],
)
def test_the_innermost_source_and_another_revision_keep_the_rest(uri: str, inner: str, pinned: str) -> None:
    assert (spec.innermost(uri), spec.at_revision(uri, "new")) == (inner, pinned)


def test_each_member_of_a_mean_is_pinned_to_its_own_commit() -> None:
    commit = "0123456789" * 4
    of_two_sizes = "mean:packaged:efficientnet-lite1+packaged:efficientnet-lite1@320px"
    assert spec.innermost(of_two_sizes) == of_two_sizes, "the size is that of its last member"
    mean, revision = "mean:mirrored:hf:a/b@64px+simple:pixels", f"{commit}; 1"
    assert spec.at_commits(mean, revision) == f"mean:mirrored:hf:a/b@{commit}@64px+simple:pixels"
    assert spec.at_commits(mean, commit) == mean, "one that does not name a revision for each"
    assert spec.at_commits("hf:a/b", commit) == f"hf:a/b@{commit}" and spec.at_commits("hf:a/b", "1.0") == "hf:a/b"


def test_a_name_alone_that_one_provider_knows_is_accepted() -> None:
    assert parse("wordllama").uri == "packaged:wordllama" and parse("lenet5").uri == "arch:lenet5"
    assert open_source("wordllama").opened == open_source("packaged:wordllama").opened


def test_a_folder_of_ours_is_named_with_what_takes_it(tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text('{"schema": 1}')
    with pytest.raises(SourceError, match=re.escape(f"--source file:{tmp_path}")):
        parse(str(tmp_path))


def test_every_provider_of_the_table_has_its_file_and_opener() -> None:
    for provider in PROVIDERS.values():
        assert callable(importlib.import_module(f"headstart.sources.providers.{provider.module}").open_named)


def test_a_provider_of_another_package_is_opened_through_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "toy"

        @staticmethod
        def load() -> object:
            return lambda spec, *, weights, seed: ToySource(seed)

    monkeypatch.setattr(spec, "entry_points", lambda group: [Point])
    monkeypatch.setattr(registry, "entry_points", lambda group, name: [Point])
    source = open_source("toy:convnet", layer="joined", seed=3)
    assert source.info.revision == "3"
    assert source.layer == "joined"


@pytest.mark.parametrize(
    ("missing", "uri", "extra"),
    [
        ("keras", "keras:ResNet50", "keras"),
        ("torch", "keras:ResNet50", "keras"),
        ("torch", "hf:org/name", "huggingface"),
        ("timm", "timm:resnet18", "torch"),
        ("torchvision", "torchvision:resnet18", "torch"),
        ("torch", "arch:lenet5", "torch"),
        ("torch", "file:weights.safetensors", "torch"),
    ],
)
def test_a_missing_library_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, missing: str, uri: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf"^{uri} needs the package '{missing}'.*\[{extra}\]'$"):
        open_source(uri)


def test_checkpoints_and_architectures_need_their_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"^weights net.pth needs the package 'torch'"):
        registry.check_source(None, weights="net.pth")
    with pytest.raises(MissingExtra, match=r"^timm:resnet18 needs the package 'torch'"):
        registry.check_source("words:vectors.txt", arch="timm:resnet18")
    with pytest.raises(MissingExtra, match=r"with random weights needs the package 'torch'"):
        open_source("packaged:efficientnet-lite0", weights="none")
    registry.check_source(f"onnx:{__file__}")


def test_an_import_error_inside_a_library_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'left_pad'", name="left_pad")

    monkeypatch.setattr(registry.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="left_pad") as caught:
        open_source("keras:ResNet50")
    assert not isinstance(caught.value, MissingExtra)


def test_weights_and_layers_are_checked_when_a_source_is_opened() -> None:
    with pytest.raises(UsageError, match="did you mean 'none'"):
        open_source("packaged:efficientnet-lite0", weights="nonee")
    with pytest.raises(UsageError, match=r"did you mean 'stage4.avg'"):
        open_source("packaged:efficientnet-lite0", layer="stage4.avgg")


def test_a_source_passes_through_and_keeps_its_layer() -> None:
    source = ToySource().at("joined")
    assert open_source(source) is source
    assert open_source(source, layer="pool").layer == "pool"
    assert source.layer == "joined"


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_name_that_a_library_does_not_know_is_refused_before_it_is_imported(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, library, raising=False)
    check_name(f"{library}:resnet18")
    with pytest.raises(SourceError, match=rf"{library} must know the name .*'resnet19'; .*did you mean 'resnet18'"):
        check_name(f"{library}:resnet19")
    assert library not in sys.modules


def test_what_cannot_be_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    for uri in ("packaged:speech", "onnx:a", "tfhub:a", "spectrogram:packaged:speech"):
        with pytest.raises(SourceError, match=r"comes with its weights and cannot have others; found weights none"):
            check_source(uri, weights="none")
    for uri in (f"onnx:{gone}", f"words:{gone}", f"tfhub:{gone}", f"file:{gone}", f"spectrogram:onnx:{gone}"):
        with pytest.raises(SourceError, match="gone"):
            check_source(uri)
    with pytest.raises(UsageError, match=r"or the path of a checkpoint; found '.*gone'"):
        check_source("timm:resnet18", weights=gone)
    check_source("spectrogram:packaged:efficientnet-lite0")


def test_a_packaged_source_without_its_package_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spec.PACKAGES, "glove", "no-such-package")
    for uri in ("packaged:glove", "spectrogram:packaged:glove"):
        with pytest.raises(MissingExtra, match=rf"{uri[-14:]} needs .*; run: .* install --no-deps no-such-package$"):
            check_source(uri)
    check_source("packaged:glove", weights=Path(__file__))  # these come from elsewhere
    check_source("file:" + __file__, arch="packaged:glove")


def test_the_table_of_packages_is_that_of_the_files() -> None:
    members = {name: network.weights for name, network in packaged.NETWORKS.items()}
    members |= {name: encoder.weights for name, encoder in packaged.ENCODERS.items()}
    members |= {"glove": packaged.GLOVE_VECTORS, **packaged.SOUNDS}
    assert {name: member.package for name, member in members.items()} == spec.PACKAGES


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x", "a" * 5_000, "words:~nobody-of-that-name#x"])
def test_a_name_that_can_be_no_path_is_one_line(name: str) -> None:
    with pytest.raises(SourceError):
        open_source(name)
