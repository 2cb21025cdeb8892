"""What `clean` and `restore` say of what they could not do, and where a renamed dataset's pictures are."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.files.lock import locked
from tests.commanding import command
from tests.pictures import dataset, paint, save, scene, write

REPOSITORY = Path(__file__).resolve().parent.parent


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "cli.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A flat dataset with a broken file in each class."""
    root = tmp_path / "my flowers"
    dataset(root, {"rose": 4, "tulip": 4})
    for label in ("rose", "tulip"):
        write(root / label / "broken.jpg", b"<html>")
    return root


def pending_and_changed(root: Path) -> None:
    """What a `clean` leaves that was killed before its first move; meanwhile the user mended the files."""
    clean(root, yes=True)
    opened = open_dataset(root)
    with Catalog.open(opened.catalog_path) as catalog:
        catalog.db.execute("UPDATE quarantine SET state = 'moving'")
    for label in ("rose", "tulip"):
        (opened.quarantine / "broken" / label / "broken.jpg").unlink()
        write(root / label / "broken.jpg", (root / label / "picture 0.jpg").read_bytes()
              if label == "rose" else (root / label / "picture 1.jpg").read_bytes())  # fmt: skip


@pytest.mark.thorough
def test_clean_says_what_could_not_be_moved(flat: Path, tmp_path: Path) -> None:
    pending_and_changed(flat)
    done = run("clean", flat, "--yes", cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "Nothing to set aside" not in done.stdout
    assert "Could not be moved, as it has changed or its place is taken: rose/broken.jpg" in done.stdout
    assert "could not be. Next: the same command again" in done.stdout.splitlines()[-1]


def test_restore_says_what_could_not_be_brought_back(flat: Path, tmp_path: Path) -> None:
    clean(flat, yes=True)
    write(flat / "rose" / "broken.jpg", b"another")
    done = run("restore", flat, cwd=tmp_path)
    assert done.returncode == 1
    assert "another file has taken its place: rose/broken.jpg" in done.stdout
    assert "Brought 1 file back into" in done.stdout
    assert "could not bring back 1" in done.stdout
    assert (flat / "rose" / "broken.jpg").read_bytes() == b"another"


@pytest.mark.thorough
def test_restore_names_the_runs_there_are(flat: Path, tmp_path: Path) -> None:
    report = clean(flat, yes=True)
    done = run("restore", flat, "--run", "nosuch", cwd=tmp_path)
    assert done.returncode == 2
    assert f"There is no run 'nosuch' in the quarantine {flat}.florilegium/quarantine: choose among {report.run}." in (
        done.stderr
    )
    assert run("restore", flat, "--run", report.run, cwd=tmp_path).stdout.startswith("Brought 2 files back")
    again = run("restore", flat, "--run", report.run, cwd=tmp_path)  # an interrupted one may be repeated
    assert again.returncode == 0
    assert "nothing of that is in the quarantine" in again.stdout


def test_restore_names_the_classes_that_were_set_aside(flat: Path, tmp_path: Path) -> None:
    clean(flat, yes=True)
    (flat / "rose").rename(flat / "Gallica")
    done = run("restore", flat, "--class", "Rosa", cwd=tmp_path)
    assert done.returncode == 2
    assert "There is no class 'Rosa'" in done.stderr
    assert "choose among rose, tulip" in done.stderr
    assert run("restore", flat, "--class", "rose", cwd=tmp_path).stdout.startswith("Brought 1 file back")


def never_cleaned(root: Path) -> None:
    pass


def cleaned_anew(root: Path) -> None:
    clean(root, yes=True)


@pytest.mark.thorough
@pytest.mark.parametrize("meanwhile", [never_cleaned, cleaned_anew])
def test_restore_finds_the_quarantine_of_a_renamed_dataset(
    flat: Path, tmp_path: Path, meanwhile: Callable[[Path], None]
) -> None:
    clean(flat, yes=True)
    renamed = flat.rename(tmp_path / "renamed")
    meanwhile(renamed)
    done = run("restore", renamed, cwd=tmp_path)
    assert done.returncode == 2
    home, place = f"{flat}.florilegium", f"{renamed}.florilegium"
    assert f"there is no quarantine {place}/quarantine" in done.stderr
    assert f"rename {home} to {place}" in done.stderr
    if meanwhile is cleaned_anew:
        assert f"move {place} away" in done.stderr
        Path(place).rename(tmp_path / "away")
    Path(home).rename(place)
    assert run("restore", renamed, cwd=tmp_path).stdout.startswith("Brought 2 files back")


def test_the_quarantine_of_a_neighbour_is_not_offered(flat: Path, tmp_path: Path) -> None:
    clean(flat, yes=True)
    dataset(tmp_path / "other", {"1": 2, "2": 2})
    done = run("restore", tmp_path / "other", cwd=tmp_path)
    assert done.returncode == 0
    assert f"Nothing was set aside in {tmp_path / 'other'}" in done.stdout
    assert not (tmp_path / "other.florilegium").exists()


@pytest.mark.thorough
def test_what_to_run_next_can_be_pasted(flat: Path, tmp_path: Path) -> None:
    done = run("clean", flat, "--dry-run", cwd=tmp_path)
    words = shlex.split(done.stdout.splitlines()[-1].rpartition("Next: ")[2])
    program = next(at for at, word in enumerate(words) if word.endswith("cli.py"))
    assert words[program + 1 : program + 3] == ["clean", str(flat)]
    assert subprocess.run(words, check=False, capture_output=True, cwd=tmp_path).returncode == 0


@pytest.mark.thorough
@pytest.mark.parametrize("is_flat", [True, False])
def test_after_a_split_comes_training_until_pictures_come(is_flat: bool, tmp_path: Path) -> None:
    """`clean` that finds nothing leaves a split as it is: what comes next is what `split` said, too."""
    root = tmp_path / "flowers"
    pictures = root if is_flat else root / "raw"
    for at, label in enumerate(("rose", "tulip")):
        for number in range(8):
            save(scene(100 * at + number), pictures / label / f"{number}.jpg")

    def following(*words: object) -> str:
        done = command(*words)
        assert done.code == 0, done.err
        return done.out.splitlines()[-1].rpartition("Next: ")[2].split("cli.py ")[-1].split()[0]

    looks = [("clean", root, "--dry-run"), ("clean", root), ("show", root, "--out", tmp_path / "sheet.png")]
    assert [following(*look) for look in looks] == ["split"] * 3
    assert following("split", root) == "train"
    assert [following(*look) for look in looks] == ["train"] * 3
    write(pictures / "rose" / "broken.jpg", b"<html>")
    assert following("clean", root, "--yes") == "split", "a file has left"
    save(scene(4000), pictures / "rose" / "new.jpg")
    assert [following(*look) for look in looks] == ["split"] * 3, "the new one is in no split"
    assert following("split", root) == "train"
    assert [following(*look) for look in looks] == ["train"] * 3


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["clean", "restore", "split"])
def test_another_command_at_work_is_told_or_waited_for(command: str, flat: Path, tmp_path: Path) -> None:
    clean(flat, yes=True)
    with locked(open_dataset(flat).home, "clean elsewhere"):
        done = run(command, flat, cwd=tmp_path)
        assert done.returncode == 2
        assert "`clean elsewhere`" in done.stderr
        confirmed = ["--yes"] if command == "clean" else []
        waiting = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "cli.py"), command, str(flat), "--wait", *confirmed],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        time.sleep(1.5)
        assert waiting.poll() is None
    output, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, errors
    assert "Next: " in output.splitlines()[-1]


@pytest.mark.thorough
def test_a_plan_replaces_no_picture_unless_forced(flat: Path, tmp_path: Path) -> None:
    picture = flat / "rose" / "picture 0.jpg"
    before = picture.read_bytes()
    refused = run("clean", flat, "--dry-run", "--save-plan", picture, cwd=tmp_path)
    assert refused.returncode == 2
    assert picture.read_bytes() == before
    (tmp_path / "notes.jsonl").write_text("mine")
    forced = run("clean", flat, "--dry-run", "--save-plan", "notes.jsonl", "--force", cwd=tmp_path)
    assert forced.returncode == 0, forced.stderr
    assert "broken.jpg" in (tmp_path / "notes.jsonl").read_text()


@pytest.mark.thorough
def test_a_damaged_catalog_is_made_anew_on_request(flat: Path, tmp_path: Path) -> None:
    clean(flat, yes=True)
    catalog = open_dataset(flat).catalog_path
    catalog.write_bytes(b"no database" * 1000)
    assert run("clean", flat, "--yes", cwd=tmp_path).returncode == 2
    done = run("clean", flat, "--rebuild-catalog", "--yes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Catalog.open(catalog) as opened:
        assert len(opened.pictures()) == 8


def test_what_was_decided_under_a_former_name_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    """A renamed dataset leaves its decisions behind: `clean` names the folder until it has that of its new name."""
    flat = tmp_path / "garden"
    for number in range(3):
        save(paint(number), flat / "rose" / f"{number}.jpg")
        save(paint(number), flat / "tulip" / f"other {number}.jpg")
    assert command("clean", flat, "--yes").code == 0
    assert command("restore", flat).code == 0
    assert "Nothing to set aside" in command("clean", flat, "--dry-run").out
    now = flat.rename(tmp_path / "meadow")
    home, new = tmp_path / "garden.florilegium", tmp_path / "meadow.florilegium"
    assert f"{home} is of no folder, and knows these pictures: if {now} was renamed, rename it to {new}." in (
        command("clean", now, "--dry-run").out
    )
    assert f"move {new} away and rename it" in command("clean", now, "--dry-run").out
    new.rename(tmp_path / "away")
    home.rename(new)
    told = command("clean", now, "--dry-run").out
    assert "Nothing to set aside" in told
    assert "is of no folder" not in told


def test_a_folder_of_another_dataset_that_is_gone_is_none_of_ours(tmp_path: Path) -> None:
    save(paint(1), tmp_path / "gone" / "rose" / "1.jpg")
    assert command("clean", tmp_path / "gone", "--dry-run").code == 0
    (tmp_path / "gone").rename(tmp_path / "gone.florilegium" / "elsewhere")
    save(paint(2), tmp_path / "meadow" / "tulip" / "2.jpg")
    assert "is of no folder" not in command("clean", tmp_path / "meadow", "--dry-run").out
