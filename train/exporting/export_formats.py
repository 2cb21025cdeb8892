"""The formats a classifier can leave in: how each is written, and how it is read back to be run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray

from curate.errors import UserError
from curate.files.reading import open_file
from train.backbones import empty_network
from train.checkpoint import Checkpoint
from train.exporting.classifier import Classifier

# Where a format holds files besides the model, under this name the description lies in it
_DESCRIPTION = "florilegium.json"

# One array (N, 3, crop, crop) for each input → probabilities (N, classes)
Runner = Callable[[list[NDArray[np.float32]]], NDArray[np.float32]]


@dataclass(frozen=True)
class Versions:
    """Of ONNX, as they were asked for; 0: as PyTorch takes them."""

    opset: int = 0
    ir: int = 0


# A classifier, where to, the description that lies within, what versions → the versions that were written
Writer = Callable[[Classifier, BinaryIO, str, Versions], dict[str, int]]


def _write_onnx(classifier: Classifier, stream: BinaryIO, description: str, asked: Versions) -> dict[str, int]:
    program = torch.onnx.export(
        classifier, classifier.examples(2), dynamo=True, dynamic_shapes=_any_batch(classifier), verbose=False,
        input_names=classifier.input_names(), output_names=["probabilities"], opset_version=asked.opset or None,
    )  # fmt: skip
    if program is None:
        raise RuntimeError("no program came of it")
    program.model.metadata_props["florilegium"] = description
    proto = program.model_proto
    if asked.ir:
        proto.ir_version = asked.ir
    opset = next(int(one.version) for one in proto.opset_import if one.domain in {"", "ai.onnx"})
    if asked.opset and opset != asked.opset:
        raise UserError(f"PyTorch could not write the operator set {asked.opset}, but {opset}: ask --opset for that.")
    stream.write(proto.SerializeToString())
    return {"onnx_opset": opset, "onnx_ir": int(proto.ir_version)}


def _read_onnx(file: Path, _: Checkpoint) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(arrays: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, dict(zip(names, arrays, strict=True)))[0], dtype=np.float32)

    return run


def _write_torchscript(classifier: Classifier, stream: BinaryIO, description: str, _: Versions) -> dict[str, int]:
    with torch.no_grad():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            classifier, classifier.examples(2), check_trace=False
        )
    torch.jit.save(traced, stream, _extra_files={_DESCRIPTION: description})
    return {}


def _read_torchscript(file: Path, _: Checkpoint) -> Runner:
    module = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    return _torch_runner(module)


def _write_pt2(classifier: Classifier, stream: BinaryIO, description: str, _: Versions) -> dict[str, int]:
    program = torch.export.export(classifier, classifier.examples(2), dynamic_shapes=_any_batch(classifier))
    torch.export.save(program, stream, extra_files={_DESCRIPTION: description})
    return {}


def _read_pt2(file: Path, _: Checkpoint) -> Runner:
    with open_file(file) as stream:  # given a path, it insists on the ending
        return _torch_runner(torch.export.load(stream).module())


def _write_safetensors(classifier: Classifier, stream: BinaryIO, description: str, _: Versions) -> dict[str, int]:
    from safetensors.torch import save

    # Copied: safetensors refuses tensors that share memory, as tied weights do
    tensors = {key: value.detach().contiguous().clone() for key, value in classifier.state_dict().items()}
    stream.write(save(tensors, metadata={"format": "pt", "florilegium": description}))
    return {}


def _read_safetensors(file: Path, checkpoint: Checkpoint) -> Runner:
    """Into networks that are built anew, so that nothing of the checkpoint's own tensors answers."""
    from safetensors.torch import load_file

    classifier = Classifier(checkpoint)
    for parameter in classifier.head.parameters():
        parameter.zero_()
    for number, backbone in enumerate(checkpoint.backbones):
        classifier.backbones[number] = empty_network(
            backbone.library, backbone.architecture, backbone.cut,
            pooling=backbone.pooling, crop=backbone.preprocessing.crop,
        )  # fmt: skip
    classifier.load_state_dict(load_file(file), strict=True)
    return _torch_runner(classifier.eval())


FORMATS: Final[dict[str, tuple[str, Writer, Callable[[Path, Checkpoint], Runner]]]] = {
    "onnx": (".onnx", _write_onnx, _read_onnx),
    "torchscript": (".torchscript", _write_torchscript, _read_torchscript),
    "safetensors": (".safetensors", _write_safetensors, _read_safetensors),
    "pt2": (".pt2", _write_pt2, _read_pt2),
}
"""Name → file's ending, writer, reader."""


def _torch_runner(module: Callable[..., torch.Tensor]) -> Runner:
    @torch.no_grad()
    def run(arrays: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = module(*(torch.from_numpy(array) for array in arrays)).numpy()
        return probabilities

    return run


def _any_batch(classifier: Classifier) -> dict[str, tuple[dict[int, Any], ...]]:
    batch = torch.export.Dim("batch", min=1)
    return {"pixels": tuple({0: batch} for _ in classifier.geometries)}
