"""Shards dealt out to processes: each reads its own, and together they take an epoch's draws, each once."""

from collections.abc import Sequence

import torch


def deal_shards(counts: Sequence[int], processes: int) -> list[int]:
    """The process of each shard, from how many pictures are in it: the largest first, each to who has fewest so far."""
    held = [0] * processes
    owner = [0] * len(counts)
    for shard in sorted(range(len(counts)), key=lambda shard: (-counts[shard], shard)):
        owner[shard] = min(range(processes), key=lambda process: (held[process], process))
        held[owner[shard]] += counts[shard]
    return owner


def dealt(drawn: torch.Tensor, owner: torch.Tensor, steps: Sequence[torch.Tensor], processes: int) -> torch.Tensor:
    """An epoch's draws, int64 (M,), in an order by which each process finds its own in the places that it takes.

    `owner` int64 (N,) is the process of each sample; `steps` are the places in `drawn` step by step, of which a process
    takes each `processes`-th. Nothing is drawn more or less often. Where one has fewer draws than places, its last
    places hold what others have left over: all take equally many.
    """
    taker = torch.cat([torch.arange(len(step)) % processes for step in steps])
    mine = owner[drawn]
    order = torch.empty_like(drawn)
    open_places, left_over = [], []
    for process in range(processes):
        places, draws = torch.nonzero(taker == process)[:, 0], drawn[mine == process]
        both = min(len(places), len(draws))
        order[places[:both]] = draws[:both]
        open_places.append(places[both:])
        left_over.append(draws[both:])
    order[torch.cat(open_places).sort().values] = torch.cat(left_over)
    return order
