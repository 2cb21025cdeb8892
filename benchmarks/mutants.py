"""Small bugs planted one at a time, and whether a test notices: comparisons, constants, conditions, statements.

    uv run benchmarks/mutants.py curate/splitting train/metrics.py --sample 15 --seconds 60

Of each file so many mutants are drawn, by a seed, among all places in its syntax tree. Each is written into a copy of
the checkout, where the test files that import the module run, one after the other, up to the first that fails or the
end of the time, which counts as noticed: a loop without end is one. A mutant that lives is printed with its line.
"""

import argparse
import ast
import copy
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

_OTHER: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_REMOVABLE = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break)

Change = Callable[[], None]


def changes(tree: ast.Module) -> Iterator[tuple[int, str, Change]]:
    """(line, what is done there, what does it to the tree) for every place where a small bug may be planted."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Compare(ops=[op]) if type(op) in _OTHER:
                other = _OTHER[type(op)]()
                yield line, f"{type(op).__name__} → {type(other).__name__}", _setting(node, "ops", [other])
            case ast.BoolOp(op=op):
                other_op = ast.Or() if isinstance(op, ast.And) else ast.And()
                yield line, f"{type(op).__name__} → {type(other_op).__name__}", _setting(node, "op", other_op)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield line, "not dropped", _setting(node, "op", ast.UAdd(), "operand", _truth(operand))
            case ast.Constant(value=bool(value)):
                yield line, f"{value} → {not value}", _setting(node, "value", not value)
            case ast.Constant(value=int() | float() as value):
                yield line, f"{value} → {value + 1}", _setting(node, "value", value + 1)
                yield line, f"{value} → {value - 1}", _setting(node, "value", value - 1)
            case ast.Call(args=[first, second, *rest]) if ast.dump(first) != ast.dump(second) and not _symmetric(node):
                yield line, "arguments swapped", _setting(node, "args", [second, first, *rest])
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                for at, statement in enumerate(block):
                    if isinstance(statement, _REMOVABLE) and not _is_docstring(statement):
                        yield statement.lineno, f"removed: {ast.unparse(statement)[:60]}", _removing(block, at)


def _symmetric(node: ast.Call) -> bool:
    """Whether a call gives the same when its arguments are swapped."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in {"min", "max", "minimum", "maximum"}


def _setting(node: ast.AST, *values: object) -> Change:
    def change() -> None:
        for name, value in zip(values[::2], values[1::2], strict=True):
            setattr(node, str(name), value)

    return change


def _removing(block: list[ast.stmt], at: int) -> Change:
    def change() -> None:
        block[at] = ast.copy_location(ast.Pass(), block[at])

    return change


def _truth(operand: ast.expr) -> ast.expr:
    """`bool(operand)`, whose value a + leaves as it is."""
    return ast.Call(ast.Name("bool", ast.Load()), [operand], [])


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def mutant(source: str, number: int) -> tuple[int, str, str]:
    """(line, what was done, the source with it) of one of the places, by its number."""
    tree = copy.deepcopy(ast.parse(source))
    line, what, change = list(changes(tree))[number]
    change()
    return line, what, ast.unparse(ast.fix_missing_locations(tree))


def tests_of(module: str) -> list[str]:
    """The test files that import a module, those that are named like it first."""
    parent, _, name = module.rpartition(".")
    ways = (f"import {module}", f"from {module} import", f"from {parent} import {name}")
    found = [
        path.relative_to(REPOSITORY).as_posix()
        for path in sorted((REPOSITORY / "tests").glob("test_*.py"))
        if any(way in path.read_text(encoding="utf-8") for way in ways)
    ]
    return sorted(found, key=lambda file: name not in file)


def lives(checkout: Path, tests: list[str], seconds: float) -> bool:
    """Whether all tests pass within the time, in a fork: what this process has imported is not imported again."""
    child = os.fork()
    if not child:
        os.setsid()
        os._exit(_run_tests(checkout, tests))
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) == 0
            time.sleep(0.05)
        return False
    finally:
        with suppress(ProcessLookupError):  # out of time, or interrupted: the programs that tests start included
            os.killpg(child, signal.SIGKILL)


def _run_tests(checkout: Path, tests: list[str]) -> int:
    """Run them and give pytest's exit code; nothing is printed."""
    os.chdir(checkout)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    sys.path[0] = str(checkout)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    options = [
        "-q",
        "-x",
        "-m",
        "not slow",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    try:
        import pytest

        return int(pytest.main([*options, *tests]))
    except BaseException:  # whatever leaves pytest, this fork must not go on as the parent
        return 1


def main() -> None:
    """Plant, run, and print what lives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="+", type=Path, help="files and folders, relative to the checkout")
    parser.add_argument("--sample", type=int, default=15, help="mutants of each file")
    parser.add_argument("--seconds", type=float, default=120.0, help="time for the tests of one mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", nargs="*", help="test files to run instead of those that import the module")
    parser.add_argument("--preload", nargs="*", default=[], help="other projects' modules to import once for all tests")
    options = parser.parse_args()
    for module in options.preload:
        importlib.import_module(module)
    planted = alive = 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        ignore = shutil.ignore_patterns(".git", ".venv", "__pycache__", "flower_data", "models", "runs", "*.sqlite")
        shutil.copytree(REPOSITORY, checkout, ignore=ignore, symlinks=True)
        for file in (one for place in options.places for one in sorted(place.rglob("*.py")) or [place]):
            source = (REPOSITORY / file).read_text(encoding="utf-8")
            places = len(list(changes(ast.parse(source))))
            tests = options.tests or tests_of(".".join(file.with_suffix("").parts))
            if not places or not tests:
                print(f"{file}: nothing to plant, or no test imports it", flush=True)
                continue
            if not lives(checkout, tests, options.seconds):
                sys.exit(f"{' '.join(tests)} fail, or take over {options.seconds:g} s, without a bug: give --seconds.")
            chosen = sorted(random.Random(options.seed).sample(range(places), min(options.sample, places)))
            lived = 0
            for number in chosen:
                line, what, planted_in = mutant(source, number)
                (checkout / file).write_text(planted_in, encoding="utf-8")
                if lives(checkout, tests, options.seconds):
                    lived += 1
                    print(f"  lives: {file}:{line} {what}", flush=True)
            (checkout / file).write_text(source, encoding="utf-8")
            planted, alive = planted + len(chosen), alive + lived
            print(f"{file}: {lived} of {len(chosen)} live ({places} places)", flush=True)
    print(f"{alive} of {planted} mutants live ({alive / max(planted, 1):.0%})")


if __name__ == "__main__":
    main()
