"""What is said of a head that folds chose: which it is, and against which others."""

from collections.abc import Sequence

from train.heads.choice import ChosenHead, Judged


def choice_in_words(found: ChosenHead, balance: float) -> str:
    """For the report of a run; `balance` says how the pictures were weighted that it was judged by."""
    best = found.best
    if not best.held_out:
        return f"No picture could be held out, so nothing was chosen: the head is {_in_words(best)}."
    weighted = {0.0: "", 1.0: ", classes counted alike"}.get(balance, f", balanced by {balance:g}")
    return (
        f"Folds within train chose {_in_words(best)}: {best.accuracy:.1%} of {best.held_out:,} held-out pictures were "
        f"right{weighted}{_beside(best, found.judged)}."
    )


def _in_words(judged: Judged) -> str:
    parts = [f"{one.kind} (strength {one.strength:g})" for one in judged.members]
    listed = parts[0] if len(parts) == 1 else f"the mean of {', '.join(parts[:-1])} and {parts[-1]}"
    roots = " on the features' square roots" if judged.members[0].roots else ""
    adjusted = f", adjusted by {judged.adjustment:g} for rare classes" if judged.adjustment else ""
    return f"{listed}{roots}{adjusted}"


def _beside(best: Judged, judged: Sequence[Judged]) -> str:
    """The best of each kind alone, in brackets, but for what was chosen."""
    alone = {one.members[0].kind: one for one in reversed(judged) if len(one.members) == 1}
    others = [f"{kind} {one.accuracy:.1%}" for kind, one in alone.items() if one.members != best.members]
    return f" ({', '.join(others)})" if others else ""
