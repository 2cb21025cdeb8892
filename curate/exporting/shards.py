"""Cuts a row of things of known size into shards of bounded size."""

from collections.abc import Sequence


def plan_shards(sizes: Sequence[int], most: int) -> list[range]:
    """Consecutive ranges whose sizes sum up to at most `most`, as long as can be; what is larger stands alone."""
    shards, start, held = [], 0, 0
    for at, size in enumerate(sizes):
        if at > start and held + size > most:
            shards.append(range(start, at))
            start, held = at, 0
        held += size
    return [*shards, range(start, len(sizes))] if sizes else []
