"""From class names and search queries to an image classifier one can trust: scrape, clean, split, train, predict.

    import florilegium as fl

    garden = fl.open("flower_data")
    plan = garden.clean()      # a plan: look at it before anything moves
    plan.carry_out()
    garden.split()
    model = garden.train(backbone="efficientnet_lite0")
    model.evaluate()
    model.predict("rose.jpg")

What these return draws itself in a notebook. Importing this is quick: numpy, Pillow and PyTorch are imported when they
are first needed.
"""

from typing import TYPE_CHECKING

from curate.errors import UserError
from curate.program import __version__
from florilegium.dataset import Dataset, open, scrape  # noqa: A004  (it is read as `fl.open`)
from florilegium.engine import on_engine
from florilegium.garden import draw_garden

if TYPE_CHECKING:
    from florilegium.model import Model, load

__all__ = ["Dataset", "Model", "UserError", "__version__", "draw_garden", "load", "on_engine", "open", "scrape"]


def __getattr__(name: str) -> object:
    """What imports PyTorch, which takes seconds, when it is first asked for."""
    if name in {"Model", "load"}:
        from florilegium.model import Model, load

        globals().update(Model=Model, load=load)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
