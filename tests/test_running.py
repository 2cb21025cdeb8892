"""How a command ends, as real processes: in one sentence and with an exit code, whatever stops it or is in its way."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.stopping import BEGINS_ANEW, GOES_ON, KEEP_WHAT_THEY_DID
from tests.conftest import Nest
from tests.pictures import dataset

REPOSITORY = Path(__file__).resolve().parent.parent
CLI = [sys.executable, str(REPOSITORY / "cli.py")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("running") / "data"
    dataset(root / "raw", {"1": 150, "2": 150})
    return root


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*CLI, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


def shell(line: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `"$@"` is the command line."""
    command = ["bash", "-c", line, "bash", *CLI, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


# -- signals


BEGUN = """
import sys
sys.path.insert(0, {repository!r})
from commands import stopping
stopping.leave_at_once()
print("begun", flush=True)
sys.argv = ["cli.py", *{arguments!r}]
import runpy
runpy.run_path({cli!r}, run_name="__main__")
"""


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("seconds", [0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6])
def test_a_stop_is_one_line_at_any_instant(name: str, seconds: float, data: Path) -> None:
    """From the first imports, of which the parser's are the longest, to the work itself."""
    number = signal.Signals[name]
    code = BEGUN.format(
        repository=str(REPOSITORY), arguments=["verify", str(data)], cli=str(REPOSITORY / "cli.py")
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(seconds)
    os.killpg(process.pid, number)  # as a terminal does it: to all processes of the command
    output, errors = process.communicate(timeout=60)
    if "has no catalog to compare with" in output:
        pytest.skip("it had come to its end")
    assert process.returncode == 128 + number, errors
    assert errors.splitlines()[-1] == BEGINS_ANEW
    assert errors.count(BEGINS_ANEW) == 1
    assert "Traceback" not in errors
    assert "Exception" not in errors


IMPORTING = """
import os, signal, sys
sys.path.insert(0, {repository!r})
class Stop:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Stop())
sys.argv = ["cli.py", *{arguments!r}]
import runpy
runpy.run_path({cli!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    "module",
    [
        "typer",
        "typer.core",
        "commands.console",
        "curate.verify",
        "numpy",
        "PIL.Image",
        "scipy.fftpack",
        "rich.progress",
    ],
)
def test_a_stop_while_something_is_imported(module: str, data: Path) -> None:
    code = IMPORTING.format(
        repository=str(REPOSITORY), module=module, number=int(signal.SIGINT), arguments=["verify", str(data)],
        cli=str(REPOSITORY / "cli.py"),
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == BEGINS_ANEW
    assert len(done.stderr.splitlines()) <= 2  # a bar may have begun
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["predict", "a.jpg"], BEGINS_ANEW),
        (["compare", "a", "b"], BEGINS_ANEW),
        (["scrape", "rose"], GOES_ON),
        ([], BEGINS_ANEW),
    ],
)
def test_a_stop_says_whether_the_command_goes_on(arguments: list[str], told: str) -> None:
    """`predict` keeps nothing of what it said; `scrape` fetches nothing twice."""
    code = IMPORTING.format(
        repository=str(REPOSITORY), module="typer", number=int(signal.SIGTERM), arguments=arguments,
        cli=str(REPOSITORY / "cli.py"),
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (143, f"{told}\n")


def test_commands_that_go_on_are_commands() -> None:
    from cli import ROAD

    assert {command.__name__.replace("_", "-") for command in ROAD} > KEEP_WHAT_THEY_DID


def test_the_second_stop_does_not_wait(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from commands import running, stopping
stopping.leave_at_once()
def work(**_):
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        print("putting in order", flush=True)
        time.sleep(60)
running.run(work)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "putting in order\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, f"{BEGINS_ANEW}\n")


def test_what_its_starter_wants_ignored_stays_ignored(data: Path) -> None:
    """As `nohup` does with SIGHUP, and a shell with SIGINT for what runs in the background."""
    done = shell("trap '' INT HUP; \"$@\" & pid=$!; sleep 0.7; kill -INT $pid; kill -HUP $pid; wait $pid",
                 "verify", data, cwd=data)  # fmt: skip
    assert done.returncode == 1
    assert BEGINS_ANEW not in done.stderr
    assert "has no catalog" in done.stdout


# -- standard streams


@pytest.mark.thorough
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_streams_are_no_mistake(closed: str, data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    done = shell(f'"$@" {closed}', "clean", copy, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    if closed != "2>/dev/full":  # there progress cannot be told, which ends the command as any full disk does
        assert done.returncode == 0, done.stderr
    assert (copy / "catalog.sqlite").read_bytes().startswith(b"SQLite format 3\0")


def test_nobody_reads_it_to_its_end(data: Path) -> None:
    done = shell('"$@" 2>"$0" | true; code=${PIPESTATUS[0]}; cat "$0"; exit $code'.replace('"$0"', "errors"),
                 "verify", data, cwd=data)  # fmt: skip
    assert done.returncode == 141
    assert "Traceback" not in done.stdout
    assert "BrokenPipe" not in done.stdout


def test_a_full_disk_behind_the_output_is_told(data: Path) -> None:
    done = shell('"$@" >/dev/full', "verify", data, cwd=data)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_encoding_without_the_sign_prints_another(data: Path) -> None:
    done = shell('PYTHONIOENCODING=ascii "$@"', "clean", "Röse", cwd=data)
    assert done.returncode == 2
    assert done.stderr.startswith("There is no folder R\\xf6se:")


# -- odd arguments and places

LONG = "x" * 300
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a long name": (("clean", LONG), "give a shorter name"),
    "a long name to split": (("split", LONG), "give a shorter name"),
    "a long name to verify": (("verify", LONG), "give a shorter name"),
    "a long name for the garden": (("demo", "--folder", LONG), "give a shorter name"),
    "a long plan": (("clean", "data", "--plan", LONG), "File name too long"),
    "a long output": (("split", "data", "--out", LONG), "give a shorter name"),
    "a path beyond all limits": (("clean", "/".join(["y" * 200] * 30)), "give a shorter name"),
    "a link to itself": (("clean", "loop"), "no folder loop"),
    "below a link to itself": (("verify", "loop/x"), "no folder loop/x"),
    "a device": (("verify", "/dev/zero"), "/dev/zero is a file"),
    "a negative seed for the garden": (("demo", "--seed", "-1"), "--seed"),
    "a seed beyond 64 bits for the garden": (("demo", "--seed", str(2**64)), "--seed"),
    "a negative seed for the split": (("split", "data", "--seed", "-1"), "--seed"),
    "a seed beyond 63 bits": (("split", "data", "--seed", str(2**63)), "--seed"),
    "an unknown run": (("restore", "data", "--run", "nosuch"), "There is no run 'nosuch'"),
    "an unknown class": (("restore", "data", "--class", "nosuch"), "There is no class 'nosuch'"),
    "an unknown picture": (("restore", "data", "--picture", "nosuch"), "nosuch is not in the quarantine"),
    "no folder at all": (("clean", ""), "An argument is empty"),
    "no output at all": (("split", "data", "--out", ""), "--out is empty"),
    "no output at all, joined": (("split", "data", "--out="), "--out is empty"),
    "an export beside all": (("export", "/", "--format", "imagefolder"), "give one with --out"),
    "an escape in an argument": (("clean", "\x1b[31m\u202e"), "There is no folder \\x1b[31m\\u202e:"),
    "an escape in an option": (("clean", "--\x1b[31m\u202e"), "has no option"),
    "an escape in a value": (("clean", "--keep", "\x1b[31m\u202e"), "--keep"),
    "an escape in a command": (("\x1b[31m\u202e",), "No such command"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("case", WRONG)
def test_odd_arguments_are_one_sentence_and_exit_code_2(case: str, data: Path, tmp_path: Path) -> None:
    arguments, expected = WRONG[case]
    shutil.copytree(data, tmp_path / "data")
    run("clean", "data", cwd=tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert expected in last
    assert len(last) < 1500
    assert not [sign for sign in done.stderr if sign != "\n" and not sign.isprintable()]
    assert "Traceback" not in done.stderr


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    for arguments in ("clean", "verify", "demo"):
        done = shell('mkdir -p ../gone; cd ../gone; rmdir ../gone; "$@"', arguments, cwd=tmp_path / "gone")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("The working directory is no longer there:")
        (tmp_path / "gone").mkdir(exist_ok=True)


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["verify", "clean", "split"])
def test_folders_in_folders_in_folders(command: str, tmp_path: Path, nest: Nest) -> None:
    root = tmp_path / "data"
    dataset(root / "raw", {"1": 3, "2": 3})
    nest(root / "raw" / "1", 1900)
    done = run(command, root, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2)
    if done.returncode == 2:
        assert "nested too deeply" in done.stderr or "name" in done.stderr
