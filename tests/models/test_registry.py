import sys

import pytest
import torch

from models import registry
from models.errors import ModelError

OURS = [name for name in registry.names() if name.startswith(("ldm-net", "vmamba", "scgc-net"))]


def test_the_papers_networks_come_first():
    assert list(registry.names()[: len(OURS)]) == OURS
    assert {"ldm-net", "ldm-net-tiny", "vmamba", "scgc-net-paper"} <= set(OURS)


@pytest.mark.parametrize("name", ["ldm-net-compact", "scgc-net-lite", "dense-unet", "segformer-b0"])
def test_networks_share_one_interface(name):
    torch.manual_seed(0)
    network = registry.build(name, bands=4).eval()
    seen = torch.ones(2, 1, 45, 70, dtype=torch.bool)
    seen[:, :, :9] = False
    with torch.no_grad():
        logits = network(torch.randn(2, 4, 45, 70) * seen, seen)
    assert logits.shape == (2, 1, 45, 70) and logits.dtype == torch.float32
    assert logits[seen].isfinite().all()


@pytest.mark.parametrize("name", ["ldm-net-compact", "scgc-net-lite", "dense-unet", "segformer-b0"])
@pytest.mark.parametrize(
    ("tiles", "valid"),
    [
        (torch.zeros(1, 4, 64, 64), None),
        (torch.zeros(0, 3, 64, 64), None),
        (torch.zeros(3, 64, 64), None),
        (torch.full((1, 3, 64, 64), torch.nan), None),
        (torch.full((1, 3, 64, 64), torch.inf), torch.ones(1, 1, 64, 64, dtype=torch.bool)),
        (torch.zeros(1, 3, 64, 64, dtype=torch.float16), None),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), None),
        (torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 63, dtype=torch.bool)),
        (torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)),
    ],
)
def test_networks_refuse_what_they_cannot_score(name, tiles, valid):
    with pytest.raises(ModelError):
        registry.build(name).eval()(tiles, valid)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("ldmnet", {}, "'ldmnet'; did you mean ldm-net?"),
        ("SegFormer-B9", {}, "did you mean segformer-b"),
        ("zzz", {}, "choose from ldm-net, "),
        ("ldm-net-tiny", {"embeding": 3}, "embeding"),
        ("scgc-net-lite", {"embedding": 3}, "scgc-net-lite: .*embedding"),
        ("unet", {"bands": 0}, "bands is 0"),
    ],
)
def test_bad_names_and_options_are_named(name, options, says):
    with pytest.raises(ModelError, match=says.replace("?", r"\?")):
        registry.build(name, **options)


def test_a_network_names_the_extra_it_needs_and_the_others_need_none(monkeypatch):
    optional = ("transformers", "monai", "segmentation_models_pytorch")
    for library in optional:
        for module in [library, *(m for m in sys.modules if m.startswith(f"{library}."))]:
            monkeypatch.setitem(sys.modules, module, None)
    for name in registry.names():
        library, extra = registry.library_of(name)
        with torch.device("meta"):
            if library:
                with pytest.raises(ModelError, match=rf"{library}.*scarp\[{extra}\]"):
                    registry.build(name)
            else:
                registry.build(name)


def test_an_ensemble_needs_members():
    network = registry.build("ensemble", bands=2, members=[{"architecture": "pidnet"}] * 2)
    assert len(network.members) == 2
    with pytest.raises(ModelError, match="an ensemble needs members"):
        registry.build("ensemble", members=[])


def test_options_reach_the_network():
    assert registry.build("ldm-net-tiny", embedding=32).options.embedding == 32


def test_an_option_of_a_value_that_cannot_be_is_named():
    with pytest.raises(ModelError, match="unet cannot be built with width = 'x'"):
        registry.build("unet", width="x")
