import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from models import scan_cpu
from models import selective_scan as scans
from models.errors import ModelError
from models.selective_scan import choose, selective_scan, using

SHAPES = [  # batch, scans, channels, states, steps
    pytest.param(1, 1, 16, 1, 1, id="one step"),
    pytest.param(2, 4, 40, 5, 131, id="prime length, channels that fill no block"),
    pytest.param(1, 4, 48, 16, 64, id="exactly one chunk"),
    pytest.param(3, 2, 7, 3, 65, id="fewer channels than lanes, one step into the second chunk"),
    pytest.param(1, 1, 32, 64, 50, id="64 states"),
]


def inputs(batch: int, scans: int, channels: int, states: int, steps: int) -> list[Tensor]:
    dice = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice)

    wide = scans * channels
    rates = -4 * torch.rand(wide, states, generator=dice)
    maps = [normal(batch, scans, states, steps) for _ in range(2)]
    return [
        normal(batch, wide, steps), normal(batch, wide, steps), rates, *maps, normal(wide),
        normal(wide),
    ]  # fmt: skip


def furthest(found: Tensor, wanted: Tensor) -> float:
    """Largest difference as a share of the largest value."""
    found, wanted = found.detach().double(), wanted.detach()
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize(("batch", "scans", "channels", "states", "steps"), SHAPES)
def test_cpu_outputs_and_gradients_are_those_of_the_float64_reference(
    batch, scans, channels, states, steps
):
    given = inputs(batch, scans, channels, states, steps)
    ours = [t.clone().requires_grad_() for t in given]
    exact = [t.double().requires_grad_() for t in given]
    y, wanted = selective_scan(*ours, backend="cpu"), selective_scan(*exact, backend="reference")
    assert furthest(y, wanted) < 1e-5

    pull = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(pull)
    wanted.backward(pull.double())
    for mine, true in zip(ours, exact, strict=True):
        assert (mine.grad - true.grad).abs().max() <= 1e-4 * max(1.0, true.grad.abs().max())


def test_the_reference_passes_gradcheck():
    given = [t.double().requires_grad_() for t in inputs(2, 2, 3, 2, 5)]
    assert torch.autograd.gradcheck(selective_scan, given)


def test_inputs_need_not_be_contiguous():
    given = inputs(2, 4, 16, 8, 70)
    strided = [
        t.transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() if t.ndim > 1 else t
        for t in given
    ]
    dense = [t.clone().requires_grad_() for t in given]
    assert not strided[0].is_contiguous()
    a, b = selective_scan(*strided), selective_scan(*dense)
    assert torch.equal(a, b)
    a.square().sum().backward()
    b.square().sum().backward()
    assert torch.allclose(strided[0].grad, dense[0].grad, rtol=1e-5, atol=1e-5)


def test_a_million_steps_stay_exact():
    steps = 1_000_003
    u, delta, a, b, c, d, bias = inputs(1, 1, 1, 1, steps)
    bias -= 4  # long memory: a state decays over some fifty steps
    y = selective_scan(u, delta, a, b, c, d, bias)[0, 0]
    step = np.logaddexp(0, (delta + bias).double().numpy().ravel())
    decay = np.exp(step * float(a)).tolist()
    driven = (step * (u * b[0]).double().numpy().ravel()).tolist()
    h, states = 0.0, []
    for e, x in zip(decay, driven, strict=True):
        h = e * h + x
        states.append(h)
    wanted = torch.tensor(states, dtype=torch.float64) * c.ravel() + float(d) * u.ravel()
    assert furthest(y, wanted) < 1e-5


def test_two_threads_may_scan_at_once():
    given = inputs(2, 4, 64, 8, 500)
    alone = selective_scan(*given)
    with ThreadPoolExecutor(4) as pool:
        together = [pool.submit(selective_scan, *given) for _ in range(8)]
    assert all(torch.equal(future.result(), alone) for future in together)


def test_torch_knows_the_operator_well_enough_to_compile_it():
    u, delta, a, b, c, d, bias = inputs(1, 4, 16, 4, 20)
    order = torch.arange(20, dtype=torch.int32).expand(4, -1).contiguous()

    def pixels(t: Tensor, last: int) -> Tensor:
        return t.reshape(1, 4, last, 20).permute(0, 3, 1, 2).contiguous().requires_grad_()

    args = (
        pixels(u, 16), pixels(delta, 16), a.view(4, 16, 4), pixels(b, 4), pixels(c, 4),
        d.view(4, 16), bias.view(4, 16), order, True,
    )  # fmt: skip
    torch.library.opcheck(scan_cpu.scan, args)


def test_meta_tensors_give_shapes_without_computing():
    given = [t.to("meta") for t in inputs(2, 4, 16, 4, 100)]
    y = selective_scan(*given)
    assert y.device.type == "meta"
    assert y.shape == (2, 64, 100)


def test_nan_comes_out_where_it_went_in_and_after():
    given = inputs(1, 1, 16, 2, 40)
    given[0][0, 3, 20] = float("nan")
    y = selective_scan(*given)
    assert y[0, 3, 20:].isnan().all()
    assert not y[0, 3, :20].isnan().any()
    assert not y[0, :3].isnan().any()


def test_the_backend_follows_device_and_type_and_can_be_forced():
    assert choose(torch.zeros(1)) == "cpu"
    assert choose(torch.zeros(1, dtype=torch.float64)) == "reference"
    with using("reference"):
        assert choose(torch.zeros(1)) == "reference"
        assert choose(torch.zeros(1), "cpu") == "cpu"
    assert choose(torch.zeros(1)) == "cpu"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda g: [g[0].half(), *g[1:]], "float32"),
        (lambda g: [g[0], g[1][..., :-1], *g[2:]], "delta has shape"),
        (lambda g: [g[0][:0], g[1][:0], g[2], g[3][:0], g[4][:0], *g[5:]], "none empty"),
        (lambda g: [*g[:6], g[6][:-1]], "delta_bias has shape"),
    ],
)
def test_input_that_cannot_be_scanned_is_refused_with_the_reason(change, sentence):
    with pytest.raises(ModelError, match=sentence):
        selective_scan(*change(inputs(1, 2, 16, 2, 8)))


def test_one_input_of_another_precision_is_refused_rather_than_misread():
    u, delta, *rest = inputs(1, 1, 16, 2, 8)
    with pytest.raises(ModelError, match="float32 throughout"):
        selective_scan(u, delta.double(), *rest, backend="cpu")


@pytest.mark.parametrize(("backend", "sentence"), [("mamba", "on CUDA"), ("gpu", "no scan")])
def test_a_backend_that_is_not_there_is_refused(backend, sentence):
    with pytest.raises(ModelError, match=sentence):
        selective_scan(*inputs(1, 1, 16, 1, 4), backend=backend)


STAND_IN = """
import torch
from models.selective_scan import selective_scan

def selective_scan_fn(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False,
    return_last_state=False, cu_seqlens=None,
):
    assert {t.dtype for t in (u, delta, A, B, C, D, delta_bias)} == {torch.float32}
    assert B.shape[:2] == C.shape[:2] == (u.shape[0], A.shape[0] // (A.shape[0] // B.shape[1]))
    assert delta_bias.stride(-1) == 1 and z is None and delta_softplus
    return selective_scan(u, delta, A, B, C, D, delta_bias, backend="reference")
"""


@pytest.fixture
def mamba_ssm(tmp_path, monkeypatch):
    """Install a package of that name: a stand-in that refuses what the CUDA extension refuses.

    No CUDA compiler is here; the arithmetic is the reference's.
    """

    def install(interface: str) -> None:
        folder = tmp_path / "mamba_ssm" / "ops"
        folder.mkdir(parents=True)
        (folder / "selective_scan_interface.py").write_text(interface)

    monkeypatch.syspath_prepend(tmp_path)
    scans._mamba_missing.cache_clear()
    scans._say_once.cache_clear()
    yield install
    scans._mamba_missing.cache_clear()
    scans._say_once.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "mamba_ssm"]:
        del sys.modules[name]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mamba_is_called_by_its_contract_and_answers_in_the_type_of_the_input(mamba_ssm, dtype):
    mamba_ssm(STAND_IN)
    given = inputs(2, 4, 8, 3, 20)
    wanted = selective_scan(*given, backend="reference")
    strided = torch.stack([given[-1], given[-1]], 1)[:, 0]
    y = scans._mamba(*(t.to(dtype) for t in given[:-1]), strided)
    assert y.dtype == dtype
    assert furthest(y, wanted) < (1e-6 if dtype == torch.float32 else 0.1)


def test_a_cuda_tensor_takes_mamba_where_it_imports_and_the_reference_for_float64(mamba_ssm):
    mamba_ssm(STAND_IN)
    with FakeTensorMode():
        assert choose(torch.empty(1, device="cuda")) == "mamba"
        assert choose(torch.empty(1, device="cuda", dtype=torch.float64)) == "reference"
        with pytest.raises(ModelError, match="not torch.float64 on cuda"):
            choose(torch.empty(1, device="cuda", dtype=torch.float64), "mamba")


def test_a_mamba_built_for_another_cuda_is_passed_over_with_its_reason(mamba_ssm, caplog):
    mamba_ssm("raise ImportError('libcudart.so.11.0: cannot open shared object file')")
    with FakeTensorMode():
        assert choose(torch.empty(1, device="cuda")) == "reference"
        assert "libcudart.so.11.0" in caplog.text
        with pytest.raises(ModelError, match=r"libcudart.*--no-build-isolation 'scarp\[mamba\]'"):
            choose(torch.empty(1, device="cuda"), "mamba")
