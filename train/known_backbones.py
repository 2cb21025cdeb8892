"""The backbones that a budget is planned among, with what is published of them, and whether they can be had here."""

from dataclasses import dataclass
from typing import Final

from train.backbone_names import OFFLINE, networks_named
from train.backbones import SCRATCH_CNN, resolve_name
from train.downloaded_weights import DownloadedWeights, of_timm, of_torchvision
from train.features.packaged_weights import PACKAGED


@dataclass(frozen=True)
class KnownBackbone:
    """One backbone, or several side by side, as --backbone takes it."""

    name: str
    top1: float  # on ImageNet, in percent
    multiply_adds: float  # of a picture, in billions
    broad: bool = False  # learnt from a hundred million pictures or more

    @property
    def networks(self) -> list[str]:
        """Those that stand side by side; its own name where it is one."""
        return networks_named(self.name)


# Of networks that were trained as classifiers, the top-1 that torchvision and timm publish; of DINOv2 and DINOv3, that
# of a linear layer on their frozen features (DINOv2's model card; for DINOv3, https://github.com/yberreby/
# dinov3-in1k-probes); of SigLIP 2, which was trained with captions, without any training (M. Tschannen et al., 2025).
# Of two generations of torchvision's weights the first counts: the second reaches more there by means that leave frozen
# features worse, not better (S. Kornblith et al., "Why do better loss functions lead to less transferable features?",
# NeurIPS 2021). What stands side by side has no such figure: each further network takes away a share of the mistakes.
_SINGLE: Final = (
    KnownBackbone("mobilenet_v3_large", 74.0, 0.22),
    KnownBackbone("efficientnet_lite0", 74.8, 0.39),
    KnownBackbone("efficientnet_b0", 77.7, 0.39),
    KnownBackbone("efficientnet_lite1", 76.7, 0.60),
    KnownBackbone("efficientnet_lite2", 77.5, 0.86),
    KnownBackbone("regnet_y_1_6gf", 78.0, 1.61),
    KnownBackbone("resnet50", 76.1, 4.09),
    KnownBackbone("convnext_tiny", 82.5, 4.46),
    KnownBackbone("vit_small_patch14_dinov2", 81.1, 6.1, broad=True),
    KnownBackbone("vit_small_patch16_dinov3", 81.4, 6.3, broad=True),
    KnownBackbone("resnet152", 78.3, 11.51),
    KnownBackbone("eva02_small_patch14_336", 85.8, 15.5),
    KnownBackbone("vit_base_patch16_siglip_224.v2_webli", 78.2, 17.7, broad=True),
    KnownBackbone("vit_base_patch14_dinov2", 84.5, 23.2, broad=True),
    KnownBackbone("vit_base_patch16_dinov3", 85.0, 23.6, broad=True),
    KnownBackbone("vit_large_patch14_dinov2", 86.3, 81.1, broad=True),
    KnownBackbone("vit_large_patch16_dinov3", 87.4, 82.4, broad=True),
)

_MISTAKES_LEFT: Final = 0.85
"""Of the mistakes of the best network, by each one more beside it, to be measured with `benchmarks/offline.py`."""

_SIDE_BY_SIDE: Final = (OFFLINE,)


def known_backbone(name: str) -> KnownBackbone:
    """What is known of the networks that `name` means, together."""
    known = [KNOWN_BACKBONES.get(one, KnownBackbone(one, float("nan"), 0.0)) for one in networks_named(name)]
    mistakes = (100 - max(one.top1 for one in known)) * _MISTAKES_LEFT ** (len(known) - 1)
    return KnownBackbone(name, 100 - mistakes, sum(one.multiply_adds for one in known), any(one.broad for one in known))


KNOWN_BACKBONES: Final[dict[str, KnownBackbone]] = {one.name: one for one in _SINGLE}
KNOWN_BACKBONES.update({name: known_backbone(name) for name in _SIDE_BY_SIDE})


def weights_at_hand(name: str) -> bool:
    """Whether the default weights of all networks that `name` means lie on this machine already."""
    return all(_at_hand(network) for network in networks_named(name))


def published_weights(network: str) -> DownloadedWeights | None:
    """What has to be downloaded for the default weights of one network; None for those that are not downloaded."""
    library, architecture = resolve_name(network)
    if network in PACKAGED or library == "florilegium":
        return None
    if library == "timm":
        return of_timm(architecture)
    from torchvision import models

    return of_torchvision(architecture, models.get_model_weights(architecture).DEFAULT)


def _at_hand(network: str) -> bool:
    if network in PACKAGED:
        path = PACKAGED[network].path()
        return path is not None and path.is_file()
    found = published_weights(network)
    return network == SCRATCH_CNN or (found is not None and found.at_hand())
