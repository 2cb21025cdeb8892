"""Pictures inside tar files: how the path of one says where its bytes begin, and how many they are.

`train-00000.tar/000000012@1536+40960.jpg` names 40,960 bytes of `train-00000.tar`, from byte 1,536 on. So whoever has
the path needs no table of the tar's contents, in whatever process it is.
"""

import re
from pathlib import Path
from typing import NamedTuple

LABELS, SHARDS = "labels.json", "shards.json"
"""Beside the shards: which class each number is; and which shards there are, with how many pictures and bytes in each.
"""

_MEMBER = re.compile(r"(?P<key>[^/]*)@(?P<start>\d{1,15})\+(?P<size>\d{1,15})(?P<suffix>\.[^./]*)?")
_ENDING = ".tar"


class ShardPart(NamedTuple):
    """`size` bytes of a tar file, from byte `start` on."""

    shard: Path
    start: int
    size: int


def path_in_shard(shard: str, name: str, start: int, size: int) -> str:
    """The path, relative to the shard's folder, of the member `name` of a shard."""
    key, dot, suffix = name.rpartition(".")
    return f"{shard}/{key}@{start}+{size}{dot}{suffix}" if dot else f"{shard}/{suffix}@{start}+{size}"


def part_of_shard(path: Path) -> ShardPart | None:
    """Which bytes of which tar file a path names; None for the path of a file of its own."""
    if not path.parent.name.endswith(_ENDING):
        return None
    found = _MEMBER.fullmatch(path.name)
    return ShardPart(path.parent, int(found["start"]), int(found["size"])) if found else None


def shard_of(path: Path) -> str | None:
    """The name of the tar file that a picture lies in; None for a file of its own."""
    part = part_of_shard(path)
    return part.shard.name if part else None
