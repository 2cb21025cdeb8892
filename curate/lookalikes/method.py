"""The version of the method that finds near-duplicates: what is remembered of one version serves no other.

A version stands for answers, not for source: a comment changes none, and a threshold may change many. So each part
that decides has a number, which whoever changes its answers raises by one. A test draws pictures, and fails where a
part answers otherwise than its version did before.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SEARCH_VERSIONS: Final[Mapping[str, int]] = MappingProxyType({
    "hash": 1,  # curate.phash: the hash of a reduced picture, and which hashes lie within a radius
    "windows": 1,  # curate.lookalikes.fingerprint
    "candidates": 2,  # curate.lookalikes.candidates
    "registration": 1,  # curate.lookalikes.registration
    "colour": 1,  # curate.lookalikes.colour
    "search": 7,  # curate.duplicates, and of curate.lookalikes: search, flat, crowds, second_look, comparison, …
})  # fmt: skip
"""Part of the search → the version of its answers."""

PLAN_VERSIONS: Final[Mapping[str, int]] = MappingProxyType({
    "quality": 1,  # curate.quality: which pictures are flagged
    "plan": 4,  # curate.cleaning: what leaves, and which copy stays
})  # fmt: skip
"""What `clean` decides by besides the search → the version of its answers."""

SCENE_VERSIONS: Final[Mapping[str, int]] = MappingProxyType({
    "scene": 1,  # curate.lookalikes.scene: which pictures show one scene
})  # fmt: skip
"""What a look for one scene decides by → the version of its answers."""

_FACTS: Final = ("hash", "windows", "quality")
"""The parts by which the facts of a picture are read that the catalog keeps."""


def facts_method() -> str:
    """Names the method that reads the facts of one picture: "hash 1, windows 1, quality 1"."""
    return _named({part: ({**SEARCH_VERSIONS, **PLAN_VERSIONS})[part] for part in _FACTS})


def search_method() -> str:
    """Names the method that searches, all its versions in it: "hash 1, windows 1, …"."""
    return _named(SEARCH_VERSIONS)


def plan_method() -> str:
    """Names the method by which `clean` decides, that of the search in it."""
    return f"{_named(PLAN_VERSIONS)}, {search_method()}"


def scene_method() -> str:
    """Names the method that tells whether pictures show one scene: "scene 1"."""
    return _named(SCENE_VERSIONS)


def _named(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{part} {version}" for part, version in versions.items())
