"""Splits that a dataset lacks, carved out of the training pictures that it arrived with; those that are there stay."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curate.dataset import SPLITS, Dataset
from curate.splitting.assignment import Ratio, Splits
from curate.splitting.picture_table import NOWHERE, PictureTable

TRAIN, VALID, TEST = range(len(SPLITS))


def arrived_splits(table: PictureTable) -> set[int]:
    """The splits that labelled pictures arrived in."""
    return set(np.unique(table.split[table.arrived & table.labelled]).tolist())


def held_out_alone(dataset: Dataset) -> str:
    """What to do where a dataset holds what is measured on and nothing to learn from; "" where it holds that."""
    tops = dataset.tops()
    held_out = [top for top in tops if top.labelled and top.split in (SPLITS[VALID], SPLITS[TEST])]
    if dataset.layout == "flat" or not held_out or any(top.labelled and top not in held_out for top in tops):
        return ""
    first = held_out[0].path
    named = " and ".join(f"{top.path}/" for top in held_out)
    return (
        f"{dataset.root} holds {named} alone, and so nothing to learn from: to have {first}/ divided, rename "
        f"{dataset.root / first} to {dataset.root / 'raw'}, and then split; or put pictures to learn from into "
        f"{dataset.root / 'train'}, in class folders."
    )


def frozen_by_arrival(table: PictureTable) -> set[int]:
    """The splits that take nothing new where the user does not say: those that arrived, and test beside a valid.

    A test that arrived without a valid leaves valid to be drawn: training needs one.
    """
    arrived = arrived_splits(table) & {VALID, TEST}
    return {VALID, TEST} if VALID in arrived else arrived


def lacking_splits(table: PictureTable, ratio: Ratio, frozen: frozenset[int]) -> list[int]:
    """The splits to be carved out of train: where train arrived, those that did not, are wanted and not frozen."""
    arrived = arrived_splits(table)
    if TRAIN not in arrived:
        return []
    return [split for split in (VALID, TEST) if split not in arrived and split not in frozen and ratio[split]]


def opened(table: PictureTable) -> tuple[PictureTable, NDArray[np.bool_]]:
    """The table with the pictures that arrived in train to be assigned, and which those are, bool[n]."""
    free = table.arrived & (table.split == TRAIN)
    return replace(
        table, split=np.where(free, np.int8(NOWHERE), table.split), arrived=table.arrived & ~free
    ), free  # fmt: skip


def kept_in_train(assigned: Splits, held_back: dict[int, str], free: NDArray[np.bool_]) -> dict[int, str]:
    """Leave in train what arrived there and belongs together with a split that is frozen: it is no new picture.

    Changes `assigned`; returns what is held back besides.
    """
    back = [at for at in held_back if free[at]]
    assigned[back] = TRAIN
    return {at: reason for at, reason in held_back.items() if not free[at]}
