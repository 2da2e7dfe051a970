import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from models.errors import ModelError
from models.ldmnet import GFFN, GVSS, MLP, Options, SegHead, ldmnet


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def full():
    return ldmnet("full")


@pytest.fixture
def compact():
    """The smallest network, with its calibration switched on as training would."""
    torch.manual_seed(0)
    network = ldmnet("compact").eval()
    for module in network.modules():
        if isinstance(module, GFFN):
            nn.init.normal_(module.gamma)
            nn.init.normal_(module.beta)
    return network


def test_the_encoder_has_the_papers_parameters_block_by_block(full):
    encoder = full.encoder
    assert parameters(encoder.stem) == 43_200
    assert [parameters(d) for d in encoder.downsamplings] == [166_464, 664_704, 2_656_512]
    assert parameters(encoder.norms) == 2_880
    blocks = [stage[0] for stage in encoder.stages]
    assert [parameters(block) for block in blocks] == [170_688, 599_424, 2_231_040, 8_590_848]
    assert parameters(blocks[0].ffn) == 83_712
    assert parameters(blocks[0].norm1) + parameters(blocks[0].norm2) == 384
    assert parameters(encoder) == 55_721_280


def test_the_ablation_is_vmamba_small_of_its_paper():
    ablation = ldmnet("full", ffn="mlp", n_states=1)
    assert parameters(ablation.encoder) == 49_380_096
    assert isinstance(ablation.encoder.stages[0][0].ffn, MLP)


@pytest.mark.parametrize(("embedding", "millions"), [(256, 0.633), (768, 3.471)])
def test_the_head_has_either_of_the_papers_sizes(embedding, millions, full):
    head = SegHead(full.encoder.widths, embedding, 0.0)
    assert parameters(head) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_the_tiny_network_fits_its_file():
    tiny = parameters(ldmnet("tiny"))
    assert tiny < 5e6
    assert tiny * 4 < 10e6


@pytest.mark.parametrize("size", [(32, 32), (33, 1), (100, 71)])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_any_size_and_any_bands_give_a_logit_a_pixel(size, bands):
    network = ldmnet("compact", bands=bands).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, bands, *size))
    assert logits.shape == (2, 1, *size)
    assert logits.isfinite().all()


def test_nodata_around_a_picture_changes_nothing_inside_it(compact):
    picture = torch.randn(1, 3, 64, 96)
    padded = torch.full((1, 3, 160, 128), 3.0)
    valid = torch.zeros(1, 1, 160, 128, dtype=torch.bool)
    padded[..., :64, :96], valid[..., :64, :96] = picture, True
    with torch.no_grad():
        alone, inside = compact(picture), compact(padded, valid)[..., :64, :96]
    assert alone.std() > 1e-3
    assert (alone - inside).abs().max() < 1e-4 * alone.abs().max()


def test_the_head_of_inference_gives_what_the_papers_modules_give(compact):
    torch.manual_seed(0)
    for p in (norm := compact.head.norm).parameters():
        nn.init.uniform_(p, 0.5, 2)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    x, valid = torch.randn(2, 3, 96, 64), torch.rand(2, 1, 96, 64) < 0.99
    for mask in (None, valid):
        with torch.no_grad():
            short = compact(x, mask)
        assert torch.allclose(short, compact(x, mask), rtol=1e-5, atol=1e-5)


def test_autocast_reaches_the_products_but_not_the_scan(compact):
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        wanted = compact(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = compact(x)
    assert not torch.equal(found, wanted)
    assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_what_invalid_pixels_hold_changes_nothing_even_nan(compact):
    x = torch.randn(1, 3, 64, 64)
    valid = torch.rand(1, 1, 64, 64) < 0.6
    holed = x.masked_fill(~valid, float("nan"))
    with torch.no_grad():
        assert torch.equal(compact(x, valid)[valid], compact(holed, valid)[valid])


@pytest.mark.parametrize("times", [2, 3])
def test_a_magnifying_network_is_the_plain_one_on_larger_tiles(compact, times):
    closer = ldmnet("compact", magnify=times).eval()
    closer.load_state_dict(compact.state_dict())
    x = torch.randn(1, 3, 64, 96)
    large = interpolate(x, scale_factor=times, mode="bilinear", align_corners=False)
    with torch.no_grad():
        quarter = compact.head(compact.encoder(large, []), [])
        expected = interpolate(quarter, size=(64, 96), mode="bilinear", align_corners=False)
        assert torch.allclose(closer(x), expected, atol=1e-5)


@pytest.mark.parametrize("times", [2, 3])
def test_a_magnifying_network_sees_nothing_of_what_is_invalid(compact, times):
    closer = ldmnet("compact", magnify=times).eval()
    closer.load_state_dict(compact.state_dict())
    x, valid = torch.randn(1, 3, 37, 50), torch.rand(1, 1, 37, 50) > 0.3
    with torch.no_grad():
        expected = closer(x, valid)
        strange = closer(x.masked_fill(~valid, torch.nan), valid)
    assert expected.shape == (1, 1, 37, 50) and expected.isfinite().all()
    assert torch.equal(expected, strange)


def test_a_tile_nobody_saw_is_no_error(compact):
    with torch.no_grad():
        logits = compact(torch.randn(1, 3, 32, 32), torch.zeros(1, 1, 32, 32, dtype=torch.bool))
    assert logits.isfinite().all()


def test_the_gate_follows_equations_1_to_4():
    torch.manual_seed(0)
    ffn = GFFN(channels=4, tile_invariant=False, dropout=0.0)
    nn.init.normal_(ffn.gamma)
    nn.init.normal_(ffn.beta)
    x = torch.randn(1, 3, 5, 4)
    g = x[0].pow(2).sum((0, 1)).sqrt()
    gate = ffn.c1(ffn.c2(g * g / g.sum()).clamp_min(0))
    wanted = ffn.linear(ffn.gamma * (x * gate) + ffn.beta + x)
    assert torch.allclose(ffn(x, None), wanted, atol=1e-5)


def test_only_the_tile_invariant_gate_ignores_how_large_a_uniform_tile_is():
    tile = torch.randn(1, 1, 1, 8)
    for invariant in (True, False):
        ffn = GFFN(8, invariant, 0.0)
        small, large = (ffn.pool(tile.expand(1, n, n, 8), None) for n in (4, 16))
        assert torch.allclose(small, large) == invariant


def test_every_parameter_learns():
    torch.manual_seed(0)
    network = ldmnet("compact").train()
    for module in network.modules():
        if isinstance(module, GFFN):
            nn.init.normal_(module.gamma)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    silent = [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0]
    assert silent == []


def test_a_block_drops_whole_paths_only_in_training():
    block = GVSS(16, Options(n_states=2), drop_path=1 - 1e-9)
    x = torch.randn(4, 8, 8, 16)
    assert torch.equal(block.train()(x, None), x)
    assert not torch.equal(block.eval()(x, None), x)


@pytest.mark.parametrize(
    ("tile", "sentence"),
    [
        (torch.zeros(1, 4, 32, 32), "3, h, w"),
        (torch.zeros(0, 3, 32, 32), "none of them 0"),
        (torch.full((1, 3, 32, 32), float("nan")), "NaN or infinity"),
        (torch.full((1, 3, 32, 32), float("inf")), "NaN or infinity"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.float16), "float16"),
    ],
)
def test_a_tile_that_does_not_fit_is_refused_with_the_reason(compact, tile, sentence):
    with pytest.raises(ModelError, match=sentence):
        compact(tile)


def test_an_unknown_configuration_or_option_is_refused():
    with pytest.raises(ModelError, match="full, small, tiny, compact"):
        ldmnet("huge")
    with pytest.raises(ModelError, match="'global' or 'mlp', not 'none'"):
        ldmnet("tiny", ffn="none")
    with pytest.raises(ModelError, match="depths four"):
        ldmnet("tiny", depths=(2, 2, 2))
    with pytest.raises(ModelError, match="widht"):
        ldmnet("tiny", widht=3)


def test_a_tile_without_a_valid_pixel_leaves_the_gradients_of_its_batch_finite():
    torch.manual_seed(0)
    network = ldmnet("compact")
    valid = torch.ones(2, 1, 64, 64, dtype=torch.bool)
    valid[1] = False
    network(torch.randn(2, 3, 64, 64), valid)[valid].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
