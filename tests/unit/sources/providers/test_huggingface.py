"""Networks of the hub: built here, weights all accounted for, pictures prepared as the library prepares them."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hub_models import CLIP, CONVNEXT, CROPPED, KINDS, SIDE, SQUASHED, place, tiny, tiny_timm
from hub_server import Hub
from PIL import Image
from safetensors.torch import load, save

from headstart import fit
from headstart import load as load_bundle
from headstart.base.errors import BundleError, MissingExtra, SourceError
from headstart.base.progress import progress_for
from headstart.data.images.preprocessing import decode
from headstart.fitting.fit import FitOptions, run_fit
from headstart.sources.networks.image_processor import library_processor, preprocessing_of
from headstart.sources.networks.tapped import Probabilities
from headstart.sources.registry import open_source
from headstart.testing import toy_photos

WEIGHTS = "model.safetensors"


def pictures(count: int = 2, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def changed(files: dict[str, bytes], file: str, **values: Any) -> dict[str, bytes]:
    held = json.loads(files[file]) | values
    return {**files, file: json.dumps({name: value for name, value in held.items() if value is not None}).encode()}


def without(files: dict[str, bytes], *endings: str) -> dict[str, bytes]:
    state = {name: tensor for name, tensor in load(files[WEIGHTS]).items() if not name.endswith(endings)}
    return {**files, WEIGHTS: save(state)}


def library_model(files: dict[str, bytes], folder: Path, named: str = "") -> Any:
    """The network as transformers itself opens it."""
    import transformers

    for name, data in files.items():
        (folder / name).write_bytes(data)
    named = named or json.loads(files["config.json"])["architectures"][0]
    return getattr(transformers, named).from_pretrained(folder, local_files_only=True).eval()


def refused(hub: Hub, files: dict[str, bytes], what: str) -> None:
    hub.add("org/bad", files)
    with pytest.raises(SourceError, match=what) as caught:
        open_source("hf:org/bad")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("clip", "siglip")])
def test_features_and_probabilities_are_the_library_s_own(hub: Hub, tmp_path: Path, kind: str) -> None:
    commit = hub.add(f"org/{kind}", tiny(kind))
    source = open_source(f"hf:org/{kind}")
    assert source.info.revision == commit
    model = library_model(tiny(kind), tmp_path)
    batch = torch.from_numpy(pictures())
    values = torch.from_numpy(_normalised(pictures(), source.preprocessing))
    read: list[torch.Tensor] = []
    with torch.inference_mode():
        blocks = dict(zip([tap.name for tap in source.taps], source.network().module()(batch), strict=True))
        if hasattr(model, "classifier"):
            model.classifier.register_forward_pre_hook(lambda module, given: read.append(given[0].flatten(1)))
            chances = model(values).logits.softmax(-1)
            expected = read[0]
            found = Probabilities(source.module(), source.preprocessing)(batch)
            np.testing.assert_allclose(found, chances.numpy(), atol=1e-5)
        else:
            assert source.identity.classes == 0
            said = model(values)
            expected = said.pooler_output
            if kind.startswith("dinov2"):  # what Dinov2ForImageClassification's classifier reads
                registers = getattr(model.config, "num_register_tokens", 0)
                expected = torch.cat([expected, said.last_hidden_state[:, 1 + registers :].mean(1)], 1)
        hidden = model(values, output_hidden_states=True).hidden_states
    np.testing.assert_allclose(blocks["pool"], expected, rtol=1e-4, atol=1e-5)
    late = [name for name in blocks if re.fullmatch(r"stage\d+\.avg", name)][-2]
    if kind not in ("swin", "swinv2", "mobilenet_v2"):  # these list hidden states of other places
        state = hidden[int(late[5 : late.index(".")]) + 1]
        mean = state.mean((2, 3)) if state.ndim == 4 else state.mean(1)
        np.testing.assert_allclose(blocks[late], mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "named"), [("clip", "CLIPVisionModel"), ("siglip", "SiglipVisionModel")])
def test_of_a_pair_of_towers_the_one_for_pictures_is_taken(hub: Hub, tmp_path: Path, kind: str, named: str) -> None:
    hub.add(f"org/{kind}", tiny(kind))
    source = open_source(f"hf:org/{kind}")
    (note,) = source.info.notes
    assert "tensors were left out that its features do not need: text_model" in note
    import transformers

    transformers.utils.logging.set_verbosity_error()
    model = library_model(tiny(kind), tmp_path, named)
    batch = torch.from_numpy(pictures())
    with torch.inference_mode():
        expected = model(torch.from_numpy(_normalised(pictures(), source.preprocessing))).pooler_output
        pool = source.network().module()(batch)[0]
    np.testing.assert_allclose(pool, expected, rtol=1e-4, atol=1e-5)


def _normalised(batch: np.ndarray, how: Any) -> np.ndarray:
    values = (batch / 255 - np.array(how.mean)) / np.array(how.std)
    return values.transpose(0, 3, 1, 2).astype(np.float32)


@pytest.mark.parametrize("kind", ["vit", "resnet", "dinov2", "swin"])
def test_random_weights_are_drawn_and_say_so(hub: Hub, kind: str) -> None:
    hub.add(f"org/{kind}", tiny(kind))
    own, one, same, other = (
        open_source(f"hf:org/{kind}", weights=weights, seed=seed)
        for weights, seed in (("pretrained", 0), ("none", 0), ("none", 0), ("none", 1))
    )
    assert not hub.requests("GET", f"{kind}/resolve/main/{WEIGHTS}")
    states = [next(iter(source.module().parameters())) for source in (own, one, same, other)]
    assert torch.equal(states[1], states[2])
    assert not torch.equal(states[1], states[3])
    assert not torch.equal(states[0], states[1])
    assert len({source.network().fingerprint for source in (own, one, same, other)}) == 3
    assert one.network().blocks == own.network().blocks
    assert "random" in one.info.trained_on


def test_timm_s_layout_is_built_by_timm(hub: Hub, tmp_path: Path) -> None:
    import timm

    commit = hub.add("org/timm", tiny_timm())
    source = open_source("hf:org/timm")
    assert source.info.revision == commit
    trained = timm.create_model("test_resnet", num_classes=5, checkpoint_path="").eval()
    trained.load_state_dict(load(tiny_timm()[WEIGHTS]))
    batch = torch.from_numpy(pictures(2, source.preprocessing.size[0]))
    values = torch.from_numpy(_normalised(batch.numpy(), source.preprocessing))
    with torch.inference_mode():
        pool = source.network().module()(batch)[0]
        expected = trained.forward_head(trained.forward_features(values), pre_logits=True)
    np.testing.assert_allclose(pool, expected, rtol=1e-4, atol=1e-5)
    assert source.identity.classes == 5
    headless = changed(tiny_timm(), "config.json", num_classes=7)
    hub.add("org/other", headless)
    other = open_source("hf:org/other")
    assert other.identity.classes == 0
    assert "5 classes where the architecture has 7" in other.info.notes[0]


def test_a_second_run_imports_neither_torch_nor_transformers(hub: Hub, cache: Path) -> None:
    hub.add("org/vit", tiny("vit"))
    first = open_source("hf:org/vit")
    code = (
        "import sys, headstart as hs; source = hs.open_source('hf:org/vit'); "
        "print(source.network().fingerprint, [name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"{first.network().fingerprint} []"


def test_card_names_licence_and_data(hub: Hub) -> None:
    card = b"---\nlicense: apache-2.0\ndatasets:\n- imagenet-1k\n- imagenet-21k\ntags:\n- vision\n---\n# A model\n"
    hub.add("org/vit", {**tiny("vit"), "README.md": card})
    info = open_source("hf:org/vit").info
    assert info.licence == "apache-2.0"
    assert info.trained_on == f"imagenet-1k, imagenet-21k ({hub.url}/org/vit)"
    hub.add("org/bare", tiny("vit"))
    assert open_source("hf:org/bare").info.licence == "not stated"


def test_weights_in_parts_and_weights_in_a_pickle_are_the_same_network(hub: Hub, tmp_path: Path) -> None:
    files = tiny("vit")
    state = load(files[WEIGHTS])
    names = sorted(state)
    rest = {name: data for name, data in files.items() if name != WEIGHTS}
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    hub.add("org/parts", {
        **rest,
        "model.safetensors.index.json": json.dumps(index).encode(),
        **{part: save({name: state[name] for name in held}) for part, held in parts.items()},
    })  # fmt: skip
    torch.save(state, tmp_path / "pytorch_model.bin")
    hub.add("org/pickle", {**rest, "pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes()})
    hub.add("org/whole", files)
    whole = open_source("hf:org/whole").module().state_dict()
    for name in ("parts", "pickle"):
        for key, tensor in open_source(f"hf:org/{name}").module().state_dict().items():
            assert torch.equal(tensor, whole[key])


def test_offline_what_the_library_fetched_is_enough__HUB_01(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tiny("vit")
    state = {name: data for name, data in files.items() if name != WEIGHTS}
    torch.save(load(files[WEIGHTS]), tmp_path / "pytorch_model.bin")
    held = place(
        tmp_path / "hub", "org/held", {**state, "pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes()}
    )
    (tmp_path / "hub" / "models--org--held" / ".no_exist" / held / "README.md").unlink()
    lacking = place(tmp_path / "hub", "org/lacking", state)
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    assert open_source(f"hf:org/held@{held}").info.licence == "not stated"
    with pytest.raises(SourceError, match=f"needs {WEIGHTS} .*offline; .*headstart sources hf:org/lacking@{lacking}"):
        open_source(f"hf:org/lacking@{lacking}")
    assert not hub.asked


def test_a_pickle_is_not_read_where_there_are_safetensors(hub: Hub) -> None:
    hub.add("org/both", {**tiny("vit"), "pytorch_model.bin": b"cos\nsystem\n(S'false'\ntR."})
    open_source("hf:org/both").module()
    assert not hub.requests(file="pytorch_model.bin")


def test_a_pickle_with_code_is_refused__CKP_01(hub: Hub, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"x": Evil()}, tmp_path / "evil.bin")
    files = {name: data for name, data in tiny("vit").items() if name != WEIGHTS}
    refused(hub, {**files, "pytorch_model.bin": (tmp_path / "evil.bin").read_bytes()}, "must hold tensors and nothing")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["vit", "resnet", "dinov2"])
def test_every_weight_of_the_body_must_be_there__CKP_07(hub: Hub, kind: str) -> None:
    state = load(tiny(kind)[WEIGHTS])
    body = [name for name in sorted(state) if "classifier" not in name and "mask_token" not in name]
    for dropped in (body[0], body[len(body) // 2], body[-1]):
        if "num_batches_tracked" in dropped:
            continue
        refused(
            hub,
            without(tiny(kind), dropped),
            r"every weight of the network's body and no other; found 1 of \d+ missing",
        )
    many = tuple(body[:7])
    refused(hub, without(tiny(kind), *many), r"[2-7] of \d+ missing: .*and \d more")
    stray = {**state, f"{body[0].rpartition('.')[0]}.stray": torch.ones(2)}
    refused(hub, {**tiny(kind), WEIGHTS: save(stray)}, "found 1 left over: .*stray")


def test_a_deeper_checkpoint_than_its_config_is_refused__CKP_07(hub: Hub) -> None:
    refused(hub, changed(tiny("vit"), "config.json", num_hidden_layers=2), r"found 16 left over: .* and 13 more")


def test_a_classifier_alone_may_differ_and_is_said__CKP_07(hub: Hub) -> None:
    hub.add("org/none", without(tiny("vit"), "classifier.weight", "classifier.bias"))
    labels = {str(at): f"c{at}" for at in range(9)}
    hub.add("org/nine", changed(tiny("vit"), "config.json", id2label=labels, label2id=None))
    hub.add("org/own", tiny("vit"))
    own, batch = open_source("hf:org/own"), torch.from_numpy(pictures())
    for name, said in (("none", "there is none"), ("nine", r"classifier\.bias \(5,\) for \(9,\)")):
        source = open_source(f"hf:org/{name}")
        assert source.identity.classes == 0
        (note,) = source.info.notes
        assert re.search(rf"its classifier was left out \({said}.*\): features only", note)
        assert source.info.parameters == own.info.parameters
        with pytest.raises(SourceError, match="must have a classifier of its own"):
            source.classify([pictures(1)[0]])
        with torch.inference_mode():
            for block, same in zip(source.network().module()(batch), own.network().module()(batch), strict=True):
                assert torch.equal(block, same)


def test_wrong_shapes_are_listed__CKP_05(hub: Hub) -> None:
    said = r"of another shape: vit\.[\w.]+ \(\d+,( \d+)*\) for \(\d+,( \d+)*\), .* and \d+ more"
    refused(hub, changed(tiny("vit"), "config.json", intermediate_size=48), said)


def test_weights_that_are_not_numbers_are_refused__CKP_06(hub: Hub) -> None:
    state = {name: tensor.clone() for name, tensor in load(tiny("resnet")[WEIGHTS]).items()}
    name = next(name for name in sorted(state) if name.endswith("convolution.weight"))
    state[name].view(-1)[3] = float("inf")
    refused(hub, {**tiny("resnet"), WEIGHTS: save(state)}, f"NaN or infinity in {re.escape(name)}")


def test_half_of_the_weights_is_refused__CKP_03(hub: Hub) -> None:
    refused(hub, {**tiny("vit"), WEIGHTS: tiny("vit")[WEIGHTS][:9000]}, WEIGHTS)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling_evil.EvilModel"}}),
        ("config.json", {"trust_remote_code": True}),
        ("config.json", {"custom_pipelines": {"image-classification": {"impl": "evil.Pipeline"}}}),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "processing_evil.Evil"}}),
    ],
)
def test_code_of_a_repository_is_never_fetched_nor_run__CKP_11(
    hub: Hub, tmp_path: Path, file: str, values: dict[str, Any]
) -> None:
    evil = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    files = {**tiny("vit"), "modeling_evil.py": evil, "processing_evil.py": evil, "tokenization_evil.py": evil}
    refused(
        hub, changed(files, file, **values), f"must be built without code of its own, .* found {next(iter(values))}"
    )
    assert not hub.requests(file=".py")
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_tokenizer_is_not_looked_at__CKP_11(hub: Hub) -> None:
    files = {
        **tiny("clip"),
        "tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", null]}}',
        "tokenization_evil.py": b"raise SystemExit",
    }
    hub.add("org/clip", files)
    open_source("hf:org/clip").module()
    assert {path.rpartition("/")[2] for _, path, _ in hub.asked} == {
        "config.json", "preprocessor_config.json", WEIGHTS, "README.md",
    }  # fmt: skip


@pytest.mark.parametrize("part", ["../../../evil.safetensors", "/etc/passwd"])
def test_parts_that_lead_out_are_refused__CKP_11(hub: Hub, part: str) -> None:
    files = {name: data for name, data in tiny("vit").items() if name != WEIGHTS}
    index = json.dumps({"weight_map": {"x": part}}).encode()
    refused(hub, {**files, "model.safetensors.index.json": index}, "must lie in its own folder")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"checkpoint_path": "/tmp/evil.pth"}, "must shape the network only; found checkpoint_path"),
        ({"pretrained": True}, "must shape the network only; found pretrained"),
    ],
)
def test_settings_of_timm_cannot_name_files__CKP_11(hub: Hub, values: dict[str, Any], said: str) -> None:
    refused(hub, changed(tiny_timm(), "config.json", model_args=values), said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_args": [1]}, "must be settings by name"),
        ({"pretrained_cfg": "x"}, "must be settings by name"),
        ({"model_args": {"nobody": 1}}, "timm must be able to build 'test_resnet'"),
        ({"num_classes": "many"}, "timm must be able to build 'test_resnet'"),
        ({"pretrained_cfg": {"input_size": 3}}, "must"),
        ({"pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 4}}, "mean .* must be a list of a number"),
        ({"x": float("inf")}, "must describe a network that its library builds"),
    ],
)
def test_settings_of_timm_that_make_no_sense_are_one_line(hub: Hub, values: dict[str, Any], said: str) -> None:
    refused(hub, changed(tiny_timm(), "config.json", **values), said)


@pytest.mark.parametrize(
    ("kind", "file", "values"),
    [
        ("vit", "config.json", {"image_size": 2**31}),
        ("vit", "config.json", {"image_size": 2**70}),
        ("convnext", "config.json", {"out_features": [-1]}),
        ("vit", "preprocessor_config.json", {"size": {"height": -1, "width": 32}}),
        ("vit", "preprocessor_config.json", {"image_mean": [0.5, {}, 0.5]}),
    ],
)
def test_settings_that_no_library_builds_are_one_line(hub: Hub, kind: str, file: str, values: dict[str, Any]) -> None:
    refused(hub, changed(tiny(kind), file, **values), "must")


@pytest.mark.parametrize("name", ["hf-hub:org/evil", "local-dir:/tmp", "resnet_of_nobody"])
def test_timm_builds_its_own_architectures_only__CKP_11(hub: Hub, name: str) -> None:
    refused(hub, changed(tiny_timm(), "config.json", architecture=name), "timm must know the name")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"model_type": "gpt2", "vocab_size": 100, "architectures": ["GPT2Model"]},
            r"for images, for texts among bert, .*; found one for text, 'gpt2' .GPT2Model.",
        ),
        ({"model_type": "speecht5", "conv_kernel": [1]}, "for images, .*; found one for sound, 'speecht5'"),
        ({"model_type": "swing"}, "must be of timm or of a family among vit, .* did you mean 'swin'?"),
        ({}, "found None .no architecture named."),
        ({"model_type": "vit", "quantization_config": {"bits": 4}}, "must have plain weights"),
        ({"model_type": "bert", "quantization_config": {"bits": 4}}, "must have plain weights"),
    ],
)  # fmt: skip
def test_a_network_for_something_else_is_refused(hub: Hub, settings: dict[str, Any], said: str) -> None:
    refused(hub, {"config.json": json.dumps(settings).encode()}, said)


@pytest.mark.parametrize("config", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_damaged_settings_are_refused(hub: Hub, config: bytes) -> None:
    refused(hub, {"config.json": config}, "config.json must")


def test_without_weights_or_preprocessing(hub: Hub) -> None:
    files = {name: data for name, data in tiny("vit").items() if name != WEIGHTS}
    refused(hub, files, "must hold model.safetensors, its parts or pytorch_model.bin; found none of them")
    del files["preprocessor_config.json"]
    refused(hub, files, "must hold preprocessor_config.json")


def test_settings_that_cannot_be_built(hub: Hub) -> None:
    refused(hub, changed(tiny("vit"), "config.json", hidden_act="nobody"), "must be able to build a vit network")
    refused(hub, changed(tiny("vit"), "config.json", layer_norm_eps="x"), "must be able to build a vit network")
    refused(
        hub, changed(tiny("vit"), "preprocessor_config.json", size={"height": 64, "width": 64}), "pictures of 64 x 64"
    )


def test_without_transformers_the_command_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/vit", tiny("vit"))
    hub.add("org/timm", tiny_timm())

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[huggingface\]'"):
        open_source("hf:org/vit")
    open_source("hf:org/timm")


PROCESSORS = {
    "vit": SQUASHED,
    "vit of old": {"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 2, "image_std": [0.5] * 3},
    "dinov2": {**CROPPED, "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}},
    "clip": {**CLIP, "size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}},
    "convnext": {**CONVNEXT, "size": {"shortest_edge": 224}},
    "convnext, warped": {**CONVNEXT, "size": {"shortest_edge": 384}},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 224, "width": 224}, "resample": 3},
    "0..255": {**SQUASHED, "do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    "lanczos": {**SQUASHED, "resample": 1},
    "-1..1": {**SQUASHED, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
    "not normalised": {**SQUASHED, "do_normalize": False},
}  # fmt: skip


def both_prepared(name: str, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
    """Our tensor and the library's, of shape (3, h, w), and our preprocessing."""
    settings, model_type = PROCESSORS[name], name.partition(" ")[0]
    how = preprocessing_of(settings, model_type, "hf:org/x")
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    ours = _normalised(decode(file.getvalue(), how)[None], how)
    theirs = library_processor(settings, model_type)(Image.fromarray(photo), return_tensors="np")["pixel_values"]
    assert ours.shape == theirs.shape
    return ours[0], theirs[0], how


def levels(ours: np.ndarray, theirs: np.ndarray, how: Any) -> np.ndarray:
    """The difference in grey levels of 255."""
    return np.abs(ours - theirs) * 255 * np.array(how.std).reshape(3, 1, 1)


@pytest.mark.parametrize("name", PROCESSORS)
def test_pictures_are_prepared_as_the_library_prepares_them(name: str) -> None:
    """On a real photo, our tensor and the library's differ by at most two grey levels of 255, by 0.3 on average.

    The library resizes the whole picture in 8 bits through torchvision; we resize what lies inside the crop in 8 bits
    through Pillow: both round to whole grey levels, at other places.
    """
    grey = levels(*both_prepared(name, skimage.data.astronaut()[:400, :500]))
    assert grey.max() <= 2.01
    assert grey.mean() < 0.3


def test_a_crop_with_an_odd_margin_lies_one_pixel_further() -> None:
    """The library halves an odd margin downwards, torchvision and we to the nearest even number."""
    ours, theirs, how = both_prepared("dinov2", skimage.data.astronaut()[:400])
    assert levels(ours[:, :, :-1], theirs[:, :, 1:], how).max() <= 2.01


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**SQUASHED, "do_resize": False}, "no resizing"),
        ({**CROPPED, "size": {"height": 40, "width": 40}}, "a squash to one size and a crop to another"),
        ({**CROPPED, "do_center_crop": False}, "without a crop"),
        ({**SQUASHED, "resample": 5}, "5"),
        ({**SQUASHED, "image_mean": [0.5], "image_std": [0.5]}, "1 channels"),
        ({"image_processor_type": "NobodysProcessor"}, "found "),
    ],
)
def test_a_step_that_is_not_ours_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError, match="the preprocessing of hf:org/x must be .*" + said):
        preprocessing_of(settings, "bit", "hf:org/x")


@pytest.mark.parametrize("source", ["hf:org/vit", "mean:hf:org/vit+simple:pixels"])
def test_a_model_stands_on_the_very_commit_it_was_fitted_on__HUB_07(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    commit = hub.add("org/vit", tiny("vit"))
    photos = toy_photos(tmp_path / "photos", per_class=12)
    items = sorted(photos.rglob("*.*"))[:4]
    model = fit(photos, source=source, engine="torch")
    assert model.report["source"] == source
    model.save(tmp_path / "bundle")
    expected = model.predict_proba(items)
    assert commit in json.loads((tmp_path / "bundle" / "manifest.json").read_text())["source"]["revision"]

    hub.add("org/vit", tiny("vit", seed=1))
    hub.asked.clear()
    again = load_bundle(tmp_path / "bundle", engine="torch")
    assert (again.source.members or (again.source,))[0].info.revision == commit
    np.testing.assert_array_equal(again.predict_proba(items), expected)
    assert not hub.asked

    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    np.testing.assert_array_equal(load_bundle(tmp_path / "bundle", engine="torch").predict_proba(items), expected)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(BundleError, match=rf"on this machine; found offline; .*headstart sources hf:org/vit@{commit}"):
        load_bundle(tmp_path / "bundle")


def test_the_commit_of_a_run_is_printed_and_what_was_left_out_is_noted__HUB_07(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = hub.add("org/timm", changed(tiny_timm(), "config.json", num_classes=7))
    photos = toy_photos(tmp_path / "photos", per_class=8)
    run = run_fit(photos, FitOptions(source="hf:org/timm", engine="torch"), progress_for(quiet=False))
    assert f"hf:org/timm is at revision {commit}" in capsys.readouterr().err
    assert any("its classifier was left out" in warning for warning in run.result["warnings"])


@pytest.mark.parametrize("setting", ["hidden_size", "num_hidden_layers"])
def test_a_network_much_larger_than_its_file_is_refused_before_it_takes_memory__CKP_04(hub: Hub, setting: str) -> None:
    hub.add("org/vit", changed(tiny("vit"), "config.json", **{setting: 1_000_000}))
    with pytest.raises(
        SourceError, match=r"from config.json; found a network of more than [\d,]+ parameters or [\d,]+ parts"
    ):
        open_source("hf:org/vit").module()
