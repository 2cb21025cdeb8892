"""Where the lines of an axis lie: at round numbers, a few of them."""

import math


def round_top(most: float, rules: int = 4) -> float:
    """The least number not below `most` whose parts, one for each of `rules`, are round."""
    if most <= 0:
        return float(rules)
    least = most / rules
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
    return step * rules


def whole_top(most: int, rules: int = 4) -> float:
    """`round_top` of a count, whose parts are whole numbers."""
    return max(float(rules), math.ceil(round_top(most, rules) / rules) * rules)


def in_short(value: float) -> str:
    """A number as an axis has it."""
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
