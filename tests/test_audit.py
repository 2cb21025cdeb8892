"""`audit` on folders: planted errors reach the plan, which `clean` carries out and `restore` takes back."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import florilegium
from curate.cleaning import losses
from curate.cleaning.audit_scores import AuditedPicture, read_scores, thresholds_of
from curate.errors import UserError
from tests.commanding import Ended, command
from tests.pictures import contents
from tests.training_ground import COLOURS, grow, picture
from tests.without_rights import needs_rights, read_only, without_privileges

REPOSITORY = Path(__file__).resolve().parent.parent

NETWORK = "efficientnet_lite0"
EACH = 14
ROSE, IRIS = "raw/rose", "raw/iris"


def chart(seed: int) -> Image.Image:
    """What shows no class: bars and lines on white."""
    source = Random(seed)
    image = Image.new("RGB", (240, 200), "white")
    draw = ImageDraw.Draw(image)
    draw.line((20, 10, 20, 180, 230, 180), fill="black", width=3)
    for at in range(6):
        draw.rectangle((30 + 32 * at, source.randrange(30, 150), 50 + 32 * at, 178), fill="black")
    draw.text((60, 4), f"Figure {seed}", fill="black")
    return image


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 14; a rose lies among the irises, and a chart among the roses. Its bank is filled once."""
    folder = tmp_path_factory.mktemp("audited")
    data = grow(folder / "data", {"raw": EACH})
    picture(COLOURS["rose"], 991).save(data / IRIS / "a rose.jpg", quality=90)
    chart(1).save(data / ROSE / "chart.png")
    assert command("audit", data, *by(folder)).code == 0
    return folder


def by(folder: Path) -> list[object]:
    return ["--backbone", NETWORK, "--models", folder / "models"]


@pytest.fixture
def data(ground: Path, tmp_path: Path) -> Path:
    shutil.copytree(ground / "data", tmp_path / "data", symlinks=True)
    shutil.copytree(ground / "models", tmp_path / "models")
    return tmp_path / "data"


def audited(data: Path, *more: object) -> Ended:
    return command("audit", data, *by(data.parent), *more)


def plan_of(data: Path) -> dict[str, dict[str, object]]:
    lines = (data / "audit-plan.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["path"]: line for line in map(json.loads, lines)}


def scores_of(data: Path) -> dict[str, AuditedPicture]:
    return {line.path: line for line in read_scores(data / "audit.jsonl")}


def test_every_picture_has_a_line_with_all_that_is_promised(data: Path) -> None:
    lines = [json.loads(line) for line in (data / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    pictures = contents(data / "raw")
    assert {line["path"]: line["sha256"] for line in lines} == {f"raw/{path}": sha for path, sha in pictures.items()}
    for line in lines:
        assert list(line)[:9] == [
            "path", "label", "irrelevant", "mislabelled", "proposed", "outlier", "ambiguous", "redundant", "nearest"
        ]  # fmt: skip
        assert line["label"] == line["path"].split("/")[1] != line["proposed"]
        assert all(0 <= line[name] <= 1 for name in ("irrelevant", "mislabelled", "outlier", "ambiguous", "redundant"))
        assert len(line["nearest"]) == 3
        assert all(path.startswith(f"raw/{line['label']}/") and path != line["path"] for path in line["nearest"])


def test_a_picture_of_another_class_and_a_chart_are_suspects_and_nothing_else_is(data: Path) -> None:
    scores = scores_of(data)
    rose, drawn = scores[f"{IRIS}/a rose.jpg"], scores[f"{ROSE}/chart.png"]
    assert (rose.mislabelled > rose.irrelevant, rose.proposed) == (True, "rose")
    assert max(rose.mislabelled, drawn.irrelevant) > 0.5
    doubtful = sorted(scores.values(), key=lambda one: -max(one.irrelevant, one.mislabelled))[:2]
    assert {one.path for one in doubtful} == {rose.path, drawn.path}


def test_the_plan_says_why_and_is_carried_out_and_taken_back(data: Path) -> None:
    before = contents(data)
    ended = audited(data, "--at", "0.5")
    assert ended.code == 0
    assert contents(data / "raw") == {path.removeprefix("raw/"): sha for path, sha in before.items() if "raw/" in path}
    plan = plan_of(data)
    line = plan[f"{IRIS}/a rose.jpg"]
    assert (line["reason"], line["move_to"]) == ("mislabelled", f"{ROSE}/a rose.jpg")
    assert "it seems to show rose and not iris" in str(line["detail"])
    assert str(line["detail"]).count(f"{ROSE}/") == 3  # the nearest of the other class
    assert str(line["detail"]).count(f"{IRIS}/") == 3
    assert "restore" not in ended.out
    assert f"clean {data} --plan {data / 'audit-plan.jsonl'}" in ended.out
    assert command("clean", data, "--plan", data / "audit-plan.jsonl").code == 0
    assert (data / ROSE / "a rose.jpg").exists()
    assert not (data / IRIS / "a rose.jpg").exists()
    assert command("restore", data).code == 0
    kept = {path: sha for path, sha in contents(data).items() if path.startswith("raw/")}
    assert kept == {path: sha for path, sha in before.items() if path.startswith("raw/")}


def test_what_a_person_brought_back_is_suspected_no_more(data: Path) -> None:
    """Carried out, brought back to its class, and so right where it lies: whatever the network says of it again."""
    wrong = f"{IRIS}/a rose.jpg"
    assert audited(data, "--at", "0.5").code == 0
    assert wrong in plan_of(data)
    assert command("clean", data, "--plan", data / "audit-plan.jsonl").code == 0
    assert not (data / wrong).exists()
    assert command("restore", data, "--picture", wrong).code == 0
    assert (data / wrong).exists()
    ended = audited(data, "--at", "0.5")
    assert wrong not in plan_of(data)
    assert "1 suspect is left out, and stays, because a person decided so." in ended.out
    assert scores_of(data)[wrong].mislabelled > 0.5, "what was found stays on record"
    assert command("clean", data, "--remove", "mislabelled@0.5", "--dry-run").code == 0
    assert wrong not in (data / "plan.jsonl").read_text(encoding="utf-8")


def test_show_draws_the_plan(data: Path) -> None:
    audited(data, "--at", "0.5")
    sheet = data.parent / "sheet.png"
    assert command("show", data, "--plan", data / "audit-plan.jsonl", "--out", sheet).code == 0
    assert sheet.stat().st_size > 10_000


def test_clean_removes_by_score_only_when_told(data: Path) -> None:
    chance = scores_of(data)[f"{IRIS}/a rose.jpg"].mislabelled
    assert chance >= 0.5
    assert command("clean", data, "--yes").code == 0
    assert (data / IRIS / "a rose.jpg").exists()
    assert command("clean", data, "--remove", "mislabelled@0.5", "--yes").code == 0
    assert (data / "quarantine" / "mislabelled" / IRIS / "a rose.jpg").exists()
    # The same again, after which there is nothing left: and what it remembers of that is of this threshold.
    assert "Nothing to set aside" in command("clean", data, "--remove", "mislabelled@0.5", "--yes").out
    assert command("restore", data, "--reason", "mislabelled").code == 0
    assert (data / IRIS / "a rose.jpg").exists()


def test_a_line_about_other_bytes_or_another_label_says_nothing(data: Path) -> None:
    suspect = data / IRIS / "a rose.jpg"
    shutil.copy(data / ROSE / "picture 3.jpg", suspect)
    done = command("clean", data, "--remove", "mislabelled@0.5", "--dry-run")
    assert done.code == 0
    assert "mislabelled" not in (data / "plan.jsonl").read_text(encoding="utf-8")


def test_what_the_audit_has_not_seen_is_counted(data: Path) -> None:
    """New, other bytes, another class: `clean --remove` says of how many it knows nothing, and what to do."""
    said = "since the audit, which says nothing of them"
    whole = command("clean", data, "--remove", "mislabelled@0.5", "--dry-run")
    assert said not in whole.out
    picture(COLOURS["rose"], 992).save(data / ROSE / "new.jpg", quality=90)
    one = command("clean", data, "--remove", "mislabelled@0.5", "--dry-run")
    assert f"1 picture has come or changed {said}" in one.out
    assert f"audit {data}" in one.out
    picture(COLOURS["rose"], 993).save(data / IRIS / "a rose.jpg", quality=90)
    (data / ROSE / "picture 3.jpg").rename(data / IRIS / "moved.jpg")
    assert f"3 pictures have come or changed {said}" in command("clean", data, "--remove", "mislabelled@0.5").out
    assert said not in command("clean", data, "--dry-run").out, "no score is asked for"
    audited(data)
    assert said not in command("clean", data, "--remove", "mislabelled@0.5", "--dry-run").out


@pytest.mark.thorough
@needs_rights
@pytest.mark.parametrize("has_catalog", [True, False])
def test_a_read_only_dataset_is_audited_to_another_place(data: Path, tmp_path: Path, has_catalog: bool) -> None:
    """A backup: nothing in it changes, and what is found is what is found of one that can be written."""
    if not has_catalog:
        for file in data.glob("*catalog.sqlite*"):
            file.unlink()
    out, plan = tmp_path / "out" / "scores.jsonl", tmp_path / "out" / "plan.jsonl"
    expected = scores_of(data)
    (data / "audit.jsonl").unlink()

    def asked(*more: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(REPOSITORY / "cli.py"), "audit", data, *by(tmp_path), *more]
        return subprocess.run(without_privileges(list(map(str, words))), cwd=tmp_path, capture_output=True, text=True)

    before = contents(data)
    with read_only(data):
        refused = asked()
        assert refused.returncode == 2
        assert "give --out and --save-plan places elsewhere" in refused.stderr
        done = asked("--out", out, "--save-plan", plan, "--at", "0.5")
        assert done.returncode == 0, done.stderr
        assert "the catalog was of no use" not in done.stdout
    assert contents(data) == before
    assert {line.path: line for line in read_scores(out)} == expected
    assert f"{IRIS}/a rose.jpg" in plan.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("irrelevant@2", "no score"), ("irrelevant@x", "no score"), ("outlier@0.9", "no score"),
        ("irrelevant@0.2", "more likely belong"), ("irrelevant", "irrelevant@0.99"), ("@0.9", "no score"),
    ],
)  # fmt: skip
def test_a_score_that_nothing_leaves_by_is_refused(data: Path, word: str, sentence: str) -> None:
    assert sentence in command("clean", data, "--remove", word).sentence


def test_where_nothing_was_audited_that_is_said(tmp_path: Path) -> None:
    data = grow(tmp_path / "data", {"raw": 2}, classes=2)
    assert "run `audit` first" in command("clean", data, "--remove", "irrelevant@0.99").sentence


def test_valid_and_test_are_audited_and_changed_only_by_name(data: Path) -> None:
    held = data.parent / "split"
    for number, label in enumerate(["rose", "iris", "sun flower"]):
        (held / "valid" / label).mkdir(parents=True)
        (held / "train" / label).mkdir(parents=True)
        for at, file in enumerate(sorted((data / "raw" / label).iterdir())):
            split = "valid" if at % 5 == number or file.name == "a rose.jpg" else "train"
            shutil.copy(file, held / split / label / file.name)
    ended = command("audit", held, *by(data.parent), "--at", "0.5")
    scores = scores_of(held)
    suspect = scores["valid/iris/a rose.jpg"]
    assert suspect.mislabelled >= 0.5
    assert suspect.path not in plan_of(held)
    assert "lie in valid or test and stay" in ended.out
    command("audit", held, *by(data.parent), "--at", "0.5", "--splits", "valid", "--save-plan", held / "both.jsonl")
    assert suspect.path in (held / "both.jsonl").read_text(encoding="utf-8")
    assert command("clean", held, "--remove", "mislabelled@0.5", "--yes").code == 0
    assert (held / suspect.path).exists()
    assert "no split that is held out" in command("audit", held, *by(data.parent), "--splits", "train").sentence


def test_what_is_placed_moves_with_its_original(data: Path) -> None:
    """`split` places a copy of each picture: the suspect's goes to the other class too, and train goes on."""
    assert command("split", data, "--ratio", "0.6,0.2,0.2", "--seed", "4").code == 0
    (placed,) = [path for path in data.glob("*/iris/a rose.jpg") if path.parts[-3] != "raw"]
    audited(data, "--at", "0.5", "--splits", "valid,test")
    plan = plan_of(data)
    moves = {path: line["move_to"] for path, line in plan.items() if line["reason"] == "mislabelled"}
    split = placed.parts[-3]
    assert moves[f"{IRIS}/a rose.jpg"] == f"{ROSE}/a rose.jpg"
    assert moves[f"{split}/iris/a rose.jpg"] == f"{split}/rose/a rose.jpg"
    assert command("clean", data, "--plan", data / "audit-plan.jsonl", "--yes").code == 0
    assert command("verify", data).code == 0


def test_two_copies_with_one_wrong_label_do_not_vouch_for_each_other(data: Path) -> None:
    """Near-duplicates lie in one fold: neither judges the other."""
    with Image.open(data / IRIS / "a rose.jpg") as image:
        image.save(data / IRIS / "again.jpg", quality=70)
    audited(data)
    scores = scores_of(data)
    for name in ("a rose.jpg", "again.jpg"):
        line = scores[f"{IRIS}/{name}"]
        assert line.mislabelled > 0.5, (name, line)
        assert not {f"{IRIS}/a rose.jpg", f"{IRIS}/again.jpg"} & set(line.nearest)


def test_a_file_of_somebody_else_is_not_written_over(data: Path) -> None:
    mine = data.parent / "mine.jsonl"
    mine.write_text("my notes\n")
    assert "mine.jsonl" in audited(data, "--out", mine).sentence
    assert mine.read_text() == "my notes\n"
    assert audited(data, "--out", mine, "--force").code == 0
    assert read_scores(mine)


@pytest.mark.parametrize("classes", [1, 2])
def test_too_little_to_judge_by_is_said(tmp_path: Path, classes: int) -> None:
    data = grow(tmp_path / "data", {"raw": 1}, classes=classes)
    assert "no two classes of 5 pictures" in command("audit", data, *by(tmp_path)).sentence


def test_a_picture_alone_in_its_class_is_not_judged(data: Path) -> None:
    (data / "raw" / "lily").mkdir()
    picture((10, 200, 200), 5).save(data / "raw" / "lily" / "one.jpg")
    ended = audited(data)
    line = scores_of(data)["raw/lily/one.jpg"]
    assert (line.irrelevant, line.mislabelled, line.nearest) == (0, 0, ())
    assert "Not judged" in ended.out


def test_broken_pictures_are_named_and_the_rest_is_judged(data: Path) -> None:
    (data / ROSE / "broken.jpg").write_bytes(b"no picture")
    ended = audited(data)
    assert ended.code == 0
    assert "broken.jpg" in ended.out
    assert f"{ROSE}/broken.jpg" not in scores_of(data)


def test_the_same_folder_gives_the_same_lines_wherever_it_lies(data: Path, ground: Path) -> None:
    assert audited(data).code == 0
    assert (data / "audit.jsonl").read_bytes() == (ground / "data" / "audit.jsonl").read_bytes()


def test_a_scrape_sets_suspects_aside_at_once(data: Path) -> None:
    more = data.parent / "more"
    for seed in range(3):
        (more / "iris").mkdir(parents=True, exist_ok=True)
        picture(COLOURS["iris"], 500 + seed).save(more / "iris" / f"new {seed}.jpg", quality=90)
    picture(COLOURS["rose"], 777).save(more / "iris" / "stranger.jpg", quality=90)
    names = data.parent / "names.json"
    names.write_text(json.dumps({"rose": "rose", "iris": "iris", "sun flower": "sun flower"}))
    there = contents(data / "raw")
    asked = ["--names", names, "--source", f"folder:{more}", "--license", "any", "--min-size", "1"]
    ended = command("scrape", "--out", data, *asked, "--audit", *by(data.parent))
    assert ended.code == 0, ended.err
    now = {path: sha for path, sha in contents(data / "raw").items() if path.endswith("g")}
    assert there.items() <= now.items()  # what was there is not judged by a scrape
    stranger = hashlib.sha256((more / "iris" / "stranger.jpg").read_bytes()).hexdigest()
    assert stranger not in now.values()
    assert len(now) == len(there) + 3
    assert "1 picture is a suspect" in ended.out
    assert command("restore", data, "--run", "last").code == 0
    assert stranger in contents(data / "raw").values()
    assert "credited" in ended.out
    counts = Counter(path.split("/")[0] for path in contents(data / "raw") if path.endswith(".jpg"))
    assert counts["iris"] == EACH + 5


@pytest.mark.parametrize("limit", ["4", "5"])
def test_a_scrape_that_cannot_be_judged_says_so_before_it_fetches(tmp_path: Path, limit: str) -> None:
    """One class, or two of four pictures, have nobody to judge them; two of five have."""
    more = tmp_path / "more"
    for label in ("rose", "iris"):
        (more / label).mkdir(parents=True)
        for seed in range(5):
            picture(COLOURS[label], seed).save(more / label / f"{seed}.jpg", quality=90)
    (tmp_path / "names.json").write_text(json.dumps({"rose": "rose", "iris": "iris"}))
    asked = ["--names", tmp_path / "names.json", "--source", f"folder:{more}", "--license", "any", "--min-size", "1"]
    asked += ["--limit", limit, "--audit", "--out", tmp_path / "new", *by(tmp_path)]
    ended = command("scrape", *asked, "--classes", "rose")
    assert "two classes of 5 pictures" in ended.sentence
    assert not (tmp_path / "new").exists()
    assert command("scrape", *asked).code == (2 if limit == "4" else 0)


@pytest.mark.parametrize("place", ["raw/rose/picture 1.jpg", "raw/rose/new.jsonl", "catalog.sqlite", "quarantine/x"])
def test_pictures_and_the_catalog_are_no_place_for_scores(data: Path, place: str) -> None:
    before = contents(data)
    assert "a place of pictures or of the catalog" in audited(data, "--out", data / place, "--force").sentence
    assert "a place of pictures or of the catalog" in audited(data, "--save-plan", data / place, "--force").sentence
    assert contents(data) == before
    both = data.parent / "both.jsonl"
    assert "cannot both be" in audited(data, "--out", both, "--save-plan", both).sentence
    assert not both.exists()


def test_two_networks_and_a_seed_that_is_none_are_refused(data: Path) -> None:
    assert "not both" in audited(data, "--checkpoint", data / "none.pth").sentence
    with pytest.raises(UserError):
        florilegium.open(data).audit(NETWORK, models=data.parent / "models", seed=-1, progress=None)


def test_many_classes_of_few_pictures_accuse_nobody(tmp_path: Path) -> None:
    """Two or three pictures cannot judge one another: they are learnt from, and not judged."""
    for number in range(30):
        colour = (8 * number, 255 - 8 * number, (67 * number) % 256)
        for at in range(3 if number > 1 else 6):
            folder = tmp_path / "data" / "raw" / f"{number}"
            folder.mkdir(parents=True, exist_ok=True)
            picture(colour, 100 * number + at).save(folder / f"{at}.jpg", quality=90)
    ended = command("audit", tmp_path / "data", *by(tmp_path))
    assert "Not judged, as their class has too few pictures of other origins: 84" in ended.out
    scores = scores_of(tmp_path / "data")
    assert all(max(one.irrelevant, one.mislabelled) == 0 for one in scores.values() if int(one.label) > 1)


def test_of_few_classes_it_is_said_that_strays_are_hardly_told(data: Path) -> None:
    assert "hardly told from an odd picture" in audited(data).out


def test_what_a_plan_costs_is_said_first(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a class, or all of it; here a twentieth, which one chart among fifteen roses is."""
    assert "of its" not in audited(data, "--at", "0.5").out.split("The worst of each class")[0]
    monkeypatch.setattr(losses, "MOST_LOST", 20)
    ended = audited(data, "--at", "0.5")
    assert f"{ROSE}/chart.png" in plan_of(data)
    assert "of its" in ended.out.split("The worst of each class")[0]


def test_what_is_placed_is_counted_once(data: Path) -> None:
    alone = audited(data)
    assert command("split", data).code == 0
    assert "Of 44 pictures" in alone.out
    assert "Of 44 pictures" in audited(data).out


VALID = {
    "path": "a/b.jpg", "label": "a", "irrelevant": 0.1, "mislabelled": 0.2, "proposed": "c", "outlier": 0.3,
    "ambiguous": 0.4, "redundant": 0.5, "nearest": ["a/c.jpg"], "sha256": "ab" * 32,
}  # fmt: skip
HOSTILE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=3)
)


def test_what_is_said_is_what_is_written(data: Path, tmp_path: Path) -> None:
    """Scores, counts and the plan are of the numbers in the file, so that a reader of it comes to the same."""
    found = florilegium.open(data).audit(NETWORK, models=tmp_path / "models", progress=None)
    assert found.file is not None
    assert found.pictures == read_scores(found.file)
    assert any(0 < one.chance < 1 for one in found.pictures)


@given(st.dictionaries(st.sampled_from(list(VALID)), HOSTILE, max_size=4))
def test_a_file_from_elsewhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, change: dict[str, object]
) -> None:
    file = tmp_path_factory.mktemp("hostile") / "audit.jsonl"
    file.write_text(json.dumps({**VALID, **change}) + "\n", encoding="utf-8", errors="surrogatepass")
    try:
        (line,) = read_scores(file)
    except UserError as error:
        assert "`audit` again" in str(error)  # noqa: PT017
        return
    assert 0 <= line.irrelevant <= 1
    assert not line.path.startswith("/")
    assert ".." not in line.path.split("/")


@given(st.text(max_size=12))
def test_a_threshold_is_a_chance(word: str) -> None:
    try:
        found = thresholds_of([word])
    except UserError:
        return
    assert all(0.5 <= chance <= 1 for chance in found.values())
    assert ("@" in word) == bool(found)


def test_from_python_the_plan_draws_itself_and_is_carried_out(data: Path) -> None:
    found = florilegium.open(data).audit(NETWORK, models=data.parent / "models", at=0.5, progress=None)
    assert "gives 1 another label" in found.summary
    page = found._repr_html_()
    assert "a rose.jpg" in page
    assert "data:image/" in page
    done = found.carry_out(progress=None, yes=True)
    assert done.merged == 1
    assert (data / ROSE / "a rose.jpg").exists()
    florilegium.open(data).restore(progress=None)
    assert (data / IRIS / "a rose.jpg").exists()
