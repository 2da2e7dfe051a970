import sys
from functools import partial

import pytest
import torch

from models.baselines import FACTORIES
from models.errors import ModelError
from models.pidnet import BoundaryBlend, Guidance, PIDNet
from models.resnet_heads import (
    CCNet,
    ChannelAttention,
    CrissCrossAttention,
    DANet,
    GCNet,
    GlobalContext,
    PositionAttention,
    ResNet,
)
from models.segnext import Factorisation, SegNeXt
from models.unets import DenseUNet, TransUNet, UNet3Plus

SMP = ("fpn", "pspnet", "deeplabv3+", "linknet", "upernet-resnet", "upernet-hrnet")
LARGER = (
    "-b1",
    "-b2",
    "-b3",
    "-b4",
    "-b5",
    "-small",
    "-base",
    "-large",
)  # of a kind tested in its smallest
KINDS = [name for name in FACTORIES if name not in SMP and not name.endswith(LARGER)]


def meta(name, bands=3, **options):
    """Without memory for its weights; MONAI's Swin reads values while it is built."""
    with torch.device("cpu" if name == "swin-unet" else "meta"):
        return FACTORIES[name](bands, **options).eval().to("meta")


def millions(network):
    return round(sum(p.numel() for p in network.parameters()) / 1e6, 2)


@pytest.mark.parametrize("name", KINDS)
def test_every_baseline_takes_any_bands_and_size_and_answers_one_logit_a_pixel(name):
    image = torch.zeros(2, 4, 70, 101, device="meta")
    assert meta(name, bands=4)(image).shape == (2, 1, 70, 101)


@pytest.mark.parametrize(
    ("name", "total", "encoder"),
    [
        ("segformer-b4", 63.99, 60.84),  # LDM-Net Table 4: 63.99, 60.8
        ("upernet-swin-small", 80.26, 48.84),  # LDM-Net Table 4: encoder 48.8
        ("transunet", 105.28, 97.89),  # Chen et al. 2021, R50-ViT-B/16
        ("fcn", 32.95, 23.51),  # ResNet-50, a 3x3 of 2048 x 512 and two 1x1
    ],
)
def test_parameters_are_the_published_ones(name, total, encoder):
    network = meta(name)
    assert (millions(network), millions(network.encoder)) == (total, encoder)


def test_unet_plus_plus_plus_has_the_published_parameters():
    assert millions(meta("unet+++")) == 26.97  # Huang et al. 2020, Table 1


@pytest.mark.parametrize(
    ("size", "total"), [("tiny", 4.3), ("small", 13.9), ("base", 27.6), ("large", 48.9)]
)
def test_segnext_has_the_published_parameters_over_ade20ks_150_classes(size, total):
    with torch.device("meta"):  # Guo et al. 2022
        assert round(millions(SegNeXt(3, size, classes=150)), 1) == total


def test_pidnet_has_the_published_parameters_over_cityscapes_19_classes():
    with torch.device("meta"):  # Xu et al. 2023, PIDNet-S
        assert round(millions(PIDNet(3, classes=19)), 1) == 7.6


def test_global_context_adds_to_resnet_50_what_its_paper_says():
    with torch.device("meta"):
        added = millions(ResNet(3, context=True)) - millions(ResNet(3))
    assert round(added, 2) == 2.52  # Cao et al. 2019: 28.08 after 25.56


def test_resnet_101_is_the_encoder_of_the_papers_linknet():
    with torch.device("meta"):
        assert millions(ResNet(3, (3, 4, 23, 3))) == 42.50  # LDM-Net Table 4: 42.5


def test_segformer_head_is_an_option():
    assert millions(meta("segformer-b4", head=256)) == 61.37


def test_criss_cross_attention_sees_its_row_and_column_once():
    torch.manual_seed(0)
    attention, x = CrissCrossAttention(16).eval(), torch.randn(1, 16, 4, 5)
    attention.gain.data.fill_(1)
    query, key, value = (f(x)[0] for f in (attention.query, attention.key, attention.value))
    row, column = 2, 3
    cross = [(r, column) for r in range(4)] + [(row, c) for c in range(5) if c != column]
    weight = torch.stack([query[:, row, column] @ key[:, r, c] for r, c in cross]).softmax(0)
    seen = sum(w * value[:, r, c] for w, (r, c) in zip(weight, cross, strict=True))
    torch.testing.assert_close(attention(x)[0, :, row, column], x[0, :, row, column] + seen)


def test_position_attention_sees_every_pixel():
    torch.manual_seed(0)
    attention, x = PositionAttention(16).eval(), torch.randn(2, 16, 3, 4)
    attention.gain.data.fill_(1)
    query, key, value = (f(x).flatten(2) for f in (attention.query, attention.key, attention.value))
    weight = torch.einsum("ncp,ncq->npq", query, key).softmax(2)
    expected = x + torch.einsum("npq,ncq->ncp", weight, value).view(x.shape)
    torch.testing.assert_close(attention(x), expected)


def test_channel_attention_prefers_the_channel_least_alike():
    attention = ChannelAttention()
    attention.gain.data.fill_(1)
    x = torch.tensor([[9.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    torch.testing.assert_close(attention(x)[0, 0].flatten(), torch.tensor([9.0, 1.0]))


def test_detail_gives_way_to_the_context_it_agrees_with():
    guide = Guidance(4).eval()
    for side in (guide.of_detail[0], guide.of_context[0]):
        torch.nn.init.constant_(side.weight, 5.0)
    detail, context = torch.full((1, 4, 4, 4), 1.0), torch.full((1, 4, 2, 2), 3.0)
    torch.testing.assert_close(guide(detail, context), torch.full((1, 4, 4, 4), 3.0))
    torch.testing.assert_close(guide(detail, -context), detail)


def test_detail_counts_along_boundaries_and_context_elsewhere():
    blend = BoundaryBlend(4).eval()
    detail, context, sure = torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3), torch.full((), 99.0)
    along = blend.of_detail(detail) + blend.of_context(context + detail)
    elsewhere = blend.of_detail(detail + context) + blend.of_context(context)
    torch.testing.assert_close(blend(detail, context, sure), along)
    torch.testing.assert_close(blend(detail, context, -sure), elsewhere)


def test_global_context_is_one_weighted_mean_for_all_pixels():
    torch.manual_seed(0)
    block, x = GlobalContext(32).eval(), torch.randn(2, 32, 3, 4)
    weight = block.weigh(x).flatten(2).softmax(2)
    mean = (x.flatten(2) * weight).sum(2)
    torch.testing.assert_close(block(x), x + block.transform(mean)[:, :, None, None])


def test_a_matrix_of_low_rank_is_factorised_into_itself():
    torch.manual_seed(0)
    x = (torch.rand(1, 48, 2) @ torch.rand(1, 2, 64)).view(1, 48, 8, 8)
    few, many = Factorisation(48)(x), Factorisation(48, rounds=60)(x)
    assert few.min() >= 0
    assert (many - x).norm() < 0.05 * x.norm() < (few - x).norm() < 0.3 * x.norm()


def test_what_nobody_saw_is_read_as_zero_even_where_it_is_nan():
    torch.manual_seed(0)
    network = FACTORIES["dense-unet"](3).eval()
    seen = torch.rand(1, 1, 32, 32) > 0.3
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        logits = network(image.masked_fill(~seen, torch.nan), seen)
        torch.testing.assert_close(logits, network(image * seen))


@pytest.mark.parametrize(
    "network",
    [
        partial(CCNet, 3),
        partial(DANet, 3),
        partial(GCNet, 3),
        partial(DenseUNet, 3, width=16),
        partial(UNet3Plus, 3, widths=(8, 8, 16, 16, 32)),
        partial(TransUNet, 3, width=96, layers=1, heads=4),
    ],
    ids=lambda network: network.func.__name__,
)
def test_every_parameter_learns(network):
    torch.manual_seed(0)
    network = network()
    for attention in network.modules():  # at a gain of 0 nothing before it learns yet
        if hasattr(attention, "gain"):
            attention.gain.data.fill_(0.5)
    network(torch.randn(2, 3, 32, 32)).square().sum().backward()
    still = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == set()


@pytest.mark.parametrize(("name", "library"), [("segformer-b0", "transformers"), ("unet", "monai")])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(name, library, monkeypatch):
    for module in [library, *(m for m in sys.modules if m.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=rf"{library}.* does not import .*scarp\[baselines\]"):
        FACTORIES[name](3)


def test_a_torchvision_that_does_not_match_torch_is_explained(tmp_path, monkeypatch):
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "segmentation_models_pytorch.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "segmentation_models_pytorch", raising=False)
    with pytest.raises(ModelError, match=r"nms does not exist.*torchvision built for torch 2"):
        FACTORIES["linknet"](3)


def test_linknet_has_the_papers_parameters():
    pytest.importorskip("segmentation_models_pytorch")
    network = meta("linknet")
    assert millions(network) == 50.17  # LDM-Net Table 4: 50.2


def test_a_teacher_begins_with_what_photographs_taught_and_other_bands_cannot():
    network = FACTORIES["efficient-unet"](3, photographs=True)
    stem = network.encoder.stem.weight
    assert stem.abs().max() > 2, "random ones are below 0.3"
    assert millions(network) == 3.63 and stem.requires_grad
    image = torch.randn(1, 3, 70, 101)
    assert network.eval()(image).shape == (1, 1, 70, 101)
    with pytest.raises(ModelError, match="tiles of 4 bands are not"):
        FACTORIES["efficient-unet"](4, photographs=True)
