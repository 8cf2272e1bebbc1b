"""The pages need no other file, and let no script run but their own."""

from __future__ import annotations

import base64
import hashlib
import re

from headstart.serving.page import docs_page, front_page


def test_a_page_allows_its_own_style_and_script_alone() -> None:
    page = front_page()
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page.policy
    assert not re.search(r'(?:src|href)="(?!/|data:|#)', page.html) and "unsafe" not in page.policy
    assert not re.search(r"\son\w+=|style=", page.html), "the policy would not let it"


def test_the_page_of_the_interface_escapes_what_it_shows() -> None:
    operation = {
        "summary": "<b>",
        "responses": {200: {"description": "& fine"}},
        "requestBody": {"content": {"application/json": {"schema": {"properties": {"<x>": {"type": "string"}}}}}},
    }
    html = docs_page({"paths": {"/a": {"post": operation}}}).html
    assert "POST /a" in html and "&lt;b&gt;" in html and "&amp; fine" in html and "<x>" not in html
