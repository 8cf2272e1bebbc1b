"""What every page shares: its template, style and script, its contents and last lines, and how numbers are written.

A page is one file that needs no other. Its script makes buttons that copy lines and sort tables: without it all is
there but these. The policy of the page allows that script alone, by its hash.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from headstart.base.errors import list_some, one_line
from headstart.base.hashing import script_hash

if TYPE_CHECKING:
    from jinja2 import Environment, Template

LISTED_NAMES = 8
MAX_SENTENCE = 2000  # characters
HEADING = re.compile(r'<h2 id="(\w+)">(.*?)</h2>')


@lru_cache
def template(name: str) -> Template:
    """Return a page's template by its file; whatever it prints is first brought onto one line, then escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("headstart.judge.report") / "templates"
    environment: Environment = Environment(
        loader=FunctionLoader(lambda file: _unbroken(folder.joinpath(file).read_text(encoding="utf-8"))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters |= {
        "percent": lambda value: _unbroken(percent(value)),
        "seconds": seconds,
        "signed": signed,
        "data_uri": _data_uri,
        "listed": _listed,
        "whole": _whole,
    }
    environment.globals |= {
        "style": (folder / "report.css").read_text(encoding="utf-8"),
        "script_hash": script_hash(_script()),
    }
    return environment.get_template(name)


@lru_cache
def _script() -> str:
    return (files("headstart.judge.report") / "templates" / "page.js").read_text(encoding="utf-8")


def render_page(name: str, heading: str, use: Sequence[Sequence[str]], **values: Any) -> str:
    """Return a whole page of a template: with its contents, what to do next, and its script.

    Args:
        heading: that of the last section.
        use: what stands there, blocks of lines to copy.
        values: those of the template.
    """
    page = template(name).render(**values)
    shown = ("\n".join(one_line(line, MAX_SENTENCE) for line in lines) for lines in use)
    blocks = "".join(f"<pre><code>{escape(block)}</code></pre>\n" for block in shown)
    last = f'<section aria-labelledby="use">\n<h2 id="use">{heading}</h2>\n{blocks}</section>\n</main>'
    start, _, end = page.rpartition("</main>")
    page = f"{start}{last}\n<script>{_script()}</script>{end}"
    links = "".join(f'<li><a href="#{place}">{title}</a></li>' for place, title in HEADING.findall(page))
    return page.replace("<main>", f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n<main>', 1)


def _data_uri(data: bytes, kind: str = "image/jpeg") -> str:
    return Markup("data:{};base64,").format(kind) + base64.b64encode(data).decode("ascii")


def _whole(sentence: str) -> str:
    """Return a sentence of ours in full, where other text is cut after a few hundred characters."""
    return escape(re.sub(r"(?<=[ \[])-(?=\d)", "\N{MINUS SIGN}", _unbroken(one_line(sentence, MAX_SENTENCE))))


def _unbroken(text: str) -> str:
    """Return text in which no line ends between a number and its percent sign."""
    return re.sub(r"(?<=[\d}]) %(?!})", "\N{NO-BREAK SPACE}%", text)


def _listed(names: Sequence[str]) -> str:
    """Return the first few names and how many more there are."""
    return escape(list_some(names, LISTED_NAMES))


def percent(value: float) -> str:
    """Return a share 0..1 as percent with one decimal."""
    return f"{100 * value:.1f} %"


def signed(value: float, decimals: int = 1) -> str:
    """Return a difference with its sign, a true minus sign where it is negative."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def seconds(value: float) -> str:
    """Return a duration in seconds as people say it."""
    if value < 0.9995:
        return f"{1000 * value:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
