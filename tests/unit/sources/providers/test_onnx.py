"""ONNX files as sources: features equal ONNX's own reference, and what is unsafe is refused before it is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_nets import CLASSES, SIDE, WIDTHS, convnet, point_outside, tensor_outside, weights

import headstart as hs
from headstart.base.errors import SourceError, UsageError
from headstart.engines import select as choose
from headstart.sources.graphs import openvino_graph as graph
from headstart.sources.graphs.checks import check_onnx
from headstart.testing import toy_photos

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def photos(count: int = 5, channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (SIDE + 8, SIDE + 5 + at, channels), dtype=np.uint8) for at in range(count)]


def reference(path: Path, source: Any, *names: str) -> list[np.ndarray]:
    """Return tensors of the graph as ONNX's own evaluator computes them, one picture at a time."""
    model = onnx.load(path)
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in known
    )
    given = source.prepare_all(photos()) / 255
    given = ((given - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
    rows = [ReferenceEvaluator(model).run(list(names), {"x": one[None]}) for one in given]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("end", ["logits", "softmax"])
@pytest.mark.parametrize("batch", ["n", 1])
def test_features_and_probabilities_equal_onnx_s_own(tmp_path: Path, end: str, batch: str | int) -> None:
    convnet(tmp_path / "net.onnx", end=end, shape=(batch, 3, SIDE, SIDE))
    source = hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
    expected, scores = reference(tmp_path / "net.onnx", source, "flat", "logits")
    np.testing.assert_allclose(source.encode(photos()), expected, rtol=1e-4, atol=1e-5)
    likely = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(source.classify(photos()), likely, atol=1e-5)


def test_stages_are_the_last_map_of_each_resolution(tmp_path: Path) -> None:
    convnet(tmp_path / "net.onnx")
    source = hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
    assert source.info.layers == (
        "pool",
        "joined",
        "stage0.avg",
        "stage1.avg",
        "stage0.max",
        "stage1.max",
        "flatten",
    )
    early, late = reference(tmp_path / "net.onnx", source, "r1", "r2")
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(source.at("stage0.avg").encode(photos()), early.mean((2, 3)), **close)
    np.testing.assert_allclose(source.at("stage1.max").encode(photos()), late.max((2, 3)), **close)
    np.testing.assert_allclose(source.at("flatten").encode(photos()), late.reshape(len(late), -1), **close)
    with pytest.raises(UsageError, match=r"did you mean 'stage0\.avg'"):
        source.at("stage0.average")


def test_info_says_what_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    convnet(path)
    info = hs.open_source(f"onnx:{path}").info
    assert (info.uri, info.kind, info.feature_size) == (f"onnx:{path}", "image", WIDTHS[-1])
    values = weights()
    assert info.parameters == values["conv1"].size + values["conv2"].size  # without the classifier
    assert (info.licence, info.revision, info.trained_on) == ("not stated", "", "not stated")
    assert info.input["size"] == (SIDE, SIDE)
    before = info.sha256
    convnet(path, values=weights(seed=1))
    assert hs.open_source(f"onnx:{path}").info.sha256 != before


def test_an_open_size_is_224_and_a_grey_or_whole_input_is_given_such_pictures(tmp_path: Path) -> None:
    convnet(tmp_path / "open.onnx", shape=("n", 3, "h", "w"))
    how = hs.open_source(f"onnx:{tmp_path / 'open.onnx'}").preprocessing
    assert (how.size, how.resize, how.interpolation) == ((224, 224), 256, "bilinear")
    convnet(tmp_path / "grey.onnx", shape=("n", 1, SIDE, SIDE))
    grey = hs.open_source(f"onnx:{tmp_path / 'grey.onnx'}")
    assert grey.preprocessing.channels == "grey"
    assert grey.encode(photos()).shape == (5, WIDTHS[-1])
    convnet(tmp_path / "whole.onnx", shape=("n", SIDE, SIDE, 3), kind=TensorProto.UINT8)
    whole = hs.open_source(f"onnx:{tmp_path / 'whole.onnx'}")
    model = onnx.load(tmp_path / "whole.onnx")
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, None))
    (expected,) = ReferenceEvaluator(model).run(["flat"], {"x": whole.prepare_all(photos())})
    np.testing.assert_allclose(whole.encode(photos()), expected, rtol=1e-4)


@pytest.mark.parametrize(("end", "take"), [("features", "flat"), ("map", "flat"), ("tokens", "flat")])
def test_a_network_without_a_classifier_gives_its_output_averaged_over_positions(
    tmp_path: Path, end: str, take: str
) -> None:
    convnet(tmp_path / "net.onnx", end=end)
    convnet(tmp_path / "whole.onnx")
    source = hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
    (expected,) = reference(tmp_path / "whole.onnx", source, take)
    np.testing.assert_allclose(source.encode(photos()), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(SourceError, match="classifier of its own"):
        source.classify(photos())


def test_scores_that_are_averaged_maps_have_the_map_before_them_as_features(tmp_path: Path) -> None:
    """SqueezeNet: a 1 x 1 convolution makes the scores, which are averaged over positions last."""
    node = helper.make_node
    values = {"conv1": weights()["conv1"], "conv3": weights()["head"][:, : WIDTHS[0], None, None]}
    nodes = [
        node("Conv", ["x", "conv1"], ["c1"], strides=[2, 2], pads=[1] * 4),
        node("Conv", ["c1", "conv3"], ["c3"]),
        node("Relu", ["c3"], ["r3"]),
        node("GlobalAveragePool", ["r3"], ["mean"]),
        node("Flatten", ["mean"], ["flat"]),
        node("Softmax", ["flat"], ["y"], axis=1),
    ]
    save_graph(tmp_path / "net.onnx", nodes, values)
    source = hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
    early, scores = reference(tmp_path / "net.onnx", source, "c1", "y")
    np.testing.assert_allclose(source.encode(photos()), early.mean((2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(source.classify(photos()), scores, atol=1e-5)


def save_graph(path: Path, nodes: list[Any], values: dict[str, np.ndarray], shape: tuple[Any, ...] = ()) -> None:
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape or ("n", 3, SIDE, SIDE)))],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_a_lone_score_is_no_probability_but_has_features_before_it(tmp_path: Path) -> None:
    node = helper.make_node
    values = {"conv1": weights()["conv1"], "head": weights()["head"][:1, : WIDTHS[0]]}
    nodes = [
        node("Conv", ["x", "conv1"], ["c1"], strides=[2, 2], pads=[1] * 4),
        node("GlobalAveragePool", ["c1"], ["mean"]),
        node("Flatten", ["mean"], ["flat"]),
        node("Gemm", ["flat", "head"], ["score"], transB=1),
        node("Sigmoid", ["score"], ["y"]),
    ]
    save_graph(tmp_path / "net.onnx", nodes, values)
    source = hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
    assert source.info.feature_size == WIDTHS[0]
    with pytest.raises(SourceError, match="classifier of its own"):
        source.classify(photos())


def test_outputs_whose_size_depends_on_what_is_seen_are_refused(tmp_path: Path) -> None:
    values = {"conv1": weights()["conv1"]}
    nodes = [
        helper.make_node("Conv", ["x", "conv1"], ["c1"]),
        helper.make_node("NonZero", ["c1"], ["where"]),
        helper.make_node("Cast", ["where"], ["y"], to=TensorProto.FLOAT),
    ]
    save_graph(tmp_path / "net.onnx", nodes, values)
    with pytest.raises(SourceError, match=r"of 2 to 4 axes of fixed sizes; found y of f32 .*\"pool\": \"NAME\""):
        hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")


def test_names_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    convnet(tmp_path / "net.onnx")
    data = (tmp_path / "net.onnx").read_bytes()
    for name in (b"conv1", b"Gemm"):
        (tmp_path / "net.onnx").write_bytes(data.replace(name, b"\xe0" + name[1:], 1))
        with pytest.raises(SourceError) as caught:
            hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
        assert len(str(caught.value).splitlines()) == 1


def test_a_batch_that_is_baked_into_the_graph_is_kept(tmp_path: Path) -> None:
    """Reshape to (1, 12): what torch writes for a view whose batch it was not told to leave open."""
    node = helper.make_node
    values = {**weights(), "shape": np.array([1, WIDTHS[-1]])}
    nodes = [
        node("Conv", ["x", "conv1"], ["c1"], strides=[2, 2], pads=[1] * 4),
        node("Conv", ["c1", "conv2"], ["c2"], strides=[2, 2], pads=[1] * 4),
        node("GlobalAveragePool", ["c2"], ["mean"]),
        node("Reshape", ["mean", "shape"], ["flat"]),
        node("Gemm", ["flat", "head", "bias"], ["y"], transB=1),
    ]
    save_graph(tmp_path / "net.onnx", nodes, values, (1, 3, SIDE, SIDE))
    source = hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
    (expected,) = reference(tmp_path / "net.onnx", source, "flat")
    np.testing.assert_allclose(source.encode(photos()), expected, rtol=1e-4, atol=1e-5)


def test_the_file_beside_says_how_pictures_are_wanted_and_which_tensor_to_take(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    convnet(path, shape=("n", 3, "h", "w"))
    plain = hs.open_source(f"onnx:{path}").network().fingerprint
    said = {"size": [SIDE, SIDE], "resize": None, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "pool": "r1"}
    Path(f"{path}.preprocessing.json").write_text(json.dumps(said))
    source = hs.open_source(f"onnx:{path}")
    assert source.preprocessing.size == (SIDE, SIDE)
    assert source.preprocessing.std == (0.25, 0.25, 0.25)
    assert source.info.feature_size == WIDTHS[0]
    assert source.network().fingerprint != plain
    assert source.classify(photos()).shape == (5, CLASSES)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ('{"szie": [32, 32]}', "did you mean 'size'"),
        ('{"size": 32}', r"give \[height, width\] as size"),
        ('{"std": [0, 1, 1]}', "a number above 0"),
        ('{"mean": [0.5, 0.5]}', "as mean"),
        ('{"mean": [NaN, 0, 0]}', "as mean"),
        ('{"channels": "grey"}', "pictures of 3 channels"),
        ('{"resize": 16}', "at least the shorter side"),
        ('{"pool": "r11"}', "did you mean 'r1'"),
        ('{"interpolation": ["bilinear"]}', "nearest, bilinear, bicubic or lanczos"),
        ("{", "be a JSON object"),
        ("[]", "be a small JSON object"),
        ("[" * 5000, "be a JSON object"),
        (" " * (1 << 17) + "{}", "be a small JSON object"),
    ],
)
def test_a_file_beside_that_cannot_be_is_refused(tmp_path: Path, said: str, match: str) -> None:
    convnet(tmp_path / "net.onnx")
    (tmp_path / "net.onnx.preprocessing.json").write_text(said)
    with pytest.raises(SourceError, match=match) as caught:
        hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
    assert len(str(caught.value).splitlines()) == 1


def hard_link(folder: Path) -> str:
    (folder / "elsewhere.bin").write_bytes(bytes(240))
    os.link(folder / "elsewhere.bin", folder / "model" / "linked.bin")
    return "linked.bin"


def soft_link(folder: Path) -> str:
    (folder / "elsewhere.bin").write_bytes(bytes(240))
    (folder / "model" / "linked.bin").symlink_to(folder / "elsewhere.bin")
    return "linked.bin"


def outside(folder: Path) -> str:
    (folder / "elsewhere.bin").write_bytes(bytes(240))
    return "../elsewhere.bin"


def absolute(folder: Path) -> str:
    (folder / "elsewhere.bin").write_bytes(bytes(240))
    return str(folder / "elsewhere.bin")


def plain(folder: Path) -> str:
    (folder / "model" / "net.bin").write_bytes(bytes(240))
    return "net.bin"


def sub_folder(folder: Path) -> str:
    (folder / "model" / "deep").mkdir()
    (folder / "model" / "deep" / "net.bin").write_bytes(bytes(240))
    return "deep/net.bin"


UNSAFE: list[tuple[Callable[[Path], str], dict[str, str], str]] = [
    (outside, {}, r"location '\.\./elsewhere.bin'"),
    (absolute, {}, "the location '/"),
    (sub_folder, {}, "the location 'deep/net.bin'"),
    (lambda folder: "*/_ORT_MEM_ADDR_/*", {"offset": "4096", "length": "240"}, "the location"),
    (lambda folder: "..", {}, "the location"),
    (lambda folder: "", {}, "the location ''"),
    (lambda folder: "net.bin\0.txt", {}, "the location"),
    (lambda folder: "..\\elsewhere.bin", {}, "the location"),
    (soft_link, {}, "the link 'linked.bin'"),
    (hard_link, {}, "1 more names"),
    (lambda folder: "none.bin", {}, "no such file"),
    (lambda folder: "../model", {}, "the location"),
    (plain, {"length": str(2**62)}, "read at length"),
    (plain, {"offset": str(2**62)}, "read at offset"),
    (plain, {"offset": "100", "length": "141"}, "read at offset 100, length 141"),
    (plain, {"offset": "-4"}, "read at offset -4"),
    (plain, {"length": "1e9"}, "read at length 1e9"),
]


@pytest.mark.parametrize(("place", "entries", "match"), UNSAFE)
def test_external_data_that_is_no_plain_file_beside_the_model_is_refused_before_it_is_opened__CKP_09(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: Callable[[Path], str],
    entries: dict[str, str],
    match: str,
) -> None:
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "net.onnx"
    convnet(path)
    tensor_outside(path, {"location": place(tmp_path), **entries})
    monkeypatch.setattr(graph, "read", lambda *given: pytest.fail("it was opened"))
    with pytest.raises(SourceError, match=match) as caught:
        hs.open_source(f"onnx:{path}")
    assert "'head'" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_external_data_is_found_wherever_a_tensor_can_stand__CKP_09(tmp_path: Path) -> None:
    hidden = numpy_helper.from_array(np.zeros(3, np.float32), "hidden")
    hidden.ClearField("raw_data")
    point_outside(hidden, {"location": "../secret"})
    inner = helper.make_graph([], "inner", [], [], [hidden])
    sparse = onnx.SparseTensorProto(values=hidden, dims=[9])
    for attribute in (
        helper.make_attribute("value", hidden),
        helper.make_attribute("values", [hidden]),
        helper.make_attribute("body", inner),
        helper.make_attribute("bodies", [inner]),
        helper.make_attribute("sparse", sparse),
        helper.make_attribute("sparses", [sparse]),
        None,
    ):
        model = convnet(tmp_path / "net.onnx")
        if attribute is None:
            model.graph.sparse_initializer.append(sparse)
        else:
            model.graph.node[0].attribute.append(attribute)
        (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(SourceError, match="'hidden'"):
            check_onnx(tmp_path / "net.onnx")
    # A second graph field is merged into the first by protobuf: it must be looked at as well.
    second = onnx.ModelProto(graph=helper.make_graph([], "g", [], [], [hidden]))
    convnet(tmp_path / "net.onnx")
    with (tmp_path / "net.onnx").open("ab") as file:
        file.write(second.SerializeToString())
    with pytest.raises(SourceError, match="'hidden'"):
        check_onnx(tmp_path / "net.onnx")


def test_a_place_said_twice_is_refused__CKP_09(tmp_path: Path) -> None:
    model = convnet(tmp_path / "net.onnx")
    (tensor,) = [one for one in model.graph.initializer if one.name == "head"]
    (tmp_path / "net.bin").write_bytes(bytes(240))
    point_outside(tensor, {"location": "net.bin"})
    point_outside(tensor, {"location": "../net.bin"})
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SourceError, match="said twice"):
        check_onnx(tmp_path / "net.onnx")


def test_weights_in_a_plain_file_beside_the_model_are_read_and_counted_into_its_sha256(tmp_path: Path) -> None:
    convnet(tmp_path / "inside.onnx")
    expected = hs.open_source(f"onnx:{tmp_path / 'inside.onnx'}").encode(photos())
    model = onnx.load(tmp_path / "inside.onnx")
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.bin", size_threshold=0)
    assert check_onnx(path) == (path, tmp_path / "net.bin")
    source = hs.open_source(f"onnx:{path}")
    np.testing.assert_array_equal(source.encode(photos()), expected)
    before = source.info.sha256
    data = bytearray((tmp_path / "net.bin").read_bytes())
    data[3] ^= 0x01
    (tmp_path / "net.bin").write_bytes(data)
    assert hs.open_source(f"onnx:{path}").info.sha256 != before


def test_a_custom_operator_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = convnet(path, domain="com.acme")
    with pytest.raises(SourceError, match=r"the custom operator com\.acme\.Bend"):
        hs.open_source(f"onnx:{path}")
    own = helper.make_function(
        "com.acme", "Bend", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model.functions.append(own)
    onnx.save(model, path)
    with pytest.raises(SourceError, match="inline_local_functions"):
        hs.open_source(f"onnx:{path}")
    onnx.save(onnx.inliner.inline_local_functions(model), path)
    assert hs.open_source(f"onnx:{path}").encode(photos()).shape == (5, WIDTHS[-1])


def test_an_operator_that_openvino_lacks_is_named(tmp_path: Path) -> None:
    model = convnet(tmp_path / "net.onnx")
    model.graph.node[1].op_type = "Bend"
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(SourceError, match="operators that it does not know: Bend"):
        hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_by_name__CKP_06(tmp_path: Path, value: float) -> None:
    values = weights()
    values["conv2"][1, 2, 0, 0] = value
    convnet(tmp_path / "net.onnx", values=values)
    with pytest.raises(SourceError, match="NaN or infinity in conv2"):
        hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")


def test_a_cut_file_is_one_line_wherever_it_is_cut(tmp_path: Path) -> None:
    convnet(tmp_path / "whole.onnx")
    data = (tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for size in [0, 1, 5, *range(10, len(data), len(data) // 12), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(SourceError) as caught:
            hs.open_source(f"onnx:{path}")
        assert len(str(caught.value).splitlines()) == 1
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises(SourceError, match="must be a sound ONNX file"):
        hs.open_source(f"onnx:{path}")


def test_graphs_in_graphs_without_end_are_refused(tmp_path: Path) -> None:
    def nested(number: int, data: bytes) -> bytes:
        size, length = len(data), b""
        while True:
            length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
            size >>= 7
            if not size:
                return bytes([number << 3 | 2]) + length + data

    graph_bytes = b""
    for _ in range(2000):
        graph_bytes = nested(1, nested(5, nested(6, graph_bytes)))
    (tmp_path / "deep.onnx").write_bytes(nested(7, graph_bytes))
    with pytest.raises(SourceError, match="100 deep"):
        hs.open_source(f"onnx:{tmp_path / 'deep.onnx'}")


@pytest.mark.parametrize(
    ("kind", "shape", "given"),
    [
        (TensorProto.INT64, ("n", "tokens"), "x of i64"),
        (TensorProto.FLOAT, ("n", 16000), "x of f32"),
        (TensorProto.FLOAT, ("n", 4, 32, 32), "x of f32"),
        (TensorProto.INT64, ("n", 3, 32, 32), "x of i64"),
    ],
)
def test_a_network_for_texts_or_sounds_is_refused(
    tmp_path: Path, kind: int, shape: tuple[Any, ...], given: str
) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("Relu", ["f"], ["y"])]
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    with pytest.raises(SourceError, match=f"must read one picture.*{given}"):
        hs.open_source(f"onnx:{tmp_path / 'n.onnx'}")


def test_wrong_paths_say_what_to_do(tmp_path: Path) -> None:
    convnet(tmp_path / "resnet.onnx")
    with pytest.raises(SourceError, match=r"no such file; check the path, did you mean 'resnet.onnx'"):
        hs.open_source(f"onnx:{tmp_path / 'resnt.onnx'}")
    with pytest.raises(SourceError, match=r"a folder; name the file: .*resnet.onnx"):
        hs.open_source(f"onnx:{tmp_path}")
    with pytest.raises(SourceError, match=r"no such file; check the path$"):
        hs.open_source("onnx:/no/such/folder/net.onnx")


def test_what_a_graph_cannot_do_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convnet(tmp_path / "net.onnx")
    uri = f"onnx:{tmp_path / 'net.onnx'}"
    with pytest.raises(SourceError, match="cannot have others"):
        hs.open_source(uri, weights="none")
    with pytest.raises(SourceError, match="must be a torch network to be tuned"):
        hs.open_source(uri).module()
    toy_photos(tmp_path / "photos")
    with pytest.raises(UsageError, match="must run on the OpenVINO engine; found engine='torch'"):
        hs.fit(tmp_path / "photos", source=uri, engine="torch")
    monkeypatch.setattr(choose, "openvino_version", lambda: None)
    with pytest.raises(UsageError, match="needs OpenVINO"):
        hs.open_source(uri).encode(photos())


def test_fit_save_load_and_predict_with_an_onnx_file(tmp_path: Path) -> None:
    convnet(tmp_path / "net.onnx")
    folder = toy_photos(tmp_path / "photos")
    model = hs.fit(folder, source=f"onnx:{tmp_path / 'net.onnx'}", out=tmp_path / "out")
    assert model.report["source"] == f"onnx:{tmp_path / 'net.onnx'}"
    assert model.report["engine"].startswith("openvino-")
    assert model.report["test"]["accuracy"]["value"] >= 0.75
    some = [folder / "cat" / "0000.jpg", folder / "dog" / "0001.png"]
    again = hs.load(tmp_path / "out" / "bundle")
    np.testing.assert_array_equal(again.predict_proba(some), model.predict_proba(some))
    warm = hs.fit(folder, source=f"onnx:{tmp_path / 'net.onnx'}")
    assert warm.report["cache"]["misses"] == 0
    convnet(tmp_path / "net.onnx", values=weights(seed=1))
    with pytest.raises(hs.UsageError, match="must be those of the bundle"):
        hs.load(tmp_path / "out" / "bundle")


SCRIPT = """
import sys
import numpy as np
import headstart as hs
x = hs.open_source(sys.argv[1]).encode([np.zeros((40, 40, 3), np.uint8)])
print(x.shape, [name for name in ("torch", "onnx", "tensorflow") if name in sys.modules])
"""


@pytest.mark.thorough
def test_neither_torch_nor_onnx_is_imported_even_the_first_time(tmp_path: Path) -> None:
    convnet(tmp_path / "net.onnx")
    command = [sys.executable, "-W", "error", "-c", SCRIPT, f"onnx:{tmp_path / 'net.onnx'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == (f"(1, {WIDTHS[-1]}) []\n", "")


def with_inputs(path: Path, operator: str, count: int) -> None:
    """Write the network with the Relu behind its first convolution replaced, and so many inputs left to it."""
    model = convnet(path)
    node = model.graph.node[1]
    node.op_type = operator
    del node.input[count:]
    onnx.save(model, path)


@pytest.mark.parametrize(("operator", "count"), [("Conv", 1), ("GlobalAveragePool", 0), ("Sum", 0)])
def test_an_operator_without_its_inputs_is_refused(operator: str, count: int, tmp_path: Path) -> None:
    with_inputs(tmp_path / "net.onnx", operator, count)
    with pytest.raises(SourceError, match=f"the operator {operator} with {count} inputs"):
        check_onnx(tmp_path / "net.onnx")


def test_a_graph_that_ends_the_process_that_reads_it_is_refused_in_one_line__CKP_09(tmp_path: Path) -> None:
    with_inputs(tmp_path / "net.onnx", "Pad", 1)  # OpenVINO reads beyond its inputs
    with pytest.raises(SourceError, match=r"read and run; found one that ends the process that reads it"):
        hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")
    convnet(tmp_path / "net.onnx")
    assert hs.open_source(f"onnx:{tmp_path / 'net.onnx'}").info.feature_size == WIDTHS[1], "the next one has a process"


def test_a_graph_that_asks_for_all_memory_is_refused(tmp_path: Path) -> None:
    model = convnet(tmp_path / "net.onnx")
    model.graph.node.insert(1, helper.make_node("Tile", ["c1", "times"], ["tiled"]))
    model.graph.node[2].input[0] = "tiled"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 1 << 12, 1 << 12]), "times"))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(SourceError, match="must be a network that OpenVINO can read and run"):
        hs.open_source(f"onnx:{tmp_path / 'net.onnx'}")


@pytest.mark.parametrize(
    "field", [b"\x08\x00", pytest.param(b"\x3a\x02\x0a\x00", marks=pytest.mark.slow)]
)  # numbers, or graphs with a node each
def test_a_file_of_half_a_million_fields_is_not_looked_through(field: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(field * 500_001)
    with pytest.raises(SourceError, match="more than 500,000 fields"):
        check_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_mutants_are_used_or_refused__CKP_09(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    for number in range(2_000 if seed else 20):
        model = convnet(tmp_path / "net.onnx", end="softmax")
        for _ in range(rng.integers(1, 4)):
            node, other = (model.graph.node[at] for at in rng.integers(len(model.graph.node), size=2))
            change = rng.integers(5)
            if change == 0:
                node.op_type = other.op_type
            elif change == 1:
                node.input.append(other.output[0] if other.output else "")
            elif change == 2:
                del node.input[int(rng.integers(1, len(node.input) + 1)) :]
            elif change == 3:
                del node.attribute[:]
            else:
                tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
                tensor.dims[0] = int(rng.choice([0, -1, 1, 1 << 40]))
        path = tmp_path / f"mutant{number}.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            features = hs.open_source(f"onnx:{path}").encode(photos(1))
        except SourceError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert features.shape[0] == 1
