"""One place prints, and what others wrote reaches a terminal as signs that can be read, wherever it is printed."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
HOSTILE = "rose\x1b[31m\x9b2J\u202egnp.exe\u2066\udc80\nsecond line\r[bold]:rose:"
SHOWN = "rose\\x1b[31m\\x9b2J\\u202egnp.exe\\u2066\\udc80\\x0asecond line\\x0d[bold]:rose:"
SAYS = {
    "say": "console.say(HOSTILE)",
    "heading": "console.heading(HOSTILE)",
    "note": "console.note(HOSTILE)",
    "mistake": "console.mistake(HOSTILE)",
    "title of a table": "console.table(HOSTILE, ('a',), [('b',)])",
    "column of a table": "console.table('t', (HOSTILE,), [('b',)])",
    "cell of a table": "console.table('t', ('a',), [(HOSTILE,)])",
    "bar": "with console.bars(HOSTILE, 2) as advance:\n    advance(2)",
    "warning": "warnings.warn(HOSTILE)",
    "log line": "logging.getLogger('another').warning('from %s', HOSTILE.replace('\\n', '\\x0a'))",
    "mistake of the user's": "running.run(fail)",
}
CODE = """
import logging, sys, warnings
from commands import console, running
from curate.errors import UserError
HOSTILE = sys.argv[1].encode().decode("unicode_escape")
def fail(**options):
    raise UserError(HOSTILE)
console.clean_what_others_print()
"""


@pytest.mark.parametrize("way", SAYS)
def test_no_control_character_comes_through(way: str) -> None:
    spelt = HOSTILE.encode("unicode_escape").decode()
    command = [sys.executable, "-c", CODE + SAYS[way], spelt]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, env={"COLUMNS": "400", "PATH": ""})
    printed = (done.stdout + done.stderr).decode()
    assert not [sign for sign in printed if sign != "\n" and not sign.isprintable()], printed
    assert (SHOWN.replace("\\x0a", "\n") if way == "log line" else SHOWN) in printed


@pytest.mark.parametrize("value", [HOSTILE, "\x7f", "Röse 百合 \N{ROSE}"])
def test_json_stays_json(value: str) -> None:
    code = "import json, sys\nfrom commands import console\nconsole.json_line({'name': json.loads(sys.argv[1])})"
    done = subprocess.run([sys.executable, "-c", code, json.dumps(value)], cwd=REPOSITORY, capture_output=True)
    (line,) = done.stdout.decode().splitlines()
    assert line.isprintable()
    assert json.loads(line) == {"name": value}


@pytest.mark.parametrize("columns", [{}, {"COLUMNS": "80"}])
def test_a_row_is_one_line_where_no_terminal_is(columns: dict[str, str]) -> None:
    """A pipe and a file have no width: whoever searches there finds a run, its accuracy and its file in one line."""
    names = ["run", *(f"column {number}" for number in range(20)), "file"]
    rows = [
        [f"run-{row}", *(f"{row}.{number:03}" for number in range(20)), f"/a/{'long/' * 30}{row}"] for row in (1, 2)
    ]
    title = f"All of {'them, ' * 40}and no more"
    code = "import json, sys\nfrom commands import console\nconsole.table(*json.loads(sys.argv[1]))"
    command = [sys.executable, "-c", code, json.dumps([title, names, rows])]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, env={"PATH": "", **columns})
    lines = done.stdout.decode().splitlines()
    assert lines[0] == title
    for row in (names, *rows):
        assert sum(all(cell in line for cell in row) for line in lines) == 1, row


def test_nothing_else_prints() -> None:
    """A `print` elsewhere would carry a stranger's file name to the terminal as it is."""
    found = []
    files = [REPOSITORY / "cli.py", *(REPOSITORY / "commands").glob("*.py")]
    for path in files:
        if path.name == "console.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            prints = isinstance(node, ast.Name) and node.id in ("print", "input")
            writes = isinstance(node, ast.Attribute) and node.attr in (
                "echo",
                "secho",
                "print_exc",
                "write",
                "writelines",
            )
            of_rich = (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rich") or (
                isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "rich" for alias in node.names)
            )
            if prints or writes or of_rich:
                found.append(f"{path.name}: {ast.unparse(node)}")
    # Once a stop has come, nothing is left to print with.
    assert [place for place in found if not place.startswith("stopping.py")] == []
    assert len(files) > 10
