"""serve: a page and an interface at which a checkpoint answers."""

from typing import Annotated

import typer

from commands import console, training_reports
from commands.options import Checkpoint, Device, Models, chosen_checkpoint
from curate.defaults import (
    DEFAULT_DEVICE,
    DEFAULT_HOST,
    DEFAULT_MODELS,
    DEFAULT_MOST_PICTURES,
    DEFAULT_MOST_UPLOAD,
    DEFAULT_MOST_WAITING,
    MOST_PORT,
)


def serve(
    *,
    checkpoint: Checkpoint = None,
    models: Models = DEFAULT_MODELS,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for all of this machine's.")] = (
        DEFAULT_HOST
    ),
    port: Annotated[int, typer.Option(min=0, max=MOST_PORT, help="The port; 0 takes a free one.")] = 0,
    token: Annotated[bool, typer.Option(help="Answer only who brings the token that is printed.")] = True,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address, and open no browser.")] = False,
    most_upload: Annotated[int, typer.Option(min=1, max=1024, help="Megabytes of one request.")] = DEFAULT_MOST_UPLOAD,
    most_pictures: Annotated[
        int, typer.Option(min=1, max=1000, help="Pictures of one request.")
    ] = DEFAULT_MOST_PICTURES,
    most_waiting: Annotated[
        int, typer.Option(min=1, max=10_000, help="Pictures under way; beyond that, clients are told to come again.")
    ] = DEFAULT_MOST_WAITING,
    views: Annotated[
        int | None, typer.Option(min=1, help="Views of a picture to take the mean of.  [default: the checkpoint's]")
    ] = None,
    abstain: Annotated[float | None, typer.Option(help="Precision wanted, such as .98; below it: not sure.")] = None,
    device: Device = DEFAULT_DEVICE,
) -> None:
    """Answer for pictures that are dropped on a page.

    Names, probabilities and heat maps, and the same as JSON for programs: docs/serve.md.

    Example: cli.py serve --port 8000

    For phones in the same network: cli.py serve --host 0.0.0.0 --no-open
    """
    from pages.guard import Access, Guard, new_token
    from pages.loopback import listen, run
    from pages.serve.app import PictureServer, UploadLimits
    from train.predict import Predictor

    file = chosen_checkpoint(checkpoint, models)
    listening = listen(port, host)
    try:
        predictor = Predictor.from_checkpoint(file, device, views=views, abstain=abstain)
    except BaseException:
        listening.close()
        raise
    limits = UploadLimits(most_upload * 1_000_000, most_pictures, most_waiting)
    secret = new_token() if token else ""
    access = Access(listening.hosts, secret, limits.most_bytes, ("/healthz",))
    ending = f"?token={secret}" if secret else ""

    def tell() -> None:
        count = predictor.views.count
        views_told = f" from {count} views of each picture" if count > 1 else ""
        knows = training_reports.classes_in_words(predictor.checkpoint)
        console.say(f"{file}, which knows {knows}, answers{views_told} at")
        for url in listening.urls:
            console.say(f"  {url}{ending}")
        if not token and not listening.is_loopback:
            console.note("Note: whoever reaches this machine may ask, as --no-token wants it.")
        console.note("Ctrl-C ends it; what has been asked is answered first.")

    run(
        Guard(PictureServer(predictor, file, limits).app(), access), listening, started=tell,
        open_at=f"{listening.url}{ending}" if not no_open else "",
    )  # fmt: skip
