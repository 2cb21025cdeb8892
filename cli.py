"""The commands, in the order of the stages. Nothing heavy is imported before a command needs it."""

from commands import stopping, streams

streams.mend()
stopping.leave_at_once()  # before the imports, which take longer than all this

from inspect import getdoc
from typing import Annotated, NoReturn

import typer

from commands import (
    ablating,
    auditing,
    console,
    curating,
    gathering,
    predicting,
    reporting,
    reviewing,
    running,
    serving,
    sharing,
    showing,
    touring,
    training,
)
from commands.disk_paths import with_paths_on_disk
from curate.program import COMMAND, __version__

# Plain help: rich's takes a quarter of a second to import, and --help should answer at once.
app = typer.Typer(
    name="florilegium",
    help="From class names and search queries to an image classifier one can trust.",
    epilog=f"Begin with: {COMMAND} demo",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ROAD = (
    touring.demo,
    gathering.download,
    gathering.scrape,
    curating.clean,
    curating.restore,
    curating.split,
    curating.verify,
    curating.compare,
    auditing.audit,
    showing.show,
    reviewing.review,
    training.summary,
    training.train,
    ablating.ablate,
    training.runs,
    training.recipes,
    training.bank,
    predicting.evaluate,
    predicting.predict,
    predicting.predict_random,
    serving.serve,
    predicting.export,
    sharing.import_facts,
    predicting.model_card,
    reporting.report,
)
for command in ROAD:
    text = (getdoc(command) or "").replace("cli.py", COMMAND)  # the docstrings have it as it is called in the checkout
    app.command(command.__name__.replace("_", "-"), help=text)(with_paths_on_disk(command))


def tell_version(wanted: bool) -> None:
    """Print the version and leave, if it is wanted."""
    if wanted:
        console.say(__version__)
        raise typer.Exit


@app.callback()
def every_command(
    _version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """What stands before a command's name."""


def main() -> NoReturn:
    """Run the command line and leave the process."""
    running.run(app)


if __name__ == "__main__":
    main()
