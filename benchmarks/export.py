"""How close each exported format comes to the checkpoint, on 64 real pictures, and what it weighs.

    uv run --extra onnx benchmarks/export.py --flowers ../shared/flowers [--checkpoint models/model_95.23.pth]

Without a checkpoint, one is trained on the dataset first, in a folder that is then removed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands import console
from commands.console import say, table
from curate.dataset import open_dataset
from curate.errors import UserError
from train.export import PICTURES, TOLERANCE, export
from train.exporting.export_formats import FORMATS
from train.pictures import labelled_pictures
from train.training import TrainOptions, train_head


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--flowers", type=Path, required=True, help="a dataset with train/ and valid/")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--formats", default=",".join(FORMATS))
    options = parser.parse_args()
    pictures = [picture.path for picture in labelled_pictures(open_dataset(options.flowers), "valid")]
    with tempfile.TemporaryDirectory() as temporary:
        models = Path(temporary)
        checkpoint = (
            options.checkpoint
            or train_head(
                options.flowers,
                TrainOptions(backbone=options.backbone, weights=options.weights, views=1, models=models),
                console.bars,
            ).checkpoint
        )
        rows, failed = [], 0
        for name in options.formats.split(","):
            try:
                report = export(checkpoint, name, pictures, out=models / "out")
            except UserError as error:
                rows.append((name, str(error), "", "", "", ""))
                failed += 1
                continue
            rows.append(
                (name, f"{report.largest_difference:.1e}", f"{report.same_answers} of {report.pictures}",
                 f"{report.size / 2**20:.1f}", f"{report.seconds:.1f}", "yes")
            )  # fmt: skip
        title = f"{checkpoint.name} on {PICTURES} real pictures, PyTorch {torch.__version__}"
        table(title, ("format", "largest difference", "same answers", "MiB", "seconds", f"within {TOLERANCE:g}"), rows)
    say("Every format is within the tolerance." if not failed else f"{failed} formats could not be compared.")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
