"""A plain FastAPI handler with torchvision's transforms and the network of a checkpoint of ours, as tutorials have it.

    python benchmarks/peers/fastapi_serve.py CHECKPOINT PORT

`/threads` is a handler that FastAPI runs in its threads, `/loop` an `async` one that computes in the event loop.
"""

import io
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from torch import nn
from torchvision import transforms

from train.checkpoint import load_checkpoint


def main(checkpoint: Path, port: int) -> None:
    loaded = load_checkpoint(checkpoint)
    (backbone,) = loaded.backbones
    model = nn.Sequential(backbone.network, loaded.head).eval()
    shape = backbone.preprocessing
    prepare = transforms.Compose([
        transforms.Resize(shape.resize, transforms.InterpolationMode(shape.interpolation)),
        transforms.CenterCrop(shape.crop),
        transforms.ToTensor(),
        transforms.Normalize(shape.mean, shape.std),
    ])  # fmt: skip
    app = FastAPI()

    def answer(data: bytes) -> dict[str, Any]:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        with torch.no_grad():
            probabilities = torch.softmax(model(prepare(image).unsqueeze(0)) / loaded.temperature, dim=1)[0]
        values, places = probabilities.topk(min(5, len(loaded.names)))
        return {
            "guesses": [
                {"name": loaded.names[place], "probability": value}
                for place, value in zip(places.tolist(), values.tolist(), strict=True)
            ]
        }

    def in_threads(file: UploadFile) -> dict[str, Any]:
        return answer(file.file.read())

    async def in_the_loop(file: UploadFile) -> dict[str, Any]:
        return answer(await file.read())

    def health() -> dict[str, str]:
        return {"status": "ok"}

    app.post("/threads")(in_threads)
    app.post("/loop")(in_the_loop)
    app.get("/healthz")(health)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
