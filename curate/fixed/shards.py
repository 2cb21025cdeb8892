"""An export in shards, as `export --format webdataset` writes it, read as a dataset: its splits, labels and credits."""

import hashlib
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from curate.catalog.credits import FIELDS
from curate.dataset import home_for
from curate.errors import UserError, why_no_value
from curate.exporting.examples import SPLIT_NAMES
from curate.files.addresses import is_remote
from curate.files.inside import is_plain
from curate.files.reading import open_file, read_file
from curate.files.remote import remote_stat
from curate.files.shards import LABELS, SHARDS, path_in_shard
from curate.fixed.fixed_dataset import FixedDataset, FixedPicture, home_of_address, stat_of
from curate.forked import done_apart
from curate.parallel import ordered_map

_SHARD: Final = re.compile(rf"({'|'.join(SPLIT_NAMES.values())})-(\d{{5,}})\.tar")
_SPLIT_OF: Final = {theirs: ours for ours, theirs in SPLIT_NAMES.items()}
_LONGEST_LIST = 1 << 28  # bytes of labels.json or shards.json
_LONGEST_NOTE = 1 << 20  # bytes of what a shard tells of one picture
_ASKED_AT_ONCE = 16  # shards
_OURS = "is no export of `export --format webdataset`"


class _Shard(NamedTuple):
    """One shard as it was listed: `number` and the times tell it from another of its name."""

    name: str
    size: int
    mtime_ns: int
    number: int
    ctime_ns: int


class _Told(NamedTuple):
    """What a shard tells of one of its pictures."""

    picture: FixedPicture
    sha256: str
    credit: tuple[str, ...]


def is_sharded(root: Path) -> bool:
    """Whether a folder holds shards and the list of their labels; beyond the disk, the list of its shards.

    Raises `UserError` where nobody answers.
    """
    if is_remote(root):
        return done_apart(remote_stat, root / SHARDS) is not None
    try:
        return (root / LABELS).is_file() and any(_SHARD.fullmatch(entry.name) for entry in root.iterdir())
    except (OSError, ValueError):  # whoever opens the folder says why
        return False


def open_shards(root: Path) -> FixedDataset:
    """The dataset in a folder of shards, here or beyond the disk.

    Every shard is looked through once for what it tells of its pictures; none is unpacked. Raises `UserError` where
    one is missing, cut short or not of our writing.
    """
    if is_remote(root):
        return _opened(root, tuple(done_apart(_remote_shards, root)))
    lists = (root / LABELS, root / SHARDS)
    return _opened(root, tuple(_listed(root)), *(file.stat().st_mtime_ns for file in lists if file.exists()))


@lru_cache(maxsize=2)
def _opened(root: Path, shards: Sequence[_Shard], *_changed: int) -> FixedDataset:
    labels, told = done_apart(partial(_all_told, root), shards) if is_remote(root) else _all_told(root, shards)
    home = home_of_address(root) if is_remote(root) else home_for(root, "flat")
    return FixedDataset(
        root, "split", home, [one.picture for one in told],
        names={label: name for label, name in labels if name != label},
        credits={one.sha256: one.credit for one in told if any(one.credit)},
    )  # fmt: skip


def _all_told(root: Path, shards: Sequence[_Shard]) -> tuple[list[tuple[str, str]], list[_Told]]:
    """(label, name) of each class, and what all shards tell of their pictures."""
    labels, index = _labels(root), _index(root)
    _require_whole(root, shards, index)
    told = [one for found in ordered_map(lambda shard: _told_by(root, shard, labels), shards) for one in found]
    _require_counts(root, told, index)
    return labels, told


def _remote_shards(root: Path) -> list[_Shard]:
    """The shards beyond the disk that shards.json names, as they are there."""

    def look(name: str) -> _Shard | None:
        stat = remote_stat(root / name)
        number = stat and (stat.number or int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big"))
        return None if stat is None else _Shard(name, stat.size or 0, stat.mtime_ns, number or 0, stat.mtime_ns)

    names = [one["file"] for one in _index(root) if _SHARD.fullmatch(one["file"])]
    return [shard for shard in ordered_map(look, names, workers=_ASKED_AT_ONCE) if shard is not None]


def _listed(root: Path) -> Iterator[_Shard]:
    for file in sorted(root.iterdir()):
        if _SHARD.fullmatch(file.name):
            stat = file.stat()
            yield _Shard(file.name, stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns)


def _labels(root: Path) -> list[tuple[str, str]]:
    """(label, name) of each class, in the order of their numbers."""
    listed = _json(root / LABELS)
    try:
        if not isinstance(listed, list) or [entry["class"] for entry in listed] != list(range(len(listed))):
            raise ValueError("classes are not counted from 0")
        found = [(str(entry["label"]), str(entry["name"])) for entry in listed]
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{root / LABELS} {_OURS}: export the dataset again.") from error
    return found


def _json(file: Path) -> Any:
    try:
        return json.loads(read_file(file, _LONGEST_LIST))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): export the dataset again.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON ({why_no_value(error)}): export the dataset again.") from error


def _index(root: Path) -> list[Mapping[str, Any]]:
    """What shards.json says of each shard; nothing for an export of an earlier version, which wrote none."""
    file = root / SHARDS
    if not is_remote(root) and not file.is_file():
        return []
    listed = _json(file)
    wanted = {"file": str, "pictures": int, "bytes": int}
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and all(type(one.get(name)) is kind for name, kind in wanted.items()) for one in listed
    ):
        raise UserError(f"{file} {_OURS}: export the dataset again.")
    return listed


def _require_whole(root: Path, shards: Sequence[_Shard], index: Sequence[Mapping[str, Any]]) -> None:
    """Raise `UserError` where a shard is missing, or is not as long as it was written."""
    sizes = {shard.name: shard.size for shard in shards}
    for one in index:
        if sizes.get(one["file"]) != one["bytes"]:
            what = "is cut short, or another one" if one["file"] in sizes else "is missing"
            raise UserError(f"The shard {root / one['file']} {what}: copy it again, or export the dataset again.")
    numbers = Counter(match[1] for shard in shards if (match := _SHARD.fullmatch(shard.name)))
    for split, count in numbers.items():
        for number in range(count):
            if f"{split}-{number:05}.tar" not in sizes:
                raise UserError(f"The shard {root / f'{split}-{number:05}.tar'} is missing: copy it again.")


def _require_counts(root: Path, told: Sequence[_Told], index: Sequence[Mapping[str, Any]]) -> None:
    """Raise `UserError` where shards hold other numbers of pictures than were written into them."""
    counts = Counter(one.picture.path.partition("/")[0] for one in told)
    for one in index:
        if counts[one["file"]] != one["pictures"]:
            raise UserError(
                f"{root / one['file']} holds {counts[one['file']]:,} pictures, and {one['pictures']:,} were written "
                "into it: copy it again, or export the dataset again."
            )


def _told_by(root: Path, shard: _Shard, labels: Sequence[tuple[str, str]]) -> list[_Told]:
    """What one shard tells of its pictures."""
    file, found = root / shard.name, []
    split, known = _SPLIT_OF[shard.name.rpartition("-")[0]], set(labels)
    try:
        for picture, note in _members(file):
            told = json.loads(note)
            label, name, sha256 = (str(told[field]) for field in ("label", "file_name", "sha256"))
            if (label, str(told["name"])) not in known or not is_plain(name):
                raise ValueError(f"no class {label!r}")
            found.append(_Told(
                FixedPicture(
                    path_in_shard(shard.name, picture.name, picture.offset_data, picture.size), f"{split}/{label}",
                    label, split, name, _stat(shard, picture),
                ),
                sha256, tuple(str(told.get(field, "")) for field in FIELDS),
            ))  # fmt: skip
    except OSError as error:
        raise UserError(f"The shard {file} cannot be read ({error.strerror}): check your rights.") from error
    except (tarfile.TarError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"The shard {file} {_OURS}, or is cut short: export the dataset again.") from error
    return found


def _members(file: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Each picture of a shard, and what is written beside it; raises ValueError where the two do not go together."""
    pictures: dict[str, tarfile.TarInfo] = {}
    with open_file(file) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            vars(tar)["members"].clear()  # else it keeps each of a million
            if not member.isreg() or "/" in member.name or not is_plain(member.name):
                raise ValueError(f"{member.name!r} is no picture")
            if suffix == "json":
                note = tar.extractfile(member)
                if note is None or member.size > _LONGEST_NOTE:
                    raise ValueError("no note")
                yield pictures.pop(key), note.read()
            elif suffix != "cls":
                pictures[key] = member
    if pictures:
        raise ValueError("pictures of which nothing is told")


def _stat(shard: _Shard, member: tarfile.TarInfo) -> Any:
    """What tells a picture in a shard from another: where it begins in which file, and when that was written."""
    place = hashlib.sha256(f"{shard.number} {member.offset_data}".encode()).digest()
    return stat_of(member.size, shard.mtime_ns, int.from_bytes(place[:7], "big"), shard.ctime_ns)
