"""Write real pictures that show no flower, out of scikit-image's wheel: FOLDER. Photographs, their quarters, faces."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins", "color", "grass", "gravel",
    "horse", "hubble_deep_field", "ihc", "microaneurysms", "moon", "motorcycle_left", "page", "retina", "rocket",
    "text",
)  # fmt: skip
LEAST = 400  # pixels of the short side of what is cut into quarters
FACES = 100  # the first of the 200 are faces, 25 × 25 pixels each


def main(out: Path) -> None:
    folder = Path(importlib.import_module("skimage.data").__file__ or "").parent
    objects, faces = out / "objects", out / "faces"
    objects.mkdir(parents=True)
    faces.mkdir()
    for name in PHOTOGRAPHS:
        (file,) = (one for one in folder.glob(f"{name}.*") if one.suffix in {".png", ".jpg"})
        image = Image.open(file).convert("RGB")
        image.save(objects / f"{name}.png")
        if min(image.size) >= LEAST:
            wide, high = image.width // 2, image.height // 2
            for number, (left, top) in enumerate(((0, 0), (wide, 0), (0, high), (wide, high))):
                image.crop((left, top, left + wide, top + high)).save(objects / f"{name} {number}.png")
    for number, face in enumerate(np.load(folder / "lfw_subset.npy")[:FACES]):
        grey = Image.fromarray((face * 255).astype(np.uint8)).resize((250, 250), Image.Resampling.BICUBIC)
        grey.convert("RGB").save(faces / f"{number:03}.png")
    print(json.dumps({"pictures": len(list(out.glob("*/*")))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
