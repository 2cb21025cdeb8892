"""HTML from templates: every value is text, and a name that a template does not get is an error."""

import base64
import hashlib
import mimetypes
import re
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.staticfiles import StaticFiles

from curate.printable import printable

_PAGES: Final = Path(__file__).resolve().parent


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_PAGES / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_as_text,
    )  # fmt: skip
    made.filters["printable"] = printable
    made.filters["coded"] = coded
    made.filters["shortened"] = shortened
    return made


def coded(words: str) -> Markup:
    """Words in which what stands between backticks, as our sentences have commands, is set as code."""
    parts = re.split("`([^`]+)`", printable(words))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    )


def shortened(path: str, most: int = 30) -> str:
    """A path of so many letters at most, with its beginning and its end."""
    shown = printable(path)
    half = (most - 1) // 2
    return shown if len(shown) <= most else f"{shown[:half]}…{shown[-half:]}"


def _as_text(value: object) -> object:
    """What stands in the place of a value: names and titles of others turn no writing round and end no line."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def html(template: str, /, **values: object) -> str:
    """The template of `pages/templates/`, filled in."""
    return _environment().get_template(template).render(values)


def static_files() -> StaticFiles:
    """Scripts and styles of `pages/static/`, to be mounted at `/static`."""
    # What the system believes a script to be, a registry on Windows say, may be what no browser runs
    mimetypes.add_type("text/javascript", ".js")
    return StaticFiles(directory=_PAGES / "static")


def static_text(name: str) -> str:
    """One of those files, for a page that holds everything itself."""
    return (_PAGES / "static" / name).read_text(encoding="utf-8")


def hash_source(text: str) -> str:
    """What lets a style or a script stand in a page itself: its hash, as a Content-Security-Policy names it."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
