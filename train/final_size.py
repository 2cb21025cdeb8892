"""The last epochs of a training at another size: whether a network can, and what it is shown from then on."""

import copy

import torch
from torch import nn

from curate.errors import UserError
from train.backbones import Backbone, feature_dim
from train.features.preprocessing import Preprocessing
from train.optimising.fitting import epochs_of
from train.options import LearningOptions
from train.timm_networks import resize


def final_preprocessing(backbone: Backbone, options: LearningOptions, pictures: int) -> Preprocessing | None:
    """What the last epochs show of a picture, of which an epoch draws so many; None where no other size is asked for.

    Raises UserError where the network, its head or the number of epochs does not allow it: before anything is learnt.
    """
    tuning, crop = options.tuning, options.tuning.final_crop
    if crop in {0, backbone.preprocessing.crop}:
        return None
    epochs = epochs_of(pictures, options.head)
    if tuning.final_epochs >= epochs:
        raise UserError(
            f"final_epochs = {tuning.final_epochs} leaves none of {epochs} epochs before them: give fewer, or all of "
            f"them that size, by crop = {crop}."
        )
    if options.head.early_stop:
        raise UserError(
            f"early_stop = {options.head.early_stop} might end the run before its last epochs at final_crop = {crop}: "
            f"set one of the two to 0."
        )
    found = backbone.preprocessing.at(crop)
    trial = copy.deepcopy(backbone.network)
    try:
        resize(trial, crop)
    except ValueError as error:
        raise UserError(f"The network {backbone.name!r} can't take final_crop = {crop}: {error}.") from error
    if (dim := feature_dim(trial, found, backbone.name)) != backbone.dim:
        raise UserError(
            f"The network {backbone.name!r} gives {dim:,} features of {crop} pixels and {backbone.dim:,} of "
            f"{backbone.preprocessing.crop}, which one head can't take: leave final_crop at 0."
        )
    return found


@torch.no_grad()
def see_pictures_of(network: nn.Module, crop: int) -> None:
    """Have a network that trains take pictures of `crop` pixels a side; positions are interpolated (bicubic).

    What is interpolated is another parameter, under the same name.
    """
    resize(network, crop)
