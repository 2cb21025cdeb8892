"""Packages that only one source or one format needs: what to do where one is not installed."""

from importlib.util import find_spec
from typing import Any

from curate.errors import UserError
from curate.program import INSTALLED


def require_extra(module: str, purpose: str, package: str, extra: str) -> None:
    """Raise `not_installed` where there is no module of that name, a top-level one. Nothing is imported."""
    if find_spec(module) is None:
        raise not_installed(purpose, package, extra)


def not_installed(purpose: str, package: str, extra: str, otherwise: str = "") -> UserError:
    """The error that says how to get `package`, one or several, which pyproject.toml lists under `extra`.

    `purpose` begins the sentence: "Parquet files need"; `otherwise` may name a way without the package.
    """
    by_hand = f"`pip install {package}`"
    how = f"{by_hand} in Florilegium's environment" if INSTALLED else f"`uv sync --extra {extra}`, or with {by_hand}"
    end = f", or {otherwise}." if otherwise else "."
    return UserError(f"{purpose} the package {package}, which is not installed: add it with {how}{end}")


def require_pyarrow() -> tuple[Any, Any]:
    """Pyarrow and its module for Parquet. Raises `UserError` where it is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise not_installed("Parquet files need", "pyarrow", "parquet") from error
    return pyarrow, parquet
