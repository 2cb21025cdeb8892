"""Words from other programs: each becomes the option of ours that means the same, or is answered by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from curate.errors import UserError
from curate.program import COMMAND

_TRAINING: Final = {"train", "summary"}

_SAME: Final[Mapping[str, str]] = {
    "--arch": "--backbone", "--model": "--backbone", "--network": "--backbone", "--architecture": "--backbone",
    "--save-dir": "--models", "--checkpoint-dir": "--models", "--model-dir": "--models", "--output-dir": "--models",
    "--category-names": "--names", "--class-names": "--names", "--pretrained": "--weights", "--cv": "--folds",
    "--topk": "--top-k", "--ckpt": "--checkpoint", "--resume-from": "--checkpoint", "--random-seed": "--seed",
}  # fmt: skip
"""An option of others → ours, with the same kind of value. Underscores are hyphens here."""

_KEYS: Final[Mapping[str, str]] = {
    "--lr": "learning_rate", "--rate": "learning_rate", "--batch-size": "batch", "--hidden-units": "hidden",
    "--wd": "weight_decay", "--optim": "optimizer", "--opt": "optimizer", "--scheduler": "schedule",
    "--input-size": "crop", "--img-size": "crop", "--image-size": "crop", "--smoothing": "label_smoothing",
    "--max-steps": "steps", "--training-steps": "steps", "--how-many-training-steps": "steps", "--max-epochs": "epochs",
    "--num-epochs": "epochs",
}  # fmt: skip
"""An option of others → the key of a recipe that means it, as `--set` takes it; a recipe's keys mean themselves."""

_SWITCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "--gpu": ("--device", "cuda"), "--cuda": ("--device", "cuda"), "--cpu": ("--device", "cpu"),
    "--no-cuda": ("--device", "cpu"), "--mps": ("--device", "mps"),
}  # fmt: skip

_PLACES: Final = {"--data", "--data-dir", "--dataset", "--image-dir", "--data-path", "--root"}

_ANSWERS: Final[Mapping[str, str]] = {
    "--means": "Mean and standard deviation are those that the weights were made for: --set normalise=half takes 0.5",
    "--workers": "Pictures are decoded by as many workers as there are processors, and nothing has to be set",
    "--resume": "A run that was stopped goes on when the same command is given again, without an option",
    "--category-names": "The names of the classes are inside the checkpoint: give them to `train --names FILE`",
    "--val-split": "`split` divides pictures into train, valid and test: give it --ratio",
    "--freeze": "All but the last layer is frozen, unless --unfreeze says what else trains",
    "--pretrained": "Weights are ImageNet's, unless --weights says others: `none`, a tag or a file",
    "--checkpoint": "A checkpoint is written by `train` and read by `evaluate` and `predict`; --weights takes one",
}  # fmt: skip

_MEANT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("--mean", "--std", "--stds", "--normalize", "--norm"), "--means"),
    **dict.fromkeys(("--num-workers", "--n-workers", "--jobs", "--threads"), "--workers"),
    **dict.fromkeys(("--class-names", "--names"), "--category-names"),
    **dict.fromkeys(("--frozen", "--freeze-backbone", "--freeze-layers", "--feature-extract"), "--freeze"),
    **dict.fromkeys(("--test-split", "--validation-split", "--train-split"), "--val-split"),
}


def in_our_words(words: Sequence[str], unknown: str, command: str, known: Sequence[str]) -> list[str]:
    """The command line `words` with the option `unknown` of `command` in our words; `known` are the command's options.

    Raises UserError, with the answer or with options that are spelt alike, where no option means the same.
    """
    at = next((number for number, word in enumerate(words) if word.split("=", 1)[0] == unknown), None)
    if at is None and (long := _long_with_one_hyphen(words, unknown)) is not None:  # `-lr`, as argparse has it
        return [*words[:long], f"-{words[long]}", *words[long + 1 :]]
    if at is None:  # one letter within several, or an option in parts
        raise UserError(_no_such(unknown, command, known))
    _, equals, value = words[at].partition("=")
    name = unknown.lower().replace("_", "-")
    if name in _SWITCHES and "--device" in known and not equals:
        taken = 1
        # `--gpu 0` and `--gpu true` are usual too
        if at + 1 < len(words) and words[at + 1].lower() in {"0", "true", "yes"}:
            taken = 2
        return [*words[:at], *_SWITCHES[name], *words[at + taken :]]
    if name == "--pretrained" and "--weights" in known and not _is_weights(words[at + 1 : at + 2], equals):
        return [*words[:at], *words[at + 1 :]]  # a switch elsewhere, and always so here
    key = recipe_key(name)
    if equals:
        rest = list(words[at + 1 :])
    else:
        value, rest = (words[at + 1], list(words[at + 2 :])) if at + 1 < len(words) else ("", [])
    if value and name in known and name != unknown:  # underscores for hyphens
        return [*words[:at], name, value, *rest]
    if value and _SAME.get(name) in known:
        return [*words[:at], _SAME[name], value, *rest]
    if value and command in _TRAINING and key in _recipe_keys():
        return [*words[:at], "--set", f"{key}={value}", *rest]
    if value and name in _PLACES and "DATA" in known:
        return [*words[:at], value, *rest]
    answer = _ANSWERS.get(_MEANT.get(name, name))
    raise UserError(
        f"There is no {unknown}: {answer[0].lower()}{answer[1:]}." if answer else _no_such(unknown, command, known)
    )


def recipe_key(word: str) -> str:
    """The key of a recipe that others call by this word, with or without hyphens before it; else the word itself."""
    name = word.removeprefix("--").replace("_", "-").lower()
    own = name.replace("-", "_")
    return own if own in _recipe_keys() else _KEYS.get(f"--{name}", word.removeprefix("--").replace("-", "_"))


def _long_with_one_hyphen(words: Sequence[str], letter: str) -> int | None:
    """Where a word of several letters stands behind one hyphen, of which only the first was read."""
    for number, word in enumerate(words):
        if word.startswith(letter) and re.fullmatch(r"-[A-Za-z][A-Za-z_-]+(=.*)?", word, re.DOTALL):
            return number
    return None


def _is_weights(following: Sequence[str], equals: str) -> bool:
    """Whether the word after `--pretrained` says which weights, and not which data."""
    return bool(equals) or (bool(following) and not following[0].startswith("-") and not Path(following[0]).is_dir())


def _no_such(unknown: str, command: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(unknown, [one for one in known if one.startswith("--")], n=2, cutoff=0.75)
    hint = f"did you mean {' or '.join(near)}?" if near else f"`{COMMAND} {command} --help` lists its options."
    return f"The command {command} has no option {unknown}: {hint}"


def _recipe_keys() -> set[str]:
    from train.options import OPTIONS

    return {one.name for one in OPTIONS if one.in_recipes}
