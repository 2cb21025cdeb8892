"""One picture's answer by plain code, by ONNX Runtime and by ours, in a process of its own.

    python benchmarks/peers/plain_predict.py cold CHECKPOINT PICTURE
    python benchmarks/peers/plain_predict.py plain|warm CHECKPOINT PICTURE SECONDS
    python benchmarks/peers/plain_predict.py onnx CHECKPOINT PICTURE MODEL [SECONDS]
    python benchmarks/peers/plain_predict.py write CHECKPOINT MODEL

With SECONDS it answers again and again, and prints the median and the 99th percentile in milliseconds.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))


def plain(checkpoint: str, picture: str) -> Callable[[], Any]:
    """As tutorials have it: torch.load, the network of timm or torchvision, torchvision's transforms."""
    import torch
    from PIL import Image
    from torchvision import transforms

    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    (backbone,) = content["backbones"]
    shape = backbone["preprocessing"]
    network = built(backbone["library"], backbone["architecture"])
    network.load_state_dict(backbone["state"])
    network.eval()
    (weight, bias) = content["head"]["state"].values()
    prepare = transforms.Compose([
        transforms.Resize(shape["resize"], transforms.InterpolationMode(shape["interpolation"])),
        transforms.CenterCrop(shape["crop"]),
        transforms.ToTensor(),
        transforms.Normalize(shape["mean"], shape["std"]),
    ])  # fmt: skip

    def answer() -> Any:
        with torch.inference_mode():
            features = network(prepare(Image.open(picture).convert("RGB")).unsqueeze(0))
            return torch.softmax(features @ weight.T + bias, dim=1)

    return answer


def built(library: str, architecture: str) -> Any:
    """The network without its classifier."""
    if library == "timm":
        import timm

        return timm.create_model(architecture, num_classes=0)
    from torch import nn
    from torchvision import models

    network = models.get_model(architecture, weights=None)
    network.fc = nn.Identity()
    return network


def through_onnx(model: str, picture: str, resize: int, crop: int) -> Callable[[], Any]:
    import numpy as np
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def answer() -> Any:
        image = Image.open(picture).convert("RGB")
        scale = resize / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        pixels = np.asarray(image.crop((left, top, left + crop, top + crop)), dtype=np.float32) / 255
        return session.run(None, {name: np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]})

    return answer


def ours(checkpoint: str, picture: str) -> Callable[[], Any]:
    """What `predict` does for each file."""
    from train.predict import Predictor

    predictor = Predictor.from_checkpoint(Path(checkpoint), "cpu")
    return lambda: list(predictor.predict_files([Path(picture)]))


def write(checkpoint: str, model: str) -> None:
    """The checkpoint as ONNX, and beside it how a picture becomes a square."""
    import torch

    from train.checkpoint import load_checkpoint
    from train.exporting.classifier import Classifier

    classifier = Classifier(load_checkpoint(Path(checkpoint)))
    program = torch.onnx.export(classifier, classifier.examples(1), dynamo=True, verbose=False)
    assert program is not None
    Path(model).write_bytes(program.model_proto.SerializeToString())
    (geometry,) = classifier.geometries
    Path(model).with_suffix(".txt").write_text(f"{geometry.resize} {geometry.crop}")


def again(answer: Callable[[], Any], seconds: float) -> None:
    for _ in range(5):
        answer()
    taken, end = [], time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        answer()
        taken.append(1000 * (time.perf_counter() - start))
    taken.sort()
    print(taken[len(taken) // 2], taken[len(taken) * 99 // 100])


def main(kind: str, *rest: str) -> None:
    if kind == "write":
        write(*rest)
    elif kind == "cold":
        plain(*rest)()
    elif kind in {"plain", "warm"}:
        again({"plain": plain, "warm": ours}[kind](*rest[:2]), float(rest[2]))
    else:
        resize, crop = map(int, Path(rest[2]).with_suffix(".txt").read_text().split())
        answer = through_onnx(rest[2], rest[1], resize, crop)
        if len(rest) > 3:
            again(answer, float(rest[3]))
        answer()


if __name__ == "__main__":
    main(*sys.argv[1:])
