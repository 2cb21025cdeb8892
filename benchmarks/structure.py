"""The size of the code and the longest chain of imports in it, of one checkout or of several side by side.

    uv run benchmarks/structure.py . ../before

The chain is of imports at the top of a module: those inside functions wait until they are needed.
"""

import argparse
import ast
import sys
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands.console import say, table

LEFT_OUT = {"tests", "benchmarks"}


@dataclass(frozen=True)
class Structure:
    """Python files of the program, their lines, those of its longest file, and the longest chain of imports."""

    files: int
    lines: int
    longest_file: int
    chain: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("checkouts", nargs="+", type=Path)
    found = {checkout: measure(checkout) for checkout in parser.parse_args().checkouts}
    rows = [(str(at), one.files, f"{one.lines:,}", one.longest_file, len(one.chain)) for at, one in found.items()]
    table("The program", ("checkout", "files", "lines", "of the longest", "longest chain"), rows)
    for checkout, one in found.items():
        say(f"{checkout}: {' → '.join(one.chain)}")


def measure(checkout: Path) -> Structure:
    modules = {_name(checkout, path): path for path in _sources(checkout)}
    imports = {name: sorted(_imports(path, modules.keys()) - {name}) for name, path in modules.items()}

    @cache
    def chain(name: str) -> tuple[str, ...]:
        return (name, *max(map(chain, imports[name]), key=len, default=()))

    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules.values()]
    return Structure(len(modules), sum(lines), max(lines), max(map(chain, modules), key=len))


def _sources(checkout: Path) -> list[Path]:
    rooms = {path.parent.name for path in checkout.glob("*/__init__.py")} - LEFT_OUT
    return [*checkout.glob("cli.py"), *(path for room in rooms for path in (checkout / room).rglob("*.py"))]


def _name(checkout: Path, path: Path) -> str:
    return ".".join(path.relative_to(checkout).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path, known: AbstractSet[str]) -> set[str]:
    found = set[str]()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {name for alias in node.names if (name := f"{node.module}.{alias.name}") in known}
            found |= below or ({node.module} if node.module in known else set())
    return found


if __name__ == "__main__":
    main()
