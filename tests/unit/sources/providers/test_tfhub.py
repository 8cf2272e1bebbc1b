"""SavedModels as sources: features equal TensorFlow's own, which a process of its own computes."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.base.errors import SourceError
from headstart.sources.base import Source
from headstart.sources.graphs import openvino_graph as graph
from headstart.testing import toy_photos

pytestmark = pytest.mark.thorough

SIDE = 32


def pictures() -> list[np.ndarray]:
    """Pictures of exactly the size that the networks want: no resize, so that both see the same numbers."""
    return list(np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def made(saved_models: Path) -> Path:
    return saved_models


@pytest.fixture(scope="module")
def said(made: Path) -> dict[str, np.ndarray]:
    with np.load(made / "said.npz") as held:
        return dict(held)


def sized(made: Path, name: str, folder: Path) -> Source:
    """Open a copy of a SavedModel that is told the size of the pictures."""
    shutil.copytree(made / name, folder / name)
    (folder / f"{name}.preprocessing.json").write_text(f'{{"size": [{SIDE}, {SIDE}], "resize": {SIDE}}}')
    return hs.open_source(f"tfhub:{folder / name}")


@pytest.mark.parametrize(("name", "expected"), [("keras", "keras"), ("keras-features", "keras"), ("plain", "plain")])
def test_features_equal_tensorflow_s_own(made: Path, said: dict[str, np.ndarray], name: str, expected: str) -> None:
    source = hs.open_source(f"tfhub:{made / name}")
    np.testing.assert_allclose(source.encode(pictures()), said[expected], rtol=1e-4, atol=1e-5)
    assert source.info.layers[:2] == ("pool", "joined")


def test_a_module_without_signatures_is_read_and_its_size_can_be_stated(
    made: Path, said: dict[str, np.ndarray], tmp_path: Path
) -> None:
    assert hs.open_source(f"tfhub:{made / 'features'}").preprocessing.size == (224, 224)
    source = sized(made, "features", tmp_path)
    np.testing.assert_allclose(source.encode(pictures()), said["features"], rtol=1e-4, atol=1e-5)
    with pytest.raises(SourceError, match="classifier of its own"):
        source.classify(pictures())


def test_probabilities_equal_tensorflow_s_own(made: Path, said: dict[str, np.ndarray]) -> None:
    keras = hs.open_source(f"tfhub:{made / 'keras'}")
    np.testing.assert_allclose(keras.classify(pictures()), said["keras_likely"], atol=1e-5)
    scores = np.exp(said["plain_scores"])
    plain = hs.open_source(f"tfhub:{made / 'plain'}")
    np.testing.assert_allclose(plain.classify(pictures()), scores / scores.sum(1, keepdims=True), atol=1e-5)


def test_info_says_what_the_folder_is_and_its_sha256_is_of_all_its_weights(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(made / "plain", folder)
    info = hs.open_source(f"tfhub:{folder}").info
    assert (info.kind, info.feature_size, info.parameters) == ("image", 12, 27 * 8 + 9 * 8 * 12)
    assert (info.licence, info.trained_on, info.revision) == ("not stated", "not stated", "")
    assert info.input["mean"] == (0.0, 0.0, 0.0)
    (data,) = (folder / "variables").glob("variables.data*")
    changed = bytearray(data.read_bytes())
    changed[1] ^= 1
    data.write_bytes(changed)
    assert hs.open_source(f"tfhub:{folder}").info.sha256 != info.sha256


def test_a_handle_is_found_where_the_hubs_keep_it(
    made: Path, said: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    address = "https://tfhub.dev/google/tiny/feature_vector/3"
    with pytest.raises(SourceError, match="no copy of such a handle; fetch its SavedModel"):
        hs.open_source(f"tfhub:{address}")
    shutil.copytree(made / "plain", tmp_path / "hub" / hashlib.sha1(address.encode()).hexdigest())
    for name in (address, "google/tiny/feature_vector/3"):
        source = hs.open_source(f"tfhub:{name}")
        assert (source.info.uri, source.info.revision) == (f"tfhub:{name}", "3")
        np.testing.assert_allclose(source.encode(pictures()), said["plain"], rtol=1e-4, atol=1e-5)
    kaggle = "google/tiny-net/tensorFlow2/small/1"
    shutil.copytree(made / "plain", tmp_path / "kaggle" / "models" / kaggle)
    assert hs.open_source(f"tfhub:{kaggle}").info.revision == "1"
    with pytest.raises(SourceError, match="no such folder"):
        hs.open_source("tfhub:../kaggle/models/google/tiny-net/tensorFlow2/small/1")


@pytest.mark.parametrize(("name", "operator"), [("program", "EagerPyFunc"), ("reader", "ReadFile")])
def test_a_model_that_runs_code_or_opens_files_is_refused_before_it_is_read(
    made: Path, monkeypatch: pytest.MonkeyPatch, name: str, operator: str
) -> None:
    monkeypatch.setattr(graph, "read", lambda *given: pytest.fail("it was opened"))
    with pytest.raises(SourceError, match=f"the operator {operator}"):
        hs.open_source(f"tfhub:{made / name}")


def test_links_out_of_the_folder_are_refused__CKP_09(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(made / "plain", folder)
    (data,) = (folder / "variables").glob("variables.data*")
    data.unlink()
    data.symlink_to("/etc/passwd")
    with pytest.raises(SourceError, match=f"the link variables/{data.name}"):
        hs.open_source(f"tfhub:{folder}")
    shutil.rmtree(folder / "variables")
    (folder / "variables").symlink_to(made / "plain" / "variables")
    with pytest.raises(SourceError, match="the link variables"):
        hs.open_source(f"tfhub:{folder}")


def test_damage_is_one_line(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(made / "plain", folder)
    whole = (folder / "saved_model.pb").read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (folder / "saved_model.pb").write_bytes(whole[:size])
        with pytest.raises(SourceError, match="must be a sound SavedModel"):
            hs.open_source(f"tfhub:{folder}")
    (folder / "saved_model.pb").write_bytes(whole)
    (data,) = (folder / "variables").glob("variables.data*")
    weights = data.read_bytes()
    for damaged in (weights[:100], b""):
        data.write_bytes(damaged)
        with pytest.raises(SourceError) as caught:
            hs.open_source(f"tfhub:{folder}")
        assert len(str(caught.value).splitlines()) == 1
    shutil.rmtree(folder / "variables")
    with pytest.raises(SourceError):
        hs.open_source(f"tfhub:{folder}")


def test_weights_that_are_no_numbers_and_networks_for_texts_are_refused__CKP_06(made: Path) -> None:
    with pytest.raises(SourceError, match="NaN or infinity in "):
        hs.open_source(f"tfhub:{made / 'broken'}")
    with pytest.raises(SourceError, match=r"must read one picture.*tokens of i32"):
        hs.open_source(f"tfhub:{made / 'texts'}")


def test_wrong_paths_say_what_to_do(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a file; name the folder"):
        hs.open_source(f"tfhub:{made / 'plain' / 'saved_model.pb'}")
    with pytest.raises(SourceError, match=r"no saved_model.pb in it"):
        hs.open_source(f"tfhub:{tmp_path}")
    with pytest.raises(SourceError, match="cannot have others"):
        hs.open_source(f"tfhub:{made / 'plain'}", weights="none")


def test_fit_and_load_with_a_saved_model(made: Path, tmp_path: Path) -> None:
    folder = toy_photos(tmp_path / "photos")
    model = hs.fit(folder, source=f"tfhub:{made / 'keras'}", out=tmp_path / "out")
    some = [folder / "cat" / "0000.jpg", folder / "dog" / "0001.png"]
    again = hs.load(tmp_path / "out" / "bundle")
    np.testing.assert_array_equal(again.predict_proba(some), model.predict_proba(some))
    assert "tensorflow" not in sys.modules
