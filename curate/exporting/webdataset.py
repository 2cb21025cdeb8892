"""The shards that webdataset reads: tar files in which a picture, its class and what is known of it share a key."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from curate.exporting.examples import Example, Examples, Whole, contents_in_turn, plan_shards, untold
from curate.files.shards import LABELS, SHARDS

MOST_BYTES = 256 << 20
"""No shard is larger, unless a single picture is."""

_END = tarfile.RECORDSIZE  # two empty blocks, and what fills the last record


def write_webdataset(
    examples: Examples,
    folder: Path,
    advance: Callable[[int], None],
    whole: Whole = untold,
    *,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Write `<split>-00000.tar` and so on, uncompressed, with nothing in them of this machine or this hour: the same
    pictures give the same bytes. labels.json says which class each number in a `.cls` is, and shards.json which shards
    there are.

    Every picture has the same suffix, because Hugging Face wants the same fields of all; decoders look at the bytes.
    """
    formats = {example.format for members in examples.splits.values() for example in members}
    suffix = "png" if formats == {"PNG"} else "jpg"
    listed = [
        {"class": at, "label": label, "name": name}
        for at, (label, name) in enumerate(zip(examples.labels, examples.names, strict=True))
    ]
    _write_json(folder / LABELS, listed)
    shards = []
    for split, members in examples.splits.items():
        costs = [sum(_cost(size) for size in (it.size, *map(len, _told(examples, it).values()))) for it in members]
        for number, part in enumerate(plan_shards(costs, most_bytes - _END)):
            shard = folder / f"{split}-{number:05}.tar"
            contents = contents_in_turn([members[at] for at in part])
            with tarfile.open(shard, "w", format=tarfile.PAX_FORMAT) as tar:
                for at, content in zip(part, contents, strict=True):
                    for ending, data in ((suffix, content), *_told(examples, members[at]).items()):
                        member = tarfile.TarInfo(f"{at:09}.{ending}")  # no time, no owner
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
                    advance(1)
            shards.append({"file": shard.name, "pictures": len(part), "bytes": shard.stat().st_size})
            whole(shard)
    _write_json(folder / SHARDS, shards)


def count_pictures(folder: Path) -> dict[str, int]:
    """The pictures of each split as they lie on the disk."""
    counts = Counter[str]()
    for shard in sorted(folder.glob("*-*.tar")):
        with tarfile.open(shard) as tar:
            counts[shard.name.rpartition("-")[0]] += sum(member.name.endswith(".cls") for member in tar)
    return dict(counts)


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _told(examples: Examples, example: Example) -> dict[str, bytes]:
    """Suffix → content of what accompanies a picture."""
    row = {**examples.row(example), "file_name": example.name, "format": example.format}
    return {"cls": str(example.label).encode(), "json": json.dumps(row, ensure_ascii=False, sort_keys=True).encode()}


def _cost(size: int) -> int:
    """What a member takes in a tar: a header, and its bytes in whole blocks."""
    return tarfile.BLOCKSIZE * (1 + -(-size // tarfile.BLOCKSIZE))
