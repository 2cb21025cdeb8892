"""How long one picture waits for its answer, from a cold start and warm: ours, plain code, ONNX Runtime.

    uv run benchmarks/latency.py --checkpoint models/model_88.37.pth --picture FILE [--before FOLDER]

Cold: a fresh process for each answer, the contenders in turn, medians; the file cache is warm. `--before` is an older
checkout of this project that takes part. Warm: one process, the same picture again and again, decoding it each time.
`plain` is PIL, torchvision's transforms and the network as timm or torchvision build it. ONNX Runtime and what writes
ONNX come from a folder of their own, which is thrown away.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.serve import loaded, started
from commands.console import say, table

REPOSITORY = Path(__file__).resolve().parent.parent
PEER = str(REPOSITORY / "benchmarks/peers/plain_predict.py")
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| *(\S+)")
_LARGE = {"torch": "PyTorch", "timm": "timm", "torchvision": "torchvision", "sympy": "sympy", "scipy": "scipy",
          "triton": "triton", "numpy": "numpy", "PIL": "Pillow", "httpcore2": "timm"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="a checkout of an older state of the project")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=8, help="of each warm measurement")
    options = parser.parse_args()
    checkpoint, picture = str(options.checkpoint.resolve()), str(options.picture.resolve())
    with tempfile.TemporaryDirectory() as folder:
        runtime = installed(Path(folder) / "packages", "onnxruntime")
        model = exported(checkpoint, Path(folder))
        cold(contenders(checkpoint, picture, model, options.before, runtime), options.rounds)
        shares(["predict", picture, "--checkpoint", checkpoint])
        warm(checkpoint, picture, model, runtime, options.seconds)
    say(f"Load of the machine in the last minutes: {', '.join(f'{one:.1f}' for one in os.getloadavg())}.")


def installed(folder: Path, *packages: str) -> dict[str, str]:
    """The environment in which these packages are found too."""
    command = ["uv", "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", str(folder)]
    subprocess.run([*command, *packages], check=True)
    return {"PYTHONPATH": str(folder)}


def exported(checkpoint: str, folder: Path) -> str:
    """The checkpoint as ONNX, without pictures to compare it on."""
    writers = installed(folder / "writers", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "ml-dtypes", "protobuf",
                        "flatbuffers")  # fmt: skip
    model = str(folder / "model.onnx")
    subprocess.run(
        [sys.executable, PEER, "write", checkpoint, model], env={**os.environ, **writers}, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return model


def contenders(
    checkpoint: str, picture: str, model: str, before: Path | None, runtime: dict[str, str]
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Name → the command that answers once, and what its environment needs."""
    asked = ["predict", picture, "--checkpoint", checkpoint]
    found: dict[str, tuple[list[str], dict[str, str]]] = {
        "Python alone": (["-c", "pass"], {}),
        "PyTorch imported": (["-c", "import torch"], {}),
        "ours": ([str(REPOSITORY / "cli.py"), *asked], {}),
    }
    if before:
        found["ours, before"] = ([str(before / "cli.py"), *asked], {})
    found["plain"] = ([PEER, "cold", checkpoint, picture], {})
    found["ONNX Runtime"] = ([PEER, "onnx", checkpoint, picture, model], runtime)
    return found


def cold(commands: dict[str, tuple[list[str], dict[str, str]]], rounds: int) -> None:
    walls: dict[str, list[float]] = {name: [] for name in commands}
    processor: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, (arguments, environment) in commands.items():
            wall, spent = once([sys.executable, *arguments], environment)
            if turn:  # the first fills the caches
                walls[name].append(wall)
                processor[name].append(spent)
    ours = statistics.median(walls["ours"])
    rows = [
        (name, f"{statistics.median(walls[name]):.2f}", f"{statistics.median(processor[name]):.2f}",
         f"{statistics.median(walls[name]) / ours:.2f}")
        for name in commands
    ]  # fmt: skip
    table("One picture from a cold start", ("", "seconds", "processor, s", "of ours"), rows)


def once(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """(seconds by the clock, of the processors) of one process."""
    before = os.times()
    start = time.perf_counter()
    subprocess.run(command, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent


def shares(arguments: Sequence[str]) -> None:
    """Where the cold start goes, by what is imported; `-X importtime` itself adds a little."""
    command = [sys.executable, "-X", "importtime", str(REPOSITORY / "cli.py"), *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    whole = time.perf_counter() - start
    seconds: dict[str, float] = {}
    for line in done.stderr.splitlines():
        if found := _IMPORT.match(line):
            top = found[3].partition(".")[0]
            name = _LARGE.get(top, "all other imports")
            seconds[name] = seconds.get(name, 0.0) + int(found[1]) / 1e6
    seconds["loading, decoding, computing, printing"] = whole - sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda one: -one[1])
    table("Where it goes", ("", "seconds", "share"), [(k, f"{v:.2f}", f"{v / whole:.0%}") for k, v in ordered])


def warm(checkpoint: str, picture: str, model: str, runtime: dict[str, str], seconds: float) -> None:
    rows = []
    scripts: dict[str, tuple[list[str], dict[str, str]]] = {
        "predict's code": ([PEER, "warm", checkpoint, picture, str(seconds)], {}),
        "plain": ([PEER, "plain", checkpoint, picture, str(seconds)], {}),
        "ONNX Runtime": ([PEER, "onnx", checkpoint, picture, model, str(seconds)], runtime),
    }
    for name, (arguments, environment) in scripts.items():
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **environment},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        median, slowest = (float(one) for one in done.stdout.split()[-2:])
        rows.append((name, f"{median:.1f}", f"{slowest:.1f}"))
    ours = [sys.executable, "cli.py", "serve", "--checkpoint", checkpoint, "--no-token", "--no-open"]
    with tempfile.TemporaryDirectory() as folder, started(ours, {}) as (url, pid):
        (Path(folder) / Path(picture).name).symlink_to(picture)
        figures = loaded(f"{url}api/predict", pid, Path(folder), 1, seconds)
        rows.append(("serve, over HTTP", f"{figures['p50']:.1f}", f"{figures['p99']:.1f}"))
    table("One picture, warm", ("", "p50 ms", "p99 ms"), rows)


if __name__ == "__main__":
    main()
