"""HTML from templates: every value is text, and a name that a template does not get is an error."""

import mimetypes
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.staticfiles import StaticFiles

from curate.printable import printable

_PAGES: Final = Path(__file__).resolve().parent


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_PAGES / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["printable"] = printable
    return made


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
