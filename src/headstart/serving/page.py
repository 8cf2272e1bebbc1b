"""The page at `/`, the same page for a folder of files, and the page of the interface at `/docs`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from headstart.base.hashing import script_hash

FOOTER = '<footer><p class="soft">{}</p></footer>'
TO_SERVER = FOOTER.format(
    'What you give here is sent to this server alone, and not kept. <a href="/docs">Interface for programs</a>'
)
TO_NOBODY = FOOTER.format("What you give here is read in this browser, and sent to nobody.")


@dataclass(frozen=True)
class Page:
    """A page, and the policy that lets its own style and script run and no other."""

    html: str
    policy: str


def _file(name: str) -> str:
    return (files("headstart.serving") / "templates" / name).read_text(encoding="utf-8")


def _page(title: str, body: str, script: str = "", *, scripts: str = "") -> Page:
    """Return a page; one that may run further `scripts` has its policy in itself, for any server of files."""
    style = _file("page.css")
    policy = {
        "default-src": "'none'",
        "style-src": f"'{script_hash(style)}'",
        "script-src": f"'{script_hash(script)}' {scripts}".rstrip() if script else "'none'",
        "img-src": "blob: data:",
        "media-src": "blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    written = "; ".join(f"{name} {value}" for name, value in policy.items())
    own = f'<meta http-equiv="Content-Security-Policy" content="{written}">\n' if scripts else ""
    html = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{own}<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n<style>{style}</style>\n'
        f"</head>\n<body>\n{body}\n{f'<script>{script}</script>' if script else ''}\n</body>\n</html>\n"
    )
    return Page(html, f"{written}; frame-ancestors 'none'")


def front_page() -> Page:
    """Return the page on which a person classifies what they drop, paste, record or type."""
    return _page("headstart", _file("page.html") + TO_SERVER, _file("server.js") + _file("page.js"))


def browser_page(name: str, about: Mapping[str, Any]) -> Page:
    """Return the same page for a folder with `model.onnx` and onnxruntime-web, which any server of files can hand out.

    `about` are values of the model: `reads`, image or sound, `classes`, and `ground`, 0..255, or `rate` and `seconds`.
    """
    model = json.dumps({"name": name, **about}).replace("<", "\\u003c")
    script = f"const MODEL = {model};\n{_file('browser.js')}{_file('page.js')}"
    return _page(name, _file("page.html") + TO_NOBODY, script, scripts="'self' 'wasm-unsafe-eval'")


def docs_page(schema: Mapping[str, Any]) -> Page:
    """Return the page that says what each address takes and answers, made from an OpenAPI schema."""
    sections = "\n".join(
        _section(method.upper(), path, operation)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    )
    head = (
        '<header><h1>Interface</h1><p>As a file: <a href="/openapi.json">/openapi.json</a>. '
        '<a href="/">Back to the page</a>.</p></header>'
    )
    return _page("headstart: interface", f"{head}\n<main>\n{sections}\n</main>")


def _section(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = Markup("").join(
        Markup("<tr><td>{}</td><td>{}</td></tr>").format(status, response.get("description", ""))
        for status, response in operation["responses"].items()
    )
    bodies = operation.get("requestBody", {}).get("content", {})
    taken = Markup("").join(
        Markup("<h3>{}</h3><ul>{}</ul>").format(kind, Markup("").join(_fields(body["schema"])))
        for kind, body in bodies.items()
    )
    table = Markup("<table><thead><tr><th>status</th><th>meaning</th></tr></thead><tbody>{}</tbody></table>")
    title = Markup("<section><h2><code>{} {}</code></h2><p>{}</p>").format(method, path, operation.get("summary", ""))
    return title + taken + table.format(rows) + Markup("</section>")


def _fields(schema: Mapping[str, Any]) -> Iterator[Markup]:
    """Yield a line for each field of a schema, those of its items below it."""
    if "properties" not in schema:
        yield Markup("<li>the bytes of one file, or the characters of one text</li>")
    for name, field in schema.get("properties", {}).items():
        inner = field.get("items", {})
        below = Markup("<ul>{}</ul>").format(Markup("").join(_fields(inner))) if "properties" in inner else ""
        kind = f"several of {inner.get('format', inner.get('type'))}" if inner else field.get("format", field["type"])
        yield Markup("<li><code>{}</code> ({}) {}{}</li>").format(name, kind, field.get("description", ""), below)
