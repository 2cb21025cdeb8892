"""An ablation's figures as one JSON file, which is replaced by none but its own kind."""

from pathlib import Path

from curate.errors import UserError
from curate.files.atomic import write_whole
from train.ablating.report import AblationReport
from train.signed_json import require_ours_together, signed_json


def require_figures_place(file: Path, *, force: bool = False) -> None:
    """Raise UserError where figures can't go: over what we did not write, or what was changed since.

    With `force` they may. To be asked before the work is done.
    """
    require_ours_together(file, [], force=force)


def write_figures(report: AblationReport, file: Path, *, force: bool = False) -> None:
    """Write every figure, whole or not at all; shares are 0 to 1. Raises UserError as `require_figures_place` does."""
    require_figures_place(file, force=force)
    try:
        write_whole(file, signed_json(report.to_dict(), {}))
    except OSError as error:
        raise UserError(f"The figures can't be written to {file} ({error.strerror}): give another file.") from error
