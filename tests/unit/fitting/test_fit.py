"""The main job with a toy source: what costs what, what is refused, and what stays the same."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.base import mapped
from headstart.base.errors import UsageError
from headstart.testing import ToySource, toy_photos


@pytest.fixture(scope="module")
def source() -> ToySource:
    return ToySource()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return toy_photos(tmp_path / "photos", classes=["bird", "cat", "dog"], per_class=12, seed=0)


def fit(data: object, source: ToySource, **options: object) -> hs.Model:
    return hs.fit(data, source=source, engine="torch", **options)  # type: ignore[arg-type]


def figures(model: hs.Model) -> dict[str, object]:
    return {name: model.report[name] for name in ("examples", "classes", "test", "baselines", "layer", "head")}


def test_an_edited_added_or_removed_photo_costs_only_itself__IMG_26(photos: Path, source: ToySource) -> None:
    assert fit(photos, source).report["cache"] == {"hits": 0, "misses": 36}
    assert fit(photos, source).report["cache"] == {"hits": 36, "misses": 0}

    edited = next(iter(sorted((photos / "cat").glob("*.png"))))
    before = edited.stat()
    Image.open(edited).rotate(90).save(edited)
    data = edited.read_bytes()
    edited.write_bytes(data)
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fit(photos, source).report["cache"] == {"hits": 35, "misses": 1}

    Image.open(edited).rotate(90).save(photos / "cat" / "new.png")
    assert fit(photos, source).report["cache"] == {"hits": 36, "misses": 1}

    edited.unlink()
    assert fit(photos, source).report["cache"] == {"hits": 36, "misses": 0}


def test_a_folder_a_tar_a_zip_and_lists_give_the_same_figures(photos: Path, source: ToySource, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(photos, "photos")
    files = sorted(file for file in photos.rglob("*") if file.is_file())
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(photos))
    expected = figures(fit(photos, source))
    for data in (tmp_path / "photos.tar", tmp_path / "photos.zip", (files, [file.parent.name for file in files])):
        assert figures(fit(data, source)) == expected


def test_the_same_seed_gives_the_same_bytes(photos: Path, source: ToySource, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fit(photos, source, out=tmp_path / name)
    one, two = (tmp_path / name / "bundle" / "head.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert figures(fit(photos, source, seed=1)) != figures(fit(photos, source, seed=0))


def test_broken_photos_are_skipped_counted_and_listed(photos: Path, source: ToySource, tmp_path: Path) -> None:
    (photos / "cat" / "empty.jpg").write_bytes(b"")
    whole = next(iter(sorted((photos / "dog").glob("*.jpg")))).read_bytes()
    (photos / "dog" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "dog" / "page.jpg").write_bytes(b"<!doctype html><html></html>")
    (photos / "dog" / "notes.txt").write_text("not a photo")
    model = fit(photos, source, out=tmp_path / "out")
    examples = model.report["examples"]
    assert (examples["skipped"], examples["ignored"]) == (3, 1)
    assert sum(examples.values()) == 40
    assert {loss["id"]: loss["reason"] for loss in model.report["losses"]} == {
        "cat/empty.jpg": "empty",
        "dog/half.jpg": "truncated",
        "dog/page.jpg": "not an accepted image (looks like HTML)",
    }
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(name in page for name in ("empty.jpg", "half.jpg", "page.jpg", "truncated"))


def test_a_fifth_broken_stops_unless_allowed__IMG_25(photos: Path, source: ToySource, tmp_path: Path) -> None:
    for number in range(10):
        (photos / ("bird", "cat", "dog")[number % 3] / f"bad{number}.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"10 of 46 \(22%\) unusable.*allow_broken=True"):
        fit(photos, source, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert fit(photos, source, allow_broken=True).report["examples"]["skipped"] == 10


def test_half_a_class_broken_in_decoding_stops(photos: Path, source: ToySource) -> None:
    for file in sorted((photos / "cat").glob("*.jpg"))[:6]:
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UsageError, match=r"'cat'.*truncated"):
        fit(photos, source)


def test_given_parts_are_respected(photos: Path, source: ToySource, tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        shutil.copytree(photos, tmp_path / "given" / name)
        for number, file in enumerate(sorted((tmp_path / "given" / name).rglob("*.*"))):
            if number % 3 != ("train", "val", "test").index(name):
                file.unlink()
    examples = fit(tmp_path / "given", source).report["examples"]
    assert (examples["train"], examples["validation"], examples["test"]) == (12, 12, 12)


def test_labels_per_class_limits_training_only(photos: Path, source: ToySource) -> None:
    model = fit(photos, source, labels_per_class=4)
    assert model.report["examples"]["train"] == 12
    assert model.report["examples"]["test"] == fit(photos, source).report["examples"]["test"]


def test_unequal_classes_do_not_collapse_onto_the_largest(source: ToySource, tmp_path: Path) -> None:
    toy_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=90, seed=3)
    for file in sorted((tmp_path / "photos" / "dog").iterdir())[12:]:
        file.unlink()
    report = fit(tmp_path / "photos", source).report
    assert report["test"]["balanced_accuracy"]["value"] > 0.75


def test_a_saved_model_gives_the_same_answers(photos: Path, source: ToySource, tmp_path: Path) -> None:
    model = fit(photos, source, out=tmp_path / "out")
    files = sorted((photos / "cat").iterdir())
    manifest = json.loads((tmp_path / "out" / "bundle" / "manifest.json").read_text())
    assert manifest["source"]["sha256"] == source.info.sha256
    probabilities = model.predict_proba(files)
    assert probabilities.shape == (12, 3)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert model.predict(files) == [model.classes[row] for row in probabilities.argmax(axis=1)]
    assert sum(name == "cat" for name in model.predict(files)) >= 10


def test_odd_options_are_refused_before_work(photos: Path, source: ToySource) -> None:
    with pytest.raises(UsageError, match="did you mean 'pool'"):
        fit(photos, source, layer="pol")
    with pytest.raises(UsageError, match="labels_per_class="):
        fit(photos, source, labels_per_class=0)


def test_rows_that_memory_should_not_hold_give_the_same_report(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = hs.fit(photos, source="simple:pixels")
    monkeypatch.setattr(mapped, "MOST_IN_MEMORY", 4096)
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 8192)
    monkeypatch.setenv("HEADSTART_CACHE", str(photos.parent / "another"))  # where no choice is remembered
    outside = hs.fit(photos, source="simple:pixels")
    assert figures(outside) == figures(inside)
    assert outside.data == inside.data
    np.testing.assert_allclose(outside.head.weight, inside.head.weight, rtol=1e-4, atol=1e-6)
