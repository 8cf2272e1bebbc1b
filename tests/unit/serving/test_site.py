"""Bundles by name; a new one in the folder answers from then on, and a damaged one changes nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from served import small_run

from headstart.base.errors import BundleError, UsageError
from headstart.serving.open_model import Engines
from headstart.serving.payload import Payload, RequestError
from headstart.serving.site import Served, Site, named_bundles, stamp_of

pytestmark = pytest.mark.usefixtures("loopback")  # a loop has sockets of its own


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [small_run(folder), small_run(folder, seed=1, classes=3)]


def test_names(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert named_bundles(["x/flowers", "x/birds/bundle", "mine=y/other"]) == {
        "flowers": "x/flowers", "birds": "x/birds/bundle", "mine": "y/other"
    }  # fmt: skip
    assert list(named_bundles([str(tmp_path / "a=b")])) == ["a=b"]
    with pytest.raises(UsageError, match="'flowers' twice"):
        named_bundles(["x/flowers", "y/flowers"])


def test_a_bundle_is_replaced_by_a_whole_one_alone__SRV_12(runs: list[Path], tmp_path: Path, cache: Path) -> None:
    events: list[tuple[str, Any]] = []
    bundle = shutil.copytree(runs[0] / "bundle", tmp_path / "bundle")
    served = Served(
        "x", str(bundle), Engines(cache), report=lambda event, **more: events.append((event, more)),
        on_group=lambda *_: None,
    )  # fmt: skip
    before = served.current
    assert not served.refresh() and served.describe()["classes"] == ["class0", "class1"]

    head = (runs[1] / "bundle" / "head.safetensors").read_bytes()
    (bundle / "head.safetensors").write_bytes(head)  # of another bundle: half written
    assert not served.refresh() and served.current is before and not served.refresh()
    assert [(event, more["level"], more["model"]) for event, more in events] == [
        ("bundle not replaced", "warning", "x")
    ]
    assert "head.safetensors" in events[0][1]["reason"]

    shutil.rmtree(bundle)
    assert not served.refresh(), "a folder that is gone is one on its way"
    shutil.copytree(runs[1] / "bundle", bundle)
    assert served.refresh() and served.describe()["classes"] == ["class0", "class1", "class2"]
    assert events[-1][0] == "bundle replaced" and events[-1][1]["before"] == before.version
    before.batcher.join(10)  # the one before has ended
    served.current.batcher.close()


def test_a_bundle_from_the_future_is_refused(runs: list[Path], tmp_path: Path, cache: Path) -> None:
    bundle = shutil.copytree(runs[0] / "bundle", tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_bytes()) | {"schema": 99}
    (bundle / "manifest.json").write_bytes(json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
    with pytest.raises(BundleError, match="upgrade headstart"):
        Served("x", str(bundle), Engines(cache), report=print, on_group=lambda *_: None)


def test_a_broken_item_has_its_reason_beside_the_answers_of_others(runs: list[Path], cache: Path) -> None:
    engines = Engines(cache)
    site = Site({"x": Served("x", str(runs[0]), engines, report=print, on_group=lambda *_: None)}, engines)
    photo = next((runs[0].parent / "photos0" / "class0").iterdir()).read_bytes()

    async def asked(*items: bytes | str, model: str | None = None) -> dict[str, Any]:
        return await site.predict(Payload([(f"i{at}", item) for at, item in enumerate(items)], model))

    found = asyncio.run(asked(photo, b"", "a text"))
    assert found["predictions"][0]["label"] == "class0" and found["failed"] == 2
    assert [one["error"] for one in found["predictions"][1:]] == ["empty", "a text, where the model reads photos"]
    with pytest.raises(RequestError, match="i0: empty") as error:
        asyncio.run(asked(b""))
    assert error.value.status == 422
    with pytest.raises(RequestError, match="models are x; found 'y'") as error:
        asyncio.run(asked(photo, model="y"))
    assert error.value.status == 404
    asyncio.run(site.stop())
    assert site.models["x"].current.batcher.admitted == 0


def test_a_stamp_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    before = stamp_of(tmp_path)
    (tmp_path / "b").write_bytes(b"")
    assert before and stamp_of(tmp_path) != before and stamp_of(tmp_path / "none") == ()
