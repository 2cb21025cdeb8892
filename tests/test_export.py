"""What an export promises: the very pictures, splits kept, read by the tools it is for, and whole or not there."""

import hashlib
import io
import json
import multiprocessing
import shutil
import subprocess
import sys
import tarfile
import textwrap
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.defaults import Format
from curate.errors import UserError
from curate.export import export
from curate.exporting.examples import plan_shards
from curate.exporting.imagefolder import write_imagefolder
from curate.exporting.webdataset import write_webdataset
from curate.files.atomic import temporary_name
from curate.files.ours import WorkFolder
from curate.split import split
from curate.splitting.unfinished import begin
from tests.pictures import dataset, encoded_field, field, placed, tree, write

REPOSITORY = Path(__file__).resolve().parent.parent
FORMATS = pytest.mark.parametrize("format_", ["imagefolder", "webdataset", "parquet"])
SPLITS = {"train": "train", "validation": "valid", "test": "test"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirty split pictures of three classes, one of them credited; and a broken one."""
    root = tmp_path / "data"
    dataset(root / "raw", {"2": 10, "10": 10, 'ünïcödé, "rose"': 10})
    write(root / "raw" / "2" / "broken.jpg", b"no picture")
    split(root)
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        names = [row[1] for row in catalog.db.execute("PRAGMA table_info(credits)")]
        sha256 = hashlib.sha256(encoded_field(field(0))).hexdigest()
        values = {"sha256": sha256, "url": "https://example.org/a.jpg", "author": "A. Author", "license": "CC BY 4.0"}
        with catalog.transaction() as db:
            db.execute(f"INSERT INTO credits VALUES ({','.join('?' * len(names))})", [values.get(n, "") for n in names])
    return root


def digests(root: Path) -> dict[tuple[str, str], set[str]]:
    """(split, label) → digests of the placed pictures."""
    found: dict[tuple[str, str], set[str]] = {}
    for name, to in placed(root).items():
        digest = hashlib.sha256((root / to / name).read_bytes()).hexdigest()
        found.setdefault((to, name.split("/")[0]), set()).add(digest)
    return found


def test_imagefolder_is_read_by_torchvision(root: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    report = export(root, tmp_path / "out")
    assert report.counts == {"train": 24, "validation": 3, "test": 3}
    assert (report.labels, report.files, report.broken) == (3, 34, ["raw/2/broken.jpg"])
    for theirs, ours in SPLITS.items():
        folder = ImageFolder(tmp_path / "out" / theirs)
        found: dict[tuple[str, str], set[str]] = {}
        for path, number in folder.samples:
            digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            found.setdefault((ours, folder.classes[number]), set()).add(digest)
        assert found == {key: value for key, value in digests(root).items() if key[0] == ours}


def test_imagefolder_tells_of_each_picture(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "out")
    rows = {}
    for to in SPLITS:
        for line in (tmp_path / "out" / to / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            data = (tmp_path / "out" / to / row["file_name"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row["sha256"]
            assert row["file_name"].split("/")[0] == row["label"]
            rows[row["sha256"]] = row
    assert len(rows) == 30
    credited = rows[hashlib.sha256(encoded_field(field(0))).hexdigest()]
    assert (credited["author"], credited["license"], credited["label"]) == ("A. Author", "CC BY 4.0", "2")
    assert sum(bool(row["author"]) for row in rows.values()) == 1


def test_imagefolder_carries_the_names_of_the_classes(root: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    names.write_text('{"2": "corn poppy", "10": "iris", "ünïcödé, \\"rose\\"": "rose"}', encoding="utf-8")
    export(root, tmp_path / "out", names=names)
    listed = json.loads((tmp_path / "out" / "labels.json").read_text(encoding="utf-8"))
    assert {one["label"]: one["name"] for one in listed} == json.loads(names.read_text(encoding="utf-8"))
    lines = (tmp_path / "out" / "train" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert {(row["label"], row["name"]) for row in map(json.loads, lines)} >= {("2", "corn poppy"), ("10", "iris")}


def test_imagefolder_gives_each_picture_a_name_of_its_own(tmp_path: Path) -> None:
    """Subfolders are no classes, and a suffix that no tool knows gets one that they do."""
    for number, name in enumerate(["a.jpg", "old/a.jpg", "old_a.jpg", "no suffix", "photo.jfif", "UPPER.JPG"]):
        write(tmp_path / "data" / "1" / name, encoded_field(field(number)))
    dataset(tmp_path / "data", {"2": 2}, first=50)
    report = export(tmp_path / "data", tmp_path / "out")
    assert report.counts == {"train": 8}
    names = {file.name for file in (tmp_path / "out" / "train" / "1").iterdir()}
    marked = (
        hashlib.sha256(encoded_field(field(1))).hexdigest()[:8],
        hashlib.sha256(encoded_field(field(2))).hexdigest()[:8],
    )
    assert names - {f"old_a~{mark}.jpg" for mark in marked} == {
        "a.jpg", "old_a.jpg", "no suffix.jpg", "photo.jpg", "UPPER.JPG",
    }  # fmt: skip
    assert len(names) == 6


def members(shards: list[Path]) -> dict[str, dict[str, bytes]]:
    """Key → suffix → bytes, as webdataset groups them."""
    found: dict[str, dict[str, bytes]] = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                key, suffix = member.name.split(".", 1)
                file = tar.extractfile(member)
                assert file is not None
                found.setdefault(key, {})[suffix] = file.read()
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
    return found


def test_webdataset_holds_picture_class_and_credit(root: Path, tmp_path: Path) -> None:
    report = export(root, tmp_path / "out", format="webdataset")
    assert report.files == 5
    listed = json.loads((tmp_path / "out" / "shards.json").read_text())
    assert {one["file"]: one["pictures"] for one in listed} == {
        "train-00000.tar": 24, "validation-00000.tar": 3, "test-00000.tar": 3,
    }  # fmt: skip
    assert all((tmp_path / "out" / one["file"]).stat().st_size == one["bytes"] for one in listed)
    labels = [entry["label"] for entry in json.loads((tmp_path / "out" / "labels.json").read_text())]
    assert labels == ["2", "10", 'ünïcödé, "rose"']
    for theirs, ours in SPLITS.items():
        found: dict[tuple[str, str], set[str]] = {}
        for example in members([tmp_path / "out" / f"{theirs}-00000.tar"]).values():
            assert example.keys() == {"jpg", "cls", "json"}
            told = json.loads(example["json"])
            assert hashlib.sha256(example["jpg"]).hexdigest() == told["sha256"]
            assert labels[int(example["cls"])] == told["label"]
            found.setdefault((ours, told["label"]), set()).add(told["sha256"])
        assert found == {key: value for key, value in digests(root).items() if key[0] == ours}


def test_webdataset_shards_are_bounded_and_always_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 30_000
    monkeypatch.setattr("curate.exporting.webdataset.write_webdataset", partial(write_webdataset, most_bytes=most))
    export(root, tmp_path / "one", format="webdataset")
    shards = sorted((tmp_path / "one").glob("train-*.tar"))
    assert len(shards) > 3
    assert max(shard.stat().st_size for shard in shards) <= most
    assert len(members(shards)) == 24
    copy = tmp_path / "copy"
    for file in sorted((root / "raw").rglob("*.jpg"), reverse=True):  # other times, another order
        write(copy / file.relative_to(root), file.read_bytes())
    for name, to in placed(root).items():
        write(copy / to / name, (root / to / name).read_bytes())
    shutil.copy(root / "catalog.sqlite", copy)  # for the credits
    export(copy, tmp_path / "two", format="webdataset")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_webdataset_gives_all_formats_one_suffix(tmp_path: Path) -> None:
    """Hugging Face refuses shards whose first examples have different fields."""
    dataset(tmp_path / "data", {"1": 2, "2": 2})
    with Image.open(io.BytesIO(encoded_field(field(7)))) as image:
        image.save(tmp_path / "data" / "1" / "other.png")
    export(tmp_path / "data", tmp_path / "out", format="webdataset")
    assert {frozenset(one) for one in members([tmp_path / "out" / "train-00000.tar"]).values()} == {
        frozenset({"jpg", "cls", "json"})
    }


def test_parquet_has_hugging_faces_layout(root: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(root, tmp_path / "out", format="parquet")
    for theirs, ours in SPLITS.items():
        table = parquet.read_table(tmp_path / "out" / "data" / f"{theirs}-00000-of-00001.parquet")
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert features["image"] == {"_type": "Image"}
        assert features["label"] == {"names": ["2", "10", 'ünïcödé, "rose"'], "_type": "ClassLabel"}
        assert list(features) == table.column_names
        found: dict[tuple[str, str], set[str]] = {}
        for row in table.to_pylist():
            assert row["image"].keys() == {"bytes", "path"}
            assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]
            found.setdefault((ours, features["label"]["names"][row["label"]]), set()).add(row["sha256"])
        assert found == {key: value for key, value in digests(root).items() if key[0] == ours}


def test_parquet_without_pyarrow_names_the_extra(
    root: Path, tmp_path: Path, not_installed: Callable[..., None]
) -> None:
    not_installed("pyarrow")
    with pytest.raises(UserError, match="uv sync --extra parquet"):
        export(root, tmp_path / "out", format="parquet")
    assert list(tmp_path.iterdir()) == [root]


def test_exports_the_split_that_lies_elsewhere(tmp_path: Path) -> None:
    dataset(tmp_path / "flat", {"1": 10, "2": 10})
    out = split(tmp_path / "flat").out
    report = export(tmp_path / "flat", tmp_path / "exported")
    assert report.counts == {"train": 16, "validation": 2, "test": 2}
    for name, to in placed(out).items():
        theirs = next(theirs for theirs, ours in SPLITS.items() if ours == to)
        assert (tmp_path / "exported" / theirs / name).read_bytes() == (out / to / name).read_bytes()
    split(tmp_path / "flat", out=tmp_path / "second")
    with pytest.raises(UserError, match=r"was split into 2 folders, \.\./flat_split, \.\./second"):
        export(tmp_path / "flat", tmp_path / "third")


@FORMATS
def test_a_second_export_into_one_place_is_refused(root: Path, tmp_path: Path, format_: Format) -> None:
    export(root, tmp_path / "out", format=format_)
    before = tree(tmp_path)
    with pytest.raises(UserError, match="is there already"):
        export(root, tmp_path / "out", format=format_)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("inside", ["data", "data/raw", "data/new", "."])
def test_refuses_to_export_into_the_dataset(root: Path, tmp_path: Path, inside: str) -> None:
    with pytest.raises(UserError, match="overlap"):
        export(root, tmp_path / inside)


def test_says_which_formats_there_are(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose among imagefolder, webdataset, parquet"):
        export(root, tmp_path / "out", format="zip")  # type: ignore[arg-type]


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@FORMATS
def test_killed_at_any_deed_it_is_whole_or_not_there(root: Path, tmp_path: Path, format_: Format) -> None:
    from testing.killing import count_deeds, kill_at_deed

    export(root, tmp_path / "whole", format=format_)
    out = tmp_path / "out"
    work = partial(export, root, out, format=format_)
    deeds = count_deeds(work)
    shutil.rmtree(out)
    for instant in range(0, deeds, max(1, deeds // 8)):
        assert kill_at_deed(work, instant)
        assert not out.exists() or tree(out) == tree(tmp_path / "whole")
        shutil.rmtree(out, ignore_errors=True)
    work()
    assert tree(out) == tree(tmp_path / "whole")
    assert sorted(place.name for place in tmp_path.iterdir()) == ["data", "out", "whole"]


@given(sizes=st.lists(st.integers(0, 100), min_size=1), most=st.integers(1, 150))
def test_shards_hold_all_in_order_within_the_bound(sizes: list[int], most: int) -> None:
    shards = plan_shards(sizes, most)
    assert [at for shard in shards for at in shard] == list(range(len(sizes)))
    for shard, after in zip(shards, [*shards[1:], None], strict=True):
        assert len(shard) == 1 or sum(sizes[at] for at in shard) <= most
        assert after is None or sum(sizes[at] for at in shard) + sizes[after[0]] > most


def test_export_of_what_has_no_pictures(tmp_path: Path) -> None:
    write(tmp_path / "data" / "1" / "a.jpg", b"no picture")
    with pytest.raises(UserError, match="holds no intact picture"):
        export(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def folds(names: list[str]) -> set[str]:
    return {unicodedata.normalize("NFC", name).casefold() for name in names}


@FORMATS
def test_no_picture_takes_the_place_of_another_on_any_disk(tmp_path: Path, format_: Format) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    names = ["X.jpg", "x.jpg", "e\u0301.jpg", "\u00e9.jpg", "a/b.jpg", "a_b.jpg", f"{'l' * 240}/{'m' * 100}.jpg"]
    names += ["ß" * 124 + ".jpg", "ss" * 123 + "x.jpg", "n" * 255]
    for number, name in enumerate(names):
        write(tmp_path / "data" / "a" / name, encoded_field(field(number)))
        write(tmp_path / "data" / "A" / name, encoded_field(field(100 + number)))
    write(tmp_path / "data" / "metadata.jsonl" / "1.jpg", encoded_field(field(300)))
    report = export(tmp_path / "data", tmp_path / "out", format=format_)
    assert report.counts == {"train": 2 * len(names) + 1}
    if format_ != "imagefolder":
        assert report.renamed == {}
        return
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file() and file.suffix == ".jpg"]
    assert len(folds([file.relative_to(tmp_path).as_posix() for file in files])) == 2 * len(names) + 1
    assert report.renamed.keys() == {"a", "metadata.jsonl"} or report.renamed.keys() == {"A", "metadata.jsonl"}
    for line in (tmp_path / "out" / "train" / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        data = (tmp_path / "out" / "train" / row["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert row["file_name"].split("/")[0] == report.renamed.get(row["label"], row["label"])


def test_what_the_disk_lost_is_no_export(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(examples: Any, folder: Path, *told: Any) -> None:
        write_imagefolder(examples, folder, *told)
        next((folder / "train").glob("*/*.jpg")).unlink()

    monkeypatch.setattr("curate.exporting.imagefolder.write_imagefolder", lossy)
    with pytest.raises(UserError, match="Of 24 pictures of train only 23 lie on the disk"):
        export(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_hidden_folder_of_the_users_is_left_alone(root: Path, tmp_path: Path) -> None:
    write(tmp_path / ".out.partial" / "thesis.txt", b"mine")
    export(root, tmp_path / "out")
    assert (tmp_path / ".out.partial" / "thesis.txt").read_bytes() == b"mine"


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_has_is_not(root: Path, tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from curate.files.atomic import temporary_name
        from curate.files.ours import WorkFolder
        print(WorkFolder(temporary_name(Path(sys.argv[1]) / "out")).make())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    dead, living = Path(done.stdout.strip()), WorkFolder(temporary_name(tmp_path / "out")).make()
    export(root, tmp_path / "out")
    assert not dead.exists()
    assert living.exists()
    with pytest.raises(UserError, match="is there already"):
        export(root, tmp_path / "out")


def export_or_say(root: Path, out: Path, ends: Path) -> None:
    try:
        export(root, out, format="webdataset")
        ends.write_text("done")
    except UserError as error:
        ends.write_text(str(error))


@pytest.mark.parametrize("round_", range(3))
def test_two_datasets_on_their_way_to_one_place(tmp_path: Path, round_: int) -> None:
    """One is there whole in the end, and the other one's command says that the place is taken."""
    places = [tmp_path / "one", tmp_path / "two"]
    for number, place in enumerate(places):
        dataset(place / "raw", {f"{number} a": 6, f"{number} b": 6})
        split(place)
    context = multiprocessing.get_context("fork")
    works = [
        context.Process(target=export_or_say, args=(place, tmp_path / "out", tmp_path / f"{place.name}.txt"))
        for place in places
    ]
    for work in works:
        work.start()
    for work in works:
        work.join()
        assert work.exitcode == 0
    ends = sorted((tmp_path / f"{place.name}.txt").read_text() for place in places)
    assert ends.count("done") >= 1
    assert all(end == "done" or "is there already" in end for end in ends)
    assert ends.count("done") == 1
    labels = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert len(labels) == 2
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_a_long_name_of_the_folder_is_taken(root: Path, tmp_path: Path, name: str) -> None:
    export(root, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", name]


def test_a_name_that_no_disk_takes_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read or written"):
        export(root, tmp_path / ("n" * 300))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def lie(root: Path, statement: str) -> None:
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        catalog.db.execute(statement)


@pytest.mark.parametrize("out", ["..", "../elsewhere", "/tmp"])
def test_a_strangers_split_elsewhere_is_not_read(tmp_path: Path, out: str) -> None:
    dataset(tmp_path / "flat", {"1": 4, "2": 4})
    write(tmp_path / "elsewhere" / "train" / "1" / "secret.jpg", encoded_field(field(999)))
    export(tmp_path / "flat", tmp_path / "first")
    with Catalog.open(open_dataset(tmp_path / "flat").catalog_path) as catalog:
        sha256 = catalog.pictures()[0].sha256
    lie(tmp_path / "flat", f"INSERT INTO placements VALUES ('{out}', 'train/1/secret.jpg', '{sha256}')")
    with pytest.raises(UserError, match="is no split of this dataset"):
        export(tmp_path / "flat", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "path", ["../../flat/1/0000.jpg", "train/1", "nowhere/1/a.jpg", "train/nosuch/a.jpg", "/etc/passwd"]
)
def test_a_place_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    dataset(tmp_path / "flat", {"1": 10, "2": 10})
    split(tmp_path / "flat")
    lie(tmp_path / "flat", f"UPDATE OR IGNORE placements SET path = '{path}'")
    with pytest.raises(UserError):
        export(tmp_path / "flat", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_not_what_the_catalog_says_is_not_exported(root: Path, tmp_path: Path) -> None:
    lie(root, f"UPDATE pictures SET sha256 = '{'a' * 64}' WHERE split = 'test'")
    with pytest.raises(UserError, match="is not the picture that the catalog knows"):
        export(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_label_is_that_of_the_folder_whatever_the_catalog_says(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "one")
    lie(root, "UPDATE pictures SET label = '../../x', split = 'test' WHERE path LIKE 'train/2/%'")
    lie(root, "UPDATE pictures SET folder = '../..' WHERE path LIKE 'train/10/%'")
    export(root, tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_an_unfinished_split_is_not_exported(root: Path, tmp_path: Path) -> None:
    begin(root, "0" * 32, "cli.py split data")
    with pytest.raises(UserError, match=r"finish it with `cli\.py split data`"):
        export(root, tmp_path / "out")
    dataset(tmp_path / "flat", {"1": 10, "2": 10})
    out = split(tmp_path / "flat").out
    with Catalog.open(open_dataset(tmp_path / "flat").catalog_path) as catalog:
        begin(out, catalog.identity(), "cli.py split flat")
    with pytest.raises(UserError, match=r"finish it with `cli\.py split flat`"):
        export(tmp_path / "flat", tmp_path / "out")


def test_every_split_numbers_the_classes_alike(tmp_path: Path) -> None:
    """Also where one lacks a class; one that has no picture at all is no class in any format."""
    from torchvision.datasets import ImageFolder

    dataset(tmp_path / "data", {"alder": 20, "birch": 1, "cedar": 2, "elm": 20})
    (tmp_path / "data" / "fir").mkdir()
    split(tmp_path / "data")
    report = export(tmp_path / "data", tmp_path / "out")
    numbers = {label: at for at, label in enumerate(["alder", "birch", "cedar", "elm"])}
    for to in SPLITS:
        assert ImageFolder(tmp_path / "out" / to, allow_empty=True).class_to_idx == numbers
    listed = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert {one["folder"]: one["class"] for one in listed} == numbers
    assert (report.labels, report.empty) == (4, ["fir"])
    assert report.lacking["validation"][0] == "birch"
    assert any("fir has no picture" in said for said in report.remarks())
    assert any("allow_empty=True" in said for said in report.remarks())
    export(tmp_path / "data", tmp_path / "shards", format="webdataset")
    assert [one["label"] for one in json.loads((tmp_path / "shards" / "labels.json").read_text())] == list(numbers)


def test_what_torchvision_cannot_read_is_said_and_can_be_converted(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    from torchvision.datasets import ImageFolder

    dataset(tmp_path / "data", {"1": 3, "2": 3})
    picture = Image.open(io.BytesIO(encoded_field(field(50))))
    frames = [Image.open(io.BytesIO(encoded_field(field(51 + at)))) for at in range(2)]
    (tmp_path / "data" / "1" / "deep").mkdir()
    picture.save(tmp_path / "data" / "1" / "phone.heic")
    picture.save(tmp_path / "data" / "1" / "really.jpg", "HEIF", quality=60)
    frames[0].save(tmp_path / "data" / "1" / "deep" / "film.gif", save_all=True, append_images=frames[1:])
    write(tmp_path / "data" / "1" / "phone.txt", b"a caption")
    report = export(tmp_path / "data", tmp_path / "plain")
    assert report.unread == {"GIF": 1, "HEIF": 2}
    assert any("--convert" in said for said in report.remarks())
    done = export(tmp_path / "data", tmp_path / "out", convert=True)
    assert (done.unread, done.converted, done.companions, done.counts) == ({}, 3, 1, {"train": 9})
    folder = ImageFolder(tmp_path / "out" / "train")
    assert len(folder) == len([folder[at][0].load() for at in range(len(folder))]) == 9
    names = {file.name for file in (tmp_path / "out" / "train" / "1").iterdir()}
    assert {"phone.jpg", "phone.txt", "really.jpg", "deep_film.png"} <= names
    rows = [json.loads(line) for line in (tmp_path / "out" / "train" / "metadata.jsonl").read_text().splitlines()]
    for row in rows:
        data = (tmp_path / "out" / "train" / row["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
    assert export(tmp_path / "data", tmp_path / "tar", format="webdataset", convert=True).converted == 2


def test_suffixes_are_not_doubled_and_joined_names_fit_with_their_companions(tmp_path: Path) -> None:
    dataset(tmp_path / "data", {"2": 2})
    long = f"{'l' * 200}/{'m' * 60}"
    for number, name in enumerate(["x.jpg.jpg", "y.jpg.heic", f"{long}.jpg"]):
        write(tmp_path / "data" / "1" / name, encoded_field(field(20 + number)))
    write(tmp_path / "data" / "1" / f"{long}.jpg.supplemental-metadata.json", b"{}")
    for out in ("one", "two"):
        assert export(tmp_path / "data", tmp_path / out).companions == 1
    names = {file.name for file in (tmp_path / "one" / "train" / "1").iterdir()}
    assert names == {file.name for file in (tmp_path / "two" / "train" / "1").iterdir()}
    assert {"x.jpg", "y.jpg"} < names
    assert max(len(name.encode()) for name in names) == 255
    (companion,) = (name for name in names if name.endswith(".json"))
    assert companion.removesuffix(".supplemental-metadata.json") in names


def test_a_carved_split_is_what_is_exported_and_a_picture_without_a_label_is_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    dataset(data / "train", {"a": 20, "b": 20})
    write(data / "test" / "unknown.jpg", encoded_field(field(777)))
    split(data)
    report = export(data, tmp_path / "out", format="imagefolder")
    assert report.counts == {"train": 32, "validation": 4, "test": 4}
    assert not list((tmp_path / "out").rglob("unknown*"))
