"""On Ray a command does what it does here, whatever dies on the way: the same plan, split and proof; and no trace."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import draw, save, write
from tests.raying import TWO_NODES, Place, place

__all__ = ["place"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the program forks on Linux alone")


def garden(root: Path, count: int = 40) -> Path:
    """Pictures of two classes with copies across them, and a broken one."""
    for number in range(count):
        write(root / "raw" / "ab"[number % 2] / f"{number}.jpg", draw(number))
    for number in range(4):
        write(root / "raw" / "a" / f"copy{number}.jpg", draw(2 * number, quality=60))
    write(root / "raw" / "b" / "label.jpg", draw(6, quality=70))
    write(root / "raw" / "b" / "half.jpg", draw(900)[:700])
    return root


def flower_garden(root: Path, flowers: Path) -> Path:
    """Every third photograph under its class, and copies: smaller, cropped, equal, and in another class."""
    photographs = sorted(flowers.glob("*/*/*.jpg"))[::3]
    for number, photograph in enumerate(photographs):
        write(root / "raw" / photograph.parent.name / photograph.name, photograph.read_bytes())
        copy = f"copy{number}.jpg"
        with Image.open(photograph) as picture:
            width, height = picture.size
            if number % 16 == 0:
                save(picture.reduce(2), root / "raw" / photograph.parent.name / copy)
            elif number % 16 == 4:
                edge = (width // 33, height // 33, width - width // 33, height - height // 33)
                save(picture.crop(edge), root / "raw" / photograph.parent.name / copy)
            elif number % 32 == 8:
                write(root / "raw" / photograph.parent.name / copy, photograph.read_bytes())
            elif number % 32 == 24:
                other = photographs[number - 12].parent.name
                save(picture, root / "raw" / other / copy, quality=80)
    return root


@pytest.mark.slow
def test_a_command_on_ray_plans_the_same_and_leaves_no_file_and_no_process(tmp_path: Path, place: Place) -> None:
    here = garden(tmp_path / "here")
    there = shutil.copytree(here, tmp_path / "there")
    before = set(Path("/tmp").glob("ray*"))
    place.command("clean", here, "--dry-run")
    said = place.command("clean", there, "--dry-run", "--engine", "ray")
    plans = [[json.loads(line) for line in plan_of(root).read_text().splitlines()] for root in (here, there)]
    assert len(plans[0]) >= 5
    assert without_times(plans[0]) == without_times(plans[1])
    assert "nothing was moved" in said
    assert place.processes() == []
    assert place.files() == []
    assert set(Path("/tmp").glob("ray*")) == before


def plan_of(root: Path) -> Path:
    (plan,) = root.rglob("plan.jsonl")
    return plan


def without_times(plan: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{name: value for name, value in line.items() if name != "written"} for line in plan]


WALK = """
    import hashlib, json, sys
    from contextlib import contextmanager
    from dataclasses import asdict
    from pathlib import Path
    from curate.catalog import Catalog
    from curate.clean import clean
    from curate.dataset import open_dataset
    from curate.engine.engines import on_engine
    from curate.split import split
    from curate.verify import verify

    read = {"Reading pictures": 0, "Reading pictures again": 0}

    def watching(and_then=lambda: None):
        @contextmanager
        def progress(description, total):
            def advance(done):
                if description in read:
                    read[description] += done
                    and_then()
            yield advance
        return progress

    def walk(root, engine, and_then=lambda: None):
        read.update({name: 0 for name in read})
        progress = watching(and_then)
        with on_engine(engine):
            cleaned = clean(root, yes=True, progress=progress)
            drawn = split(root, progress=progress)
            proof = verify(root, progress=progress)
        with Catalog.open(open_dataset(root).catalog_path) as catalog:
            rows = sorted((one.path, one.sha256, one.phash, one.broken, one.state, repr(one.scores),
                           one.fingerprint.hex()) for one in catalog.pictures())
        places = {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
                  for file in sorted(root.rglob("*.jpg"))}
        return {
            "plan": [repr(one) for one in cleaned.plan.decisions], "moved": cleaned.moved, "counts": drawn.counts,
            "rows": rows, "places": places, "files": proof.files, "in order": proof.in_order,
            "crossings": [repr(one) for one in proof.splits[0].crossings], "read": dict(read),
        }
"""


@pytest.mark.slow
@pytest.mark.parametrize("of", ["drawn", "photographs"])
def test_two_nodes_of_which_one_is_killed_clean_split_and_prove_the_same(
    tmp_path: Path, place: Place, of: str, request: pytest.FixtureRequest
) -> None:
    here = tmp_path / "here"
    if of == "drawn":
        garden(here, 300)
    else:
        flower_garden(here, request.getfixturevalue("flowers"))
    there = shutil.copytree(here, tmp_path / "there")
    code = f"""
    {TWO_NODES}
    {WALK}
    killed = []

    def kill_the_second():
        if not killed:
            kill(second)
            killed.append(read["Reading pictures"])

    found = [walk(Path(sys.argv[1]), "local"), walk(Path(sys.argv[2]), ENGINE, kill_the_second)]
    cluster.shutdown()
    print(json.dumps([*found, killed]))
    """
    local, ray, killed = json.loads(place.run(code, here, there).splitlines()[-1])
    assert 0 < killed[0] < len(local["rows"]), "the node was to be killed in the middle"
    assert local["moved"] >= 5
    assert local["in order"]
    for what in local:
        assert ray[what] == local[what], what
    assert place.processes() == []


DEADLY = """
    import os, signal, sys
    from curate.engine.engines import on_engine, current_engine
    from tests.test_ray import alone, dies_at_seven
    from pathlib import Path

    parts = [list(range(start, start + 4)) for start in range(0, 20, 4)]
    with on_engine("ray"):
        with current_engine().results_of(dies_at_seven, parts, alone, folders=[Path.cwd()]) as results:
            print(sorted(one for part in results for one in part))
        try:
            with current_engine().results_of(raises, parts, alone, folders=[Path("/nowhere")]) as results:
                list(results)
        except Exception as error:
            print(type(error).__name__, error)
"""


def dies_at_seven(part: list[int]) -> list[tuple[int, str]]:
    import os
    import signal

    if 7 in part:
        os.kill(os.getpid(), signal.SIGSEGV)
    return [(one, "read") for one in part]


def alone(part: list[int], exit_code: int) -> list[tuple[int, str]]:
    return [(one, f"died of {-exit_code}" if one == 7 else "read alone") for one in part]


@pytest.mark.slow
def test_what_kills_its_process_costs_itself_alone_and_a_folder_unseen_is_said(place: Place) -> None:
    said = place.run(DEADLY.replace("raises", "dies_at_seven")).splitlines()
    expected = [(one, "read alone" if 4 <= one < 8 else "read") for one in range(20)]
    expected[7] = (7, "died of 11")
    assert said[0] == repr(expected)
    assert said[1].startswith("UserError The machine ")
    assert "does not see the folder /nowhere: put the pictures where all its machines see them" in said[1]
    assert place.processes() == []
    assert place.files() == []


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from curate.engine.engines import current_engine, on_engine
    from tests.test_ray import alone, dies_at_seven

    with on_engine("ray"):
        with current_engine().results_of(dies_at_seven, [[1], [2]], alone, folders=[]) as results:
            assert sorted(results) == [[(1, "read")], [(2, "read")]]
        print("at work", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_program_that_is_killed_leaves_no_process(place: Place) -> None:
    with pytest.raises(AssertionError):
        place.run(KILLED)
    assert place.files() != [], "there was nothing at work"
    assert place.processes(30) == []


FEATURES = """
    import json, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from curate.engine.engines import on_engine
    from train.backbones import load_backbone
    from train.features.augmentation import Augmentation
    from train.features.extract import extract
    from train.features.prepare import PictureRef
    from train.features.views import Views

    backbone = load_backbone("efficientnet_lite0")
    refs = [PictureRef(path) for path in sorted(Path(sys.argv[1]).glob("raw/*/*.jpg"))]

    def features(bank, views, and_then=lambda done: None):
        from contextlib import contextmanager

        @contextmanager
        def progress(description, total):
            yield and_then

        return extract(backbone, refs, bank=Path(sys.argv[2]) / bank, device=torch.device("cpu"),
                       precision="float32", views=Views(views), batch=8, progress=progress)

    def compared(one, other):
        same = all(getattr(one, name) == getattr(other, name) for name in ("sha256", "kept", "broken", "computed"))
        return [same, float((one.features - other.features).abs().max())]
"""


@pytest.mark.slow
def test_features_on_ray_are_the_same_bits(tmp_path: Path, place: Place) -> None:
    root = garden(tmp_path / "data", 30)
    code = f"""
    {FEATURES}
    local = [features(f"local{{k}}", k) for k in (1, 3)]
    with on_engine("ray"):
        ray = [features(f"ray{{k}}", k) for k in (1, 3)]
        again = features("ray3", 3)
        more = features("ray1", 2)
    print(json.dumps([*map(compared, local, ray), again.computed, compared(features("local1", 2), more)]))
    """
    once, thrice, again, more = json.loads(place.run(code, root, tmp_path).splitlines()[-1])
    assert once == [True, 0.0]
    assert thrice == [True, 0.0]
    assert again == 0
    assert more == [True, 0.0]
    assert place.processes() == []
    assert place.files() == []


@pytest.mark.slow
def test_features_are_the_same_bits_where_a_node_is_killed_and_actors_with_it(tmp_path: Path, place: Place) -> None:
    root = garden(tmp_path / "data", 200)
    code = f"""
    {TWO_NODES}
    {FEATURES}
    advanced = []

    def kill_the_second(done):
        advanced.append(done)
        if len(advanced) == 60:
            kill(second)

    local = features("local", 1)
    with on_engine(ENGINE):
        ray = features("ray", 1, kill_the_second)
    cluster.shutdown()
    print(json.dumps([*compared(local, ray), len(advanced)]))
    """
    same, difference, advanced = json.loads(place.run(code, root, tmp_path).splitlines()[-1])
    assert same
    assert difference == 0.0
    assert advanced == 206
    assert place.processes() == []


@pytest.mark.slow
def test_what_is_trained_measured_and_predicted_on_ray_is_the_same(tmp_path: Path, place: Place) -> None:
    root = garden(tmp_path / "data", 60)
    (root / "raw" / "b" / "half.jpg").unlink()
    place.command("split", root)
    said: dict[str, list[object]] = {}
    for engine in ("local", "ray"):
        models = tmp_path / engine
        flags = ("--models", models, "--engine", engine)
        place.command("train", root, "--backbone", "efficientnet_lite0", *flags, "--runs", tmp_path / "runs")
        (checkpoint,) = models.glob("*.pth")
        lines = place.command("predict", root / "raw", "--checkpoint", checkpoint, "--json", "--engine", engine)
        measured = place.command("evaluate", root, "--checkpoint", checkpoint, *flags)
        answers = [{name: value for name, value in json.loads(line).items() if name != "checkpoint"}
                   for line in lines.splitlines()]  # fmt: skip
        said[engine] = [answers, [line for line in measured.splitlines() if "%" in line], checkpoint.name]
    assert len(str(said["local"][0])) > 60
    assert said["ray"] == said["local"]
    assert place.processes() == []
    assert place.files() == []
