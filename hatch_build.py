"""Builds the wheel, in which all rooms lie inside the one package `florilegium`.

In the checkout the rooms stand at the top, and import each other by their names there: `from curate.clean import
clean`. Installed like that, a `train.py` or a folder `curate/` beside somebody's notebook would be taken for ours, and
ours for theirs. So the wheel has each room inside `florilegium/`, as `_curate` and so on, and each import names it
there. The underscore keeps the room `train` apart from the function `florilegium.train`, which it would replace as soon
as it is imported. Nothing is written into the checkout.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "florilegium"


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Gives hatchling the files of the wheel; pyproject.toml names the rooms and the data."""

    _prepared: TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare the package in a folder for the time being. An editable install uses the checkout as it is."""
        if version == "editable":
            return
        self._prepared = TemporaryDirectory(prefix="florilegium-build-")
        arrange(Path(self.root), Path(self._prepared.name), self.config["rooms"], self.config["data"])
        build_data["force_include"][self._prepared.name] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the folder."""
        if self._prepared is not None:
            self._prepared.cleanup()


def arrange(root: Path, package: Path, rooms: list[str], data: dict[str, str]) -> None:
    """Write the package as it is installed into `package`.

    `rooms` are folders and modules at the top of the checkout `root`; `data` says which of its folders are called
    what in the package. Raises ValueError for an import that cannot be moved.
    """
    names = {Path(room).stem for room in rooms}
    for source, target in [(PACKAGE, ""), *((room, f"_{room}") for room in rooms), *data.items()]:
        for file in _files(root / source):
            place = package / target / file.relative_to(root / source)
            place.parent.mkdir(parents=True, exist_ok=True)
            content = file.read_bytes()
            try:
                place.write_bytes(with_imports_inside(content, names) if file.suffix == ".py" else content)
            except ValueError as error:
                raise ValueError(f"{file}, {error}") from error


def with_imports_inside(source: bytes, rooms: set[str]) -> bytes:
    """A module's source in UTF-8, in which `from curate.x import y` has become `from florilegium._curate.x import y`.

    Nothing else is touched: the positions come from the syntax tree, so text in strings and comments stays. Raises
    ValueError for `import curate.x`, which would bind another name inside the package.
    """
    lines = source.splitlines(keepends=True)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    # From the last to the first, so that each still stands where the tree says
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        if isinstance(node, ast.Import):
            if named := [alias.name for alias in node.names if _top(alias.name) in rooms]:
                raise ValueError(f"line {node.lineno}: write `from … import …` instead of `import {named[0]}`")
        elif node.module and not node.level and _top(node.module) in rooms:
            lines[node.lineno - 1] = _moved(lines[node.lineno - 1], node.col_offset, node.module)
    return b"".join(lines)


def _moved(line: bytes, start: int, module: str) -> bytes:
    """The line in which, from byte `start` on, `from <module>` names the module inside the package."""
    old = f"from {module}".encode()
    if not line.startswith(old, start):
        raise ValueError(f"write `from {module} import …` with single spaces, on one line: {line.decode().strip()}")
    return line[:start] + f"from {PACKAGE}._{module}".encode() + line[start + len(old) :]


def _top(module: str) -> str:
    return module.partition(".")[0]


def _files(source: Path) -> Iterator[Path]:
    """The file itself, or a folder's files but for hidden ones and what Python has compiled."""
    if source.is_file():
        yield source
        return
    for file in sorted(source.rglob("*")):
        parts = file.relative_to(source).parts
        if file.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in parts):
            yield file
