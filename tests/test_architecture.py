"""Imports run one way, florilegium → cli → pages → train → curate, and what is heavy waits until it is needed."""

import ast
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ORDER = ("florilegium", "cli", "commands", "demo", "testing", "pages", "train", "curate")
"""Each may import those behind it and no other. `benchmarks` and `tests` may import all."""
HEAVY = {"torch", "torchvision", "timm"}
DECLARATIONS = {
    "train", "train.backbone_names", "train.limits", "train.option_fields", "train.options", "train.optimising",
    "train.optimising.settings",
}  # fmt: skip
"""Of `train` what the help shows: the options, and nothing that does something."""
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for path in (REPOSITORY / "curate").rglob("*.py")
)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere in it, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield node.module or ""


def modules_after(code: str) -> set[str]:
    """The modules that a fresh process holds after it has run the code."""
    told = "import json, sys\nprint(json.dumps(sorted(sys.modules)))"
    script = f"{textwrap.dedent(code)}\n{told}"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def loaded_after(code: str) -> set[str]:
    """The top names of those modules."""
    return {name.split(".")[0] for name in modules_after(code)}


def rooms() -> set[str]:
    """The packages and modules at the top of the tree, as they are now."""
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    return packages | {path.stem for path in REPOSITORY.glob("*.py")}


def test_every_room_has_its_place_in_the_order() -> None:
    assert rooms() - {"benchmarks", "tests", "hatch_build"} == set(ORDER)


@pytest.mark.thorough
@pytest.mark.parametrize("room", ORDER)
def test_imports_run_one_way(room: str) -> None:
    files = sorted((REPOSITORY / room).rglob("*.py")) or [REPOSITORY / f"{room}.py"]
    may_not = rooms() - set(ORDER[ORDER.index(room) :])
    found = {
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in files
        for name in imports(path)
        if name.split(".")[0] in may_not
    }
    assert found == set()


def test_no_source_of_curate_names_torch() -> None:
    found = {
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in (REPOSITORY / "curate").rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] in HEAVY
    }
    assert found == set()


@pytest.mark.thorough
def test_curate_never_imports_torch() -> None:
    """Nor does anything that it imports: all of its modules together, in a process that has nothing else."""
    loaded = loaded_after("import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in MODULES))
    assert {"curate", "numpy", "PIL"} <= loaded
    assert loaded & (HEAVY | {"train", "cli"}) == set()


SQL_FILES = ("curate/catalog/*.py", "train/features/bank*.py")
"""Where the two databases are, the catalog and the feature bank: nobody else speaks to either."""
EXECUTES = {"execute", "executemany", "executescript"}
SQL = re.compile(
    r"""\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|REPLACE)\s(?:.*\s)?(?:FROM|INTO|SET|TABLE|INDEX|VIEW|VALUES)\b
    |\bPRAGMA\s+\w
    |\b(?:WHERE|ORDER\ BY|GROUP\ BY)\s
    |\b\w+\s+(?:(?:=|!=|<>)\s*(?:'|\?(?!\w))|(?:NOT\s+)?IN\s+\(|(?:NOT\s+)?LIKE\s|IS\s+(?:NOT\s+)?NULL\b)""",
    re.VERBOSE | re.DOTALL,
)
"""A statement, or a condition as a part of one: `state = 'present'`, `id = ?`, `score IS NULL`."""


def sql_in(source: str) -> Iterator[tuple[int, str]]:
    """(line, what it is) of each place that speaks SQL: an import, a call, or a text that is no docstring."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and "sqlite3" in imported_by(node):
            yield node.lineno, "imports sqlite3"
        elif isinstance(node, ast.Attribute) and node.attr in EXECUTES:
            yield node.lineno, f"calls {node.attr}"
        elif isinstance(node, ast.expr) and id(node) not in prose and SQL.search(text_of(node)):
            yield node.lineno, "holds SQL"


def imported_by(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The top names of the modules that a statement imports from."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return {name.split(".")[0] for name in names}


def text_of(node: ast.expr) -> str:
    """The text that a string in the source is, with a word in place of each value that is put into it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "value" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.mark.thorough
def test_only_the_catalog_and_the_bank_speak_sql() -> None:
    files = {path for room in ORDER for path in [*(REPOSITORY / room).rglob("*.py"), REPOSITORY / f"{room}.py"]}
    own = {path for pattern in SQL_FILES for path in REPOSITORY.glob(pattern)}
    found = {
        f"{path.relative_to(REPOSITORY)}, line {line}: {what}"
        for path in files - own
        if path.exists()
        for line, what in sql_in(path.read_text(encoding="utf-8"))
    }
    assert found == set()
    for pattern in SQL_FILES:  # else the test looks for what is nowhere written
        assert any(list(sql_in(path.read_text(encoding="utf-8"))) for path in REPOSITORY.glob(pattern)), pattern


@pytest.mark.parametrize(
    "code",
    [
        'catalog.db.execute("")',
        "run = catalog.db.executemany",
        "import sqlite3",
        "from sqlite3 import connect",
        """pictures("state = 'present'")""",
        'pictures("path = ?")',
        'pictures(f"{column} IS NOT NULL")',
        """pictures(f"{column} = '{value}'")""",
        'query = "SELECT path FROM pictures"',
        'query = f"DELETE FROM {table}"',
        'query = f"UPDATE {table} SET state = {state}"',
        'query = "PRAGMA table_info(pictures)"',
        'query = """\nCREATE TABLE IF NOT EXISTS written (path TEXT)\n"""',
    ],
)
def test_sql_is_seen_in_any_dress(code: str) -> None:
    assert list(sql_in(code))


@pytest.mark.parametrize(
    "code",
    [
        '"""Update the rows FROM pictures WHERE nothing."""',
        'raise UserError("Select a folder from the dataset, or update the set.")',
        'url = f"{host}?page={page}&query=?"',
        "pictures()",
    ],
)
def test_prose_is_no_sql(code: str) -> None:
    assert not list(sql_in(code))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_for(name: str) -> None:
    path = REPOSITORY / Path(*name.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), f"{name} does not say what it is for"


TWICE = {
    "Dataset": "`florilegium.Dataset` is the API's name of the same thing: a dataset, with the stages as its methods",
    "Search": "every module of `curate.sources` is one source, and `Search` is the class of each",
    "count_pictures": "every format of `curate.exporting` counts what it wrote by the same function",
    "export": "two doors of one command: `curate.export` writes a dataset, `train.export` a checkpoint",
    "main": "what `python -m` runs",
}
"""Public names that stand in more than one module, and why."""


def definitions(*kinds: type[ast.stmt], rooms: Iterable[str]) -> dict[str, list[str]]:
    """Public name → the modules at whose top level it is defined as a statement of one of these kinds."""
    found: dict[str, list[str]] = {}
    for room in rooms:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, kinds) and not node.name.startswith("_"):  # type: ignore[attr-defined]
                    found.setdefault(node.name, []).append(str(path.relative_to(REPOSITORY)))  # type: ignore[attr-defined]
    return found


@pytest.mark.thorough
def test_a_public_name_has_one_meaning() -> None:
    """A class name in all packages. A function's in those that do the work: a command and a method of the API bear the
    name of the door that they call.
    """
    classes = definitions(ast.ClassDef, rooms=ORDER)
    functions = definitions(ast.FunctionDef, ast.AsyncFunctionDef, rooms=("demo", "testing", "train", "curate"))
    twice = {name: places for found in (classes, functions) for name, places in found.items() if len(places) > 1}
    assert {name: places for name, places in twice.items() if name not in TWICE} == {}
    assert set(TWICE) <= set(twice), "an exception that is none any more"


HELP = """
    import sys
    sys.argv = ["cli.py", *{arguments!r}]
    import runpy
    try:
        runpy.run_path("cli.py", run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code
"""


@pytest.mark.thorough
@pytest.mark.parametrize("arguments", [["--help"], ["clean", "--help"], ["train", "--help"], ["predict", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    modules = modules_after(HELP.format(arguments=arguments))
    loaded = {name.split(".")[0] for name in modules}
    assert "typer" in loaded
    assert loaded & (HEAVY | {"numpy", "PIL", "scipy", "sqlite3"}) == set()
    assert {name for name in modules if name.split(".")[0] == "train"} == DECLARATIONS


@pytest.mark.thorough
def test_what_answers_for_a_picture_does_without_scipy() -> None:
    loaded = loaded_after("import train.predict")
    assert "torch" in loaded
    assert loaded & {"scipy", "sklearn", "pandas", "onnx"} == set()


@pytest.mark.thorough
def test_clean_and_split_do_without_torch(tmp_path: Path) -> None:
    from PIL import Image

    for label in ("a", "b"):
        for number in range(5):
            file = tmp_path / "data" / "raw" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((80, 60), 60).save(file)
    for command in ("clean", "split"):
        loaded = loaded_after(HELP.format(arguments=[command, str(tmp_path / "data")]))
        assert "PIL" in loaded
        assert loaded & HEAVY == set(), command
