"""Networks made ready to answer: what changes only in training is folded away."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from efficientnet_lite_pytorch.model import MBConvBlock
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.cards import Card
from models.efficient_unet import Encoder
from models.weights import load

# Whose convolutions and normalisations run one after the other as they are registered.
_IN_ORDER = (nn.Sequential, MBConvBlock, Encoder)


def load_folded(name_or_path: str | Path) -> tuple[nn.Module, Card]:
    """Weights to score with, `folded`, and their card; raises as `models.weights.load` does."""
    network, card = load(name_or_path)
    return folded(network), card


def folded(network: nn.Module) -> nn.Module:
    """A copy that gives the same scores, but for rounding, in less time.

    Batch normalisation by fixed statistics becomes part of the convolution before it, and
    rectifiers after it write into what it gave them.

    Args:
        network: in eval mode; stays as it is, to be trained further or saved.
    """
    copy = deepcopy(network)
    for module in copy.modules():
        if isinstance(module, _IN_ORDER):
            _fold_children(module)
    return copy


def _fold_children(module: nn.Module) -> None:
    children = list(module.named_children())
    for (name, one), (then, other) in zip(children, children[1:], strict=False):
        if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(one, other))
            setattr(module, then, nn.Identity())
        # Only of what nobody else can have kept, as a residual block keeps what it is given.
        if isinstance(one, nn.BatchNorm2d) and isinstance(other, (nn.ReLU, nn.ReLU6)):
            other.inplace = True
