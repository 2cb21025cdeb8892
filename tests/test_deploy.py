"""What is typed and run in a cloud: commands and options that exist, and the checkpoint's way back."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"


def bring_back(folder: Path, target: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(DEPLOY / "bring_back.py"), str(folder), target]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_checkpoints_come_back_under_their_names(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    models, target = tmp_path / "models", tmp_path / "bucket" / "models"
    (models / "bank").mkdir(parents=True)
    (models / "model_88.10.pth").write_bytes(b"old")
    (models / "bank" / "features.sqlite").write_bytes(b"stays")
    assert bring_back(models, target.as_uri()).returncode == 0
    (models / "model_91.47.pth").write_bytes(b"newer")
    second = bring_back(models, target.as_uri())
    assert second.stdout.split() == [f"{target.as_uri()}/model_91.47.pth"]  # the other is there already
    assert {file.name: file.read_bytes() for file in target.iterdir()} == {
        "model_88.10.pth": b"old", "model_91.47.pth": b"newer",
    }  # fmt: skip


def test_another_checkpoint_of_one_name_and_size_gets_a_name_of_its_own(tmp_path: Path) -> None:
    """Two runs may reach one accuracy, and checkpoints of one network are of one size: neither is lost."""
    pytest.importorskip("fsspec")
    models, target = tmp_path / "models", tmp_path / "bucket"
    models.mkdir()
    for content in (b"one", b"two", b"one", b"two", b"six"):
        (models / "model_88.10.pth").write_bytes(content)
        assert bring_back(models, target.as_uri()).returncode == 0
    assert {file.name: file.read_bytes() for file in target.iterdir()} == {
        "model_88.10.pth": b"one", "model_88.10-2.pth": b"two", "model_88.10-3.pth": b"six",
    }  # fmt: skip


@pytest.mark.parametrize("words", [[], ["models"]])
def test_a_wrong_call_is_told_what_is_wanted(words: list[str], tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    command = [sys.executable, str(DEPLOY / "bring_back.py"), *words, *(["file:///x"] if words else [])]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert told.returncode != 0
    assert "Traceback" not in told.stderr
    assert re.search(r"train first|Two words", told.stderr)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with a `florilegium` and a `python` that note how they are called."""
    for name in ("florilegium", "python"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> "{tmp_path}/calls"\n')
        program.chmod(0o755)
    return tmp_path


def run_script(recorded: Path, **given: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": f"{recorded / 'bin'}:{os.environ['PATH']}", **given}
    command = ["bash", str(DEPLOY / "run.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=recorded)


def test_the_run_asks_only_for_what_the_program_has(recorded: Path) -> None:
    """Each command of the script, parsed by the command line itself: with --help behind it, only words are read."""
    given = {"DATASET": "s3://bucket/flowers", "RESULTS": "s3://bucket/models", "TRAIN": "--recipe best --views 4"}
    assert run_script(recorded, ENGINE="ray:auto", **given).returncode == 0
    calls = [line.split() for line in (recorded / "calls").read_text().splitlines()]
    assert [call[:3] for call in calls[:3]] == [
        ["florilegium", name, "s3://bucket/flowers"] for name in ("clean", "split", "train")
    ]
    assert calls[3][2:] == ["models", "s3://bucket/models"]
    assert calls[2][-4:] == ["--recipe", "best", "--views", "4"]
    for _, command, _, *options in calls[:3]:
        told = subprocess.run(
            [sys.executable, "cli.py", command, "--help"], capture_output=True, text=True, check=True, cwd=ROOT,
            env={**os.environ, "COLUMNS": "200"},
        ).stdout  # fmt: skip
        for option in options:
            assert not option.startswith("--") or re.search(rf"{option}\b", told), f"{command} has no {option}"


@pytest.mark.parametrize("missing", ["DATASET", "RESULTS"])
def test_nothing_runs_without_a_dataset_and_a_place_for_results(recorded: Path, missing: str) -> None:
    given = {"DATASET": "s3://bucket/flowers", "RESULTS": "s3://bucket/models"}
    told = run_script(recorded, **{**given, missing: ""})
    assert told.returncode != 0
    assert f"set it to {given[missing].replace('bucket', 'your-bucket')}" in told.stderr
    assert not (recorded / "calls").exists()


def test_the_files_for_clouds_name_what_there_is() -> None:
    sky = yaml.safe_load((DEPLOY / "skypilot.yaml").read_text())
    job = yaml.safe_load((DEPLOY / "kuberay.yaml").read_text())
    assert sky["resources"]["autostop"]["down"] is True  # nothing goes on costing
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    wanted = set(re.findall(r"\$\{(\w+)", (DEPLOY / "run.sh").read_text())) - {"BASH_SOURCE"}
    given = set(yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"])
    assert given == wanted | {"DATASET", "RESULTS"}
    assert set(sky["envs"]) <= given
    for text in (sky["run"], (ROOT / "Dockerfile").read_text(), job["spec"]["entrypoint"]):
        for name in re.findall(r"(?:deploy|/opt/florilegium)/(\w+\.\w+)", text):
            assert (DEPLOY / name).is_file(), name
    for script in (sky["setup"], sky["run"], (DEPLOY / "run.sh").read_text()):
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_image_leaves_data_and_results_out() -> None:
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {"flower_data/*", "models", "runs"} <= set(left_out)
