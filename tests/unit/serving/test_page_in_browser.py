"""The page of a server in Chromium: photos are dropped and pasted, a folder becomes a table; narrow, dark and light."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import ABSENT, BROWSER, dom
from served import LIMITS, serving, small_run

import headstart as hs
from headstart.serving.page import Page, front_page

SUPPORT = Path(__file__).parents[2] / "support"
FRAMES = '<iframe src="page.html" title="{0}" style="width:360px;height:900px;border:0;color-scheme:{0}"></iframe>'


def rested(folder: Path, address: str) -> str:
    """Return a page as Chromium has it once its script has come to rest."""
    if not BROWSER:
        pytest.skip(ABSENT)
    return dom(folder, address, "--virtual-time-budget=60000")


@contextmanager
def driven(run: Path, photos: list[Path]) -> Iterator[str]:
    """Serve a bundle with a page that uses itself, which its policy lets it, and yield the address."""
    pictures = json.dumps([base64.b64encode(photo.read_bytes()).decode() for photo in photos])
    driver = f"\nconst PHOTOS = {pictures};\n{(SUPPORT / 'page_driver.js').read_text(encoding='utf-8')}"

    def with_driver(page: Page) -> Page:
        end = page.html.rindex("</script>")
        policy = re.sub(r"script-src '[^']+'", "script-src 'unsafe-inline'", page.policy)
        return Page(
            page.html[:end] + driver + page.html[end:], policy.replace("connect-src 'self'", "connect-src 'self' blob:")
        )

    with serving({"toys": run}, page=with_driver(front_page())) as client:
        yield f"http://127.0.0.1:{client.port}/"


@pytest.mark.thorough
def test_the_page_is_used_by_hand(tmp_path: Path, loopback: None) -> None:
    run = small_run(tmp_path)
    photos = sorted((tmp_path / "photos0").rglob("*.jpg"))
    model = hs.load(run)
    labels, shares = model.predict(photos), model.predict_proba(photos)
    with driven(run, photos) as address:
        page = rested(tmp_path, address)
    seen: dict[str, Any] = json.loads(html.unescape(re.findall('data-seen="(.*?)"', page)[0]))
    assert "error" not in seen, seen
    best = shares[0].argmax()
    assert seen["dropped"][0] == labels[0] and seen["pasted"] == labels[1]
    assert seen["dropped"][1][0] == f"{labels[0]} {100 * shares[0, best]:.1f} %" and len(seen["dropped"][1]) == 2
    assert "broken.jpg" in seen["broken"]
    expected = [[f"={at}.jpg", label] for at, label in enumerate(labels)]
    assert sorted(row[:2] for row in seen["rows"] if row[1]) == sorted(expected)
    assert seen["rows"][-1][0] == "none.jpg" and "empty" in seen["rows"][-1][3]
    assert seen["csv"].splitlines()[1].startswith(f'"\'=0.jpg","{labels[0]}"'), "a name is no formula: TAB-12"
    assert {"file", "folder", "csv"} <= set(seen["focusable"]) and seen["wave"] == 50 and seen["outside"] == []

    still = re.sub(
        "<script>.*</script>",
        '<table class="classes"><thead><tr><th>a<th>b<tbody><tr><td>a<td>b</table>',
        page,
        flags=re.DOTALL,
    )
    (tmp_path / "page.html").write_text(
        re.sub('data-seen=".*?"', "", still).replace('id="one" aria-label="Prediction" hidden=""', 'id="one"')
    )
    measure = (SUPPORT / "page_faults.js").read_text(encoding="utf-8")
    (tmp_path / "all.html").write_text(
        f"<body>{''.join(map(FRAMES.format, ('light', 'dark')))}<script>{measure}</script></body>"
    )
    found = re.search("<body>(.*)</body>", rested(tmp_path, (tmp_path / "all.html").as_uri()), re.DOTALL)
    assert found is not None
    frames = json.loads(html.unescape(found[1]))
    assert {frame["name"]: frame["faults"] for frame in frames} == {"light": [], "dark": []}


@pytest.mark.thorough
def test_its_policy_lets_its_own_script_run(tmp_path: Path, loopback: None) -> None:
    run = small_run(tmp_path)
    with serving({"one": run, "other": run}, limits=replace(LIMITS, items=2)) as client:
        page = rested(tmp_path, f"http://127.0.0.1:{client.port}/")
    assert "one tells photos of 2 classes apart: class0, class1." in page and "<option" in page
