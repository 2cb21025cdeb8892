"""A dataset in a bucket: cleaned, split, exported and learnt from where it lies, as a folder is."""

import json
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.export import export
from curate.facts import export_facts, import_facts
from curate.files import remote
from curate.files.addresses import RemotePath, is_remote, located
from curate.fixed.manifest import read_manifest
from curate.fixed.opening import forget_listings
from curate.restore import restore
from curate.scan import scan
from curate.split import split
from curate.verify import verify
from tests.buckets import ADDRESS, THERE, MemoryBucket, head_of, plant_flowers, rows_of, train_quickly
from tests.commanding import command
from tests.pictures import encoded_field, field, tree
from tests.training_ground import grow

pytest.importorskip("pyarrow.parquet")
pytest.importorskip("fsspec")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryBucket:
    """An empty bucket in memory, and a folder of its own for what is kept about it."""
    found = MemoryBucket()
    monkeypatch.setattr(remote, "_file_system", lambda _: found)
    monkeypatch.setattr(remote, "_PAUSE", 0.0)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    forget_listings()
    return found


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return plant_flowers(tmp_path / "flowers")


def test_a_bucket_gives_what_the_folder_gives(bucket: MemoryBucket, flowers: Path, tmp_path: Path) -> None:
    """The same pictures leave, go to the same splits, and teach the same classifier."""
    bucket.fill(flowers, "flowers")
    there, here = clean(THERE, yes=True), clean(flowers, yes=True)
    assert [(one.path, one.reason) for one in there.plan.decisions] == [
        (one.path, one.reason) for one in here.plan.decisions
    ]
    assert (there.moved, there.scan.strangers) == (here.moved, 1) == (2, 1)
    there_split, here_split = split(THERE), split(flowers)
    assert there_split.counts == here_split.counts
    assert there_split.proof == here_split.proof
    of = {path: row["split"] for path, row in rows_of("split").items()}
    placed = {name: to for to in ("train", "valid", "test") for name in tree(tmp_path / "flowers_split" / to)}
    assert of == placed
    assert verify(THERE).in_order
    export(THERE, tmp_path / "one", format="webdataset")
    export(flowers, tmp_path / "two", format="webdataset")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    one, two = train_quickly(ADDRESS, tmp_path / "m1"), train_quickly(flowers, tmp_path / "m2")
    assert (one.train_pictures, one.valid_pictures) == (two.train_pictures, two.valid_pictures) == (16, 2)
    assert all(torch.equal(value, head_of(two)[name]) for name, value in head_of(one).items())


def test_what_is_known_is_not_read_again_and_what_changed_is(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    again = clean(THERE, yes=True)
    assert (again.scan.read, again.scan.checked, again.moved) == (0, 0, 0)
    bucket.put("flowers/rose/picture 2.jpg", encoded_field(field(77)))
    bucket.put("flowers/rose/new.jpg", encoded_field(field(78)))
    bucket.delete("flowers/rose/picture 3.jpg")
    forget_listings()
    changed = clean(THERE, yes=True)
    assert (changed.scan.read, changed.scan.missing) == (2, 1)


def test_what_left_comes_back_and_stays(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    (copy,) = [path for path, row in rows_of("quarantine").items() if row["reason"] == "duplicate"]
    assert copy not in {file.path for file in open_dataset(THERE).files()}
    back = restore(THERE, reasons=["duplicate"])
    assert back is not None
    assert back.restored == [copy]
    assert list(rows_of("quarantine")) == ["rose/broken.jpg"]
    assert copy in {file.path for file in open_dataset(THERE).files()}
    assert clean(THERE, yes=True).moved == 0  # who brought it back has decided
    with pytest.raises(UserError, match=r"rose/nothing\.jpg has not left s3://bucket/flowers: give"):
        restore(THERE, pictures=["rose/nothing.jpg"])


def test_a_new_object_under_the_name_of_one_that_left_is_looked_at(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    bucket.put("flowers/rose/broken.jpg", encoded_field(field(55)))
    forget_listings()
    clean(THERE, yes=True)
    assert "rose/broken.jpg" in {file.path for file in open_dataset(THERE).files()}
    split(THERE)
    assert rows_of("split")["rose/broken.jpg"]["split"] in {"train", "valid", "test"}


def test_pictures_that_come_later_move_no_old_one(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    split(THERE)
    before = {path: row["split"] for path, row in rows_of("split").items()}
    for number in range(200, 210):
        bucket.put(f"flowers/rose/picture {number}.jpg", encoded_field(field(number)))
    forget_listings()
    report = split(THERE)
    after = {path: row["split"] for path, row in rows_of("split").items()}
    assert (report.new, report.kept) == (10, 20)
    assert {path: after[path] for path in before} == before


def test_splits_that_a_bucket_came_with_are_kept(bucket: MemoryBucket, tmp_path: Path) -> None:
    root = grow(tmp_path / "garden", {"train": 6, "valid": 2, "test": 2}, classes=2)
    bucket.fill(root, "flowers")
    found = open_dataset(THERE)
    assert (found.layout, found.labels()) == ("split", ["iris", "rose"])
    assert {(file.split, file.label) for file in found.files()} == {
        (to, label) for to in ("train", "valid", "test") for label in ("iris", "rose")
    }
    one, two = train_quickly(ADDRESS, tmp_path / "m1"), train_quickly(root, tmp_path / "m2")
    assert all(torch.equal(value, head_of(two)[name]) for name, value in head_of(one).items())


@pytest.mark.parametrize("loose", ["train/0.jpg", "train/zz.jpg"])
def test_a_picture_beside_the_class_folders_of_a_split_is_a_stranger(bucket: MemoryBucket, loose: str) -> None:
    for path in ("train/rose/1.jpg", "train/tulip/1.jpg", "valid/rose/2.jpg", loose):
        bucket.put(f"flowers/{path}", encoded_field(field(len(path))))
    found = open_dataset(THERE)
    assert (found.layout, found.labels()) == ("split", ["rose", "tulip"])
    assert loose not in {file.path for file in found.files()}


def test_plans_are_written_and_read_beyond_the_disk(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    done = command("clean", ADDRESS, "--dry-run", "--save-plan", "s3://bucket/plans/plan.jsonl")
    assert done.code == 0, done.err
    assert bucket.get("plans/plan.jsonl").count(b"\n") == 2
    assert not list(Path.cwd().glob("flowers-*/*.parquet"))
    carried = command("clean", ADDRESS, "--plan", "s3://bucket/plans/plan.jsonl")
    assert carried.code == 0, carried.err
    assert len(rows_of("quarantine")) == 2
    bucket.put("plans/mine.txt", b"not a plan")
    refused = command("clean", ADDRESS, "--dry-run", "--save-plan", "s3://bucket/plans/mine.txt")
    assert "mine.txt" in refused.sentence
    assert bucket.get("plans/mine.txt") == b"not a plan"


def test_facts_of_a_bucket_are_proved_by_its_tags(bucket: MemoryBucket, flowers: Path, tmp_path: Path) -> None:
    """What a cluster has computed, a laptop takes over without a look at the pictures."""
    bucket.fill(flowers, "flowers")
    assert export_facts(THERE, located("s3://bucket/facts")).pictures == 22
    (tmp_path / "laptop").mkdir()
    os.chdir(tmp_path / "laptop")
    forget_listings()
    taken = import_facts(THERE, located("s3://bucket/facts"))
    assert (taken.taken, taken.by_stamp, taken.decoded) == (21, 21, 8)
    bucket.put("flowers/rose/picture 2.jpg", encoded_field(field(77)))
    (tmp_path / "another").mkdir()
    os.chdir(tmp_path / "another")
    forget_listings()
    taken = import_facts(THERE, located("s3://bucket/facts"))
    assert [one.path for one in taken.refused] == ["rose/picture 2.jpg"]


def test_an_export_into_a_taken_place_is_refused(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    bucket.put("taken/file", b"somebody's")
    for words, said in (
        (("--format", "webdataset", "--out", "s3://bucket/taken"), "is there already"),
        (("--format", "webdataset", "--out", "s3://bucket/flowers/inside"), "overlap: give another folder"),
        (("--format", "imagefolder", "--out", "s3://bucket/out"), "export as webdataset or parquet"),
        (("--format", "webdataset", "--out", "http://127.0.0.1:9/out"), "Nothing can be written to http://127.0.0.1:9"),
    ):
        before = bucket.tags()
        assert said in command("export", ADDRESS, *words).sentence
        assert bucket.tags() == before


def test_parquet_is_exported_file_by_file(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    report = export(THERE, located("s3://bucket/out"), format="parquet")
    assert report.counts == {"train": 21}
    assert [key for key in bucket.tags("out/") if key.endswith(".parquet")] == ["out/data/train-00000-of-00001.parquet"]
    assert not list(Path.cwd().glob("flowers-*.florilegium/export*"))
    assert not [file for file in Path.cwd().rglob("*") if file.name.startswith(".florilegium-")]


def test_what_needs_a_folder_says_so(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    for last in ("--yes", "--dry-run"):  # a plan that nobody could carry out is not written either
        assert "rename it there" in command("clean", ADDRESS, "--merge", "rose=lily of Ünïcödé 百合", last).sentence
    assert not list(Path.cwd().rglob("plan.jsonl"))
    assert "`review` has no place" in command("review", ADDRESS, "--no-open").sentence
    assert "s3://bucket/flowers is an address" in command("compare", ADDRESS, flowers).sentence


@pytest.mark.parametrize(
    "words",
    [
        ("show", ADDRESS, "--out", "s3://bucket/sheet.png"),
        ("train", ADDRESS, "--models", "s3://bucket/models"),
        ("evaluate", ADDRESS, "--checkpoint", "s3://bucket/models/model.pth"),
        ("report", ADDRESS, "--out", "s3://bucket/report.html"),
    ],
)
def test_an_address_where_only_this_disk_will_do_is_refused(
    bucket: MemoryBucket, flowers: Path, words: tuple[str, ...]
) -> None:
    """And no folder `s3:` is made for what was to lie in the bucket."""
    bucket.fill(flowers, "flowers")
    assert f"{words[-1]} is an address" in command(*words).sentence
    assert not list(Path.cwd().iterdir())


def test_what_is_predicted_lies_on_this_disk(bucket: MemoryBucket, flowers: Path, tmp_path: Path) -> None:
    bucket.fill(flowers, "flowers")
    checkpoint = train_quickly(flowers, tmp_path / "models").checkpoint if split(flowers) else None
    one = "s3://bucket/flowers/rose/picture 2.jpg"
    assert f"{one}: an address" in command("predict", one, "--checkpoint", checkpoint).sentence
    ended = command("evaluate", "--data", ADDRESS, "--checkpoint", checkpoint)
    assert ended.code == 0, ended.err
    assert "21" in ended.out
    assert "Next: " in ended.out
    assert "cli.py predict" not in ended.out


def test_a_backslash_in_a_key_is_a_character(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    bucket.put("flowers/rose/s\\b.jpg", encoded_field(field(91)))
    bucket.put("flowers/rose/s/b.jpg", encoded_field(field(92)))
    assert clean(THERE, yes=True).scan.read == 24
    assert sum(split(THERE).counts.get("rose", {}).values()) == 12
    assert verify(THERE).in_order


def test_what_is_kept_about_a_bucket_is_no_former_home_of_a_folder(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, dry_run=True)
    shutil.copytree(flowers, "copied")
    ended = command("clean", "copied", "--dry-run")
    assert ended.code == 0
    assert "renamed" not in ended.out + ended.err


def test_oxford_s_flowers_have_their_names_in_a_bucket_too(bucket: MemoryBucket, tmp_path: Path) -> None:
    for label in ("21", "51"):
        for number in range(6):
            name = f"image_0{label}{number}0.jpg"
            bucket.put(f"flowers/{label}/{name}", encoded_field(field(int(label) * 10 + number)))
    split(THERE)
    export(THERE, tmp_path / "out", format="webdataset")
    names = [one["name"] for one in json.loads((tmp_path / "out" / "labels.json").read_text())]
    assert names == ["fire lily", "petunia"]
    bucket.put("flowers/cat_to_name.json", b'{"21": "mine", "51": "yours"}')
    forget_listings()
    export(THERE, tmp_path / "own", format="webdataset")
    assert [one["name"] for one in json.loads((tmp_path / "own" / "labels.json").read_text())] == ["mine", "yours"]


MISTAKES = {
    "ftp://user:pass@host/flowers": "s3://, gs://, http://",
    "file:///flowers": "the path of a folder",
    "s3://bucket/nothing": "nothing",
    "s3://user:pass@bucket/flowers": "without a password",
    "https://example.org/shards?X-Amz-Signature=abc": "without a password",
}


@pytest.mark.parametrize("address", MISTAKES)
def test_a_wrong_address_is_a_sentence(bucket: MemoryBucket, address: str) -> None:
    said = command("clean", address, "--dry-run").sentence
    assert MISTAKES[address] in said
    assert "pass@" not in said
    assert "abc" not in said
    assert not list(Path.cwd().iterdir())


def test_pictures_that_cannot_be_read_are_never_taken_for_broken(bucket: MemoryBucket, flowers: Path) -> None:
    """A connection that fails for good must not set pictures aside."""
    bucket.fill(flowers, "flowers")
    found = open_dataset(THERE)
    for key in bucket.tags("flowers/rose/"):
        bucket.delete(key)
    with Catalog.open(found.catalog_path) as catalog:
        report = scan(found, catalog)
        assert catalog.broken() == []
        assert len(catalog.pictures()) == 10
    assert report.files == 22


def test_an_address_is_a_path() -> None:
    path = located("s3://bucket/flowers/")
    assert str(path) == "s3://bucket/flowers"
    assert str(path / "rose" / "a b.jpg") == "s3://bucket/flowers/rose/a b.jpg"
    assert pickle.loads(pickle.dumps(path / "x")) == path / "x"
    assert isinstance(pickle.loads(pickle.dumps(path / "x")), RemotePath)
    assert (path.name, str(path.parent), path.resolve()) == ("flowers", "s3://bucket", path)
    assert str(located("s3:/bucket/flowers")) == "s3://bucket/flowers"  # as pathlib writes it, with one slash
    for plain in ("flowers", "./s3", "/s3:/x", "c:/x", "s3", "s3:x", "ftp://host/a"):
        assert not is_remote(located(plain))
        assert located(plain) == Path(plain)


def test_a_manifest_that_is_not_ours_is_a_sentence(bucket: MemoryBucket, flowers: Path) -> None:
    bucket.fill(flowers, "flowers")
    clean(THERE, yes=True)
    split(THERE)
    (file,) = Path.cwd().glob("flowers-*/split.parquet")
    whole = file.read_bytes()
    for spoilt in (
        whole[: len(whole) // 2],
        b"no Parquet",
        next(Path.cwd().glob("flowers-*/quarantine.parquet")).read_bytes(),
    ):
        file.write_bytes(spoilt)
        with pytest.raises(UserError, match="run `split` again"):
            train_quickly(ADDRESS, Path.cwd() / "models")
    file.write_bytes(whole)
    with pytest.raises(UserError, match="run `clean` again"):
        read_manifest(file.with_name("split.parquet"), "quarantine")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import fsspec

    def missing(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    remote._file_system.cache_clear()
    for scheme, extra in (("s3", "remote"), ("gs", "gs"), ("https", "remote")):
        assert f"uv sync --extra {extra}" in command("clean", f"{scheme}://host/flowers", "--dry-run").sentence
    remote._file_system.cache_clear()


@pytest.mark.parametrize(("scheme", "asked", "said"), [("s3", 5, "failed 5 times"), ("gs", 1, "failed (")])
def test_who_is_patient_himself_is_asked_once(
    scheme: str, asked: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library of gs:// asks a service six times, with pauses of half a minute: five times that nobody waits for."""
    times = []

    class Gone:
        def info(self, name: str) -> dict[str, object]:
            times.append(name)
            raise ConnectionError("nobody answers")

        exists = isfile = isdir = ls = find = cat_file = info

    monkeypatch.setattr(remote, "_file_system", lambda _: Gone())
    monkeypatch.setattr(remote, "_PAUSE", 0.0)
    with pytest.raises(UserError, match=re.escape(said)):
        remote.read_remote(RemotePath(f"{scheme}:/bucket/a.jpg"), 100)
    assert len(times) == asked
