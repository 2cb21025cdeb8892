"""A command that is printed to be run next means the same folder to the shell that it is pasted into."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.shell import command_line
from curate.printable import printable

BASH = shutil.which("bash")


def arguments(line: str) -> list[str]:
    """What a shell makes of the words after `cli.py`."""
    done = subprocess.run([str(BASH), "-c", f"set -- {line.removeprefix('cli.py ')}; printf '%s\\0' \"$@\""],
                          capture_output=True, check=True)  # fmt: skip
    return [word.decode(errors="surrogateescape") for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.skipif(BASH is None, reason="needs bash")
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=3))
def test_a_shell_reads_back_what_was_meant(words: list[str]) -> None:
    line = command_line("split", *words)
    assert printable(line) == line
    assert arguments(line) == ["split", *words]


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_a_name_that_is_no_text_comes_back_too() -> None:
    assert arguments(command_line("split", Path("a\udcff'\\ b"))) == ["split", "a\udcff'\\ b"]


def test_plain_words_stay_plain() -> None:
    assert command_line("clean", Path("flower_data"), "--radius", 8) == "cli.py clean flower_data --radius 8"


def test_a_path_is_never_an_option() -> None:
    assert command_line("clean", Path("--force"), "--dry-run") == "cli.py clean ./--force --dry-run"


@pytest.mark.parametrize(
    ("program", "environment", "expected"),
    [
        ("cli.py", {}, f"{sys.executable} cli.py"),
        ("/a b/cli.py", {}, f"{sys.executable} '/a b/cli.py'"),
        ("cli.py", {"UV": "/bin/uv"}, "uv run cli.py"),
        ("/x/florilegium/__main__.py", {}, f"{sys.executable} -m florilegium"),
        ("/usr/bin/pytest", {}, "cli.py"),
    ],
)
def test_the_program_is_named_as_it_was_started(
    program: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")  # no name finds this interpreter
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert command_line("split", "data") == f"{expected} split data"
