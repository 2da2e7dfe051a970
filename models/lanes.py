"""Sixteen floats, or four times sixteen, as one numba value: the inner loop as the CPU executes it.

Numba leaves short loops over small arrays to LLVM's vectoriser, which gives up when it cannot
prove that the arrays do not overlap; that cost the scan a factor of ten. `Lanes` lowers to LLVM's
`<16 x float>`: one AVX-512 register, two of AVX2, four of NEON. A `Quad` is four of them abreast:
a CPU waits four cycles for each step of a polynomial, and does the other three meanwhile. Arrays
must be float32 and contiguous along their last axis.

Numba's disk cache watches the file of the outermost kernel alone: after a change here, touch
`scan_kernels.py`, or the old code runs on.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
QUAD = 4 * LANES

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)


class Lanes(types.Type):
    """Numba's type of a `<width x float>`."""

    def __init__(self, width: int) -> None:
        super().__init__(name=f"Lanes({width})")
        self.width = width


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(_FLOAT, kind.width))


lanes, quad = Lanes(LANES), Lanes(QUAD)
_AVX512 = get_host_cpu_features().get("avx512dq", False)
kernel = njit(nogil=True, cache=True, error_model="numpy")

_LOG1P = tuple(
    np.float32(c)
    for c in (
        5.23266895e-3, -2.95051374e-2, 7.82257840e-2, -1.36632323e-1, 1.91060007e-1,
        -2.48429805e-1, 3.33190978e-1, -4.99994934e-1, 9.9999994e-1,
    )
)  # fmt: skip


def _like(x: Any, value: float) -> ir.Constant:
    """`value` in every lane of a vector as wide as `x`."""
    return ir.Constant(x.type, [float(np.float32(value))] * x.type.count)


def _whole(values: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INT, len(values)), values)


def _shuffle(builder: Any, x: Any, y: Any, picked: list[int]) -> Any:
    return builder.shuffle_vector(x, y, _whole(picked))


def _broadcast(builder: Any, value: Any, width: int) -> Any:
    undefined = ir.Constant(ir.VectorType(_FLOAT, width), ir.Undefined)
    one = builder.insert_element(undefined, value, _INT(0))
    return _shuffle(builder, one, undefined, [0] * width)


def _call(builder: Any, name: str, *args: Any) -> Any:
    vector = args[0].type
    kind = ir.FunctionType(vector, [vector] * len(args))
    function = builder.module.declare_intrinsic(f"{name}.v{vector.count}f32", (), kind)
    return builder.call(function, args)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, width: int) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    vector = ir.VectorType(_FLOAT, width)
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _loader(kind: Lanes) -> Any:
    @intrinsic
    def load(context: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _pointer(context, builder, signature.args[0], *args, kind.width)
            return builder.load(pointer, align=4)

        return kind(array, types.intp), generate

    return load


load = _loader(lanes)  # array[index : index + 16] of a row of float32; bounds are the caller's
load_quad = _loader(quad)  # array[index : index + 64]


@intrinsic
def store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + width] = value; bounds are the caller's."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, width = signature.args[0], signature.args[2].width
        pointer = _pointer(context, builder, kind, args[0], args[1], width)
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def splat(context: Any, value: Any) -> Any:
    """The same float32 in all sixteen lanes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _broadcast(builder, args[0], LANES)

    return lanes(types.float32), generate


@intrinsic
def full(context: Any, x: Any, value: Any) -> Any:
    """The same float32 in every lane of a value as wide as `x`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _broadcast(builder, args[1], args[0].type.count)

    return x(x, types.float32), generate


@intrinsic
def spread(context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """One float32 for each sixteen lanes of a quad."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _concatenate(builder, *(_broadcast(builder, value, LANES) for value in args))

    return quad(*[types.float32] * 4), generate


@intrinsic
def repeat(context: Any, x: Any) -> Any:
    """The same sixteen lanes four times."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _shuffle(builder, args[0], args[0], [i % LANES for i in range(QUAD)])

    return quad(lanes), generate


def _concatenate(builder: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    pair = list(range(2 * LANES))
    low, high = _shuffle(builder, a, b, pair), _shuffle(builder, c, d, pair)
    return _shuffle(builder, low, high, list(range(QUAD)))


@intrinsic
def fold(context: Any, x: Any) -> Any:
    """Sum of the four sixteens of a quad."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, c, d = (_part(builder, args[0], i) for i in range(4))
        return builder.fadd(builder.fadd(a, b), builder.fadd(c, d))

    return lanes(quad), generate


@intrinsic
def total(context: Any, x: Any) -> Any:
    """Sum of the sixteen lanes, pairwise."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = args[0]
        for half in (8, 4, 2, 1):
            turned = _shuffle(builder, x, x, [(i + half) % LANES for i in range(LANES)])
            x = builder.fadd(x, turned)
        return builder.extract_element(x, _INT(0))

    return types.float32(lanes), generate


@intrinsic
def fma(context: Any, x: Any, y: Any, z: Any) -> Any:
    """Multiply and add, x·y + z, with one rounding."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "llvm.fma", *args)

    return x(x, y, z), generate


@intrinsic
def exp2(context: Any, x: Any, y: Any) -> Any:
    """2**(x·y) for x·y < 127, as 2**n · (1 + f·q(f)) with n = rint(x·y), |f| ≤ 1/2.

    Relative error 4e-7, exactly 1 at 0. The coefficients of q minimise the largest relative error.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        split, scale = (_split_avx512, _scale_avx512) if _AVX512 else (_split, _scale)
        f, n = split(builder, *args)
        power = _like(f, 1.30597e-3)
        for coefficient in (9.66316e-3, 5.551093e-2, 2.4022394e-1, 6.931470e-1, 1.0):
            power = _call(builder, "llvm.fma", power, f, _like(f, coefficient))
        return scale(builder, power, n)

    return x(x, y), generate


def _split(builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """f, and n where `_scale` wants it: adding 1.5 · 2**23 rounds x·y, n is in the lowest bits."""
    magic = _like(x, 1.5 * 2**23)
    shifted = _call(builder, "llvm.fma", x, y, magic)
    return _call(builder, "llvm.fma", x, y, builder.fsub(magic, shifted)), shifted


def _scale(builder: Any, power: Any, shifted: Any) -> Any:
    """2**n · power by adding n to its exponent; 0 where that would not be a normal number."""
    shift = _whole([23] * power.type.count)
    n = builder.shl(builder.bitcast(shifted, shift.type), shift)
    scaled = builder.add(builder.bitcast(power, shift.type), n)
    normal = builder.fcmp_unordered(">=", shifted, _like(power, 1.5 * 2**23 - 126))
    return builder.select(normal, builder.bitcast(scaled, power.type), _like(power, 0.0))


def _split_avx512(builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    product = builder.fmul(x, y)
    nearest = ir.Constant(_INT, 0)
    f = _by_register(builder, "reduce", [product], [nearest])
    return f, builder.fsub(product, f)


def _scale_avx512(builder: Any, power: Any, n: Any) -> Any:
    return _by_register(builder, "scalef", [power, n], [])


def _by_register(builder: Any, name: str, vectors: list[Any], more: list[Any]) -> Any:
    """Apply an AVX-512 instruction that LLVM has for single registers only."""
    register, bits = ir.VectorType(_FLOAT, LANES), ir.IntType(16)
    rest = [ir.Constant(register, None), bits(-1), _INT(4)]  # no old value, no lane masked, round
    kinds = [register] * len(vectors) + [m.type for m in more] + [r.type for r in rest]
    kind = ir.FunctionType(register, kinds)
    function = cgutils.get_or_insert_function(
        builder.module, kind, f"llvm.x86.avx512.mask.{name}.ps.512"
    )
    parts = [
        builder.call(function, [_part(builder, v, i) for v in vectors] + more + rest)
        for i in range(vectors[0].type.count // LANES)
    ]
    return parts[0] if len(parts) == 1 else _concatenate(builder, *parts)


def _part(builder: Any, x: Any, i: int) -> Any:
    """The i-th sixteen lanes of a quad."""
    return _shuffle(builder, x, x, list(range(i * LANES, (i + 1) * LANES)))


@intrinsic
def positive(context: Any, x: Any) -> Any:
    """max(x, 0), lane by lane; a NaN stays a NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = _like(args[0], 0.0)
        return builder.select(builder.fcmp_ordered("<", args[0], zero), zero, args[0])

    return x(x), generate


@intrinsic
def where_negative(context: Any, x: Any, yes: Any, no: Any) -> Any:
    """`yes` in the lanes where x < 0, `no` elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        negative = builder.fcmp_ordered("<", args[0], _like(args[0], 0.0))
        return builder.select(negative, *args[1:])

    return x(x, yes, no), generate


@intrinsic
def absolute(context: Any, x: Any) -> Any:
    """The magnitude, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "llvm.fabs", args[0])

    return x(x), generate


def _binary(operation: Any, instruction: str) -> None:
    @intrinsic
    def apply(context: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

        return x(x, y), generate

    @overload(operation)
    def _(x, y):  # unannotated: numba compares signatures, annotations included
        if isinstance(x, Lanes) and x == y:
            return lambda x, y: apply(x, y)
        return None


_binary(operator.add, "fadd")
_binary(operator.sub, "fsub")
_binary(operator.mul, "fmul")
_binary(operator.truediv, "fdiv")


@kernel
def _horner(x: Any, coefficients: Any) -> Any:
    """The polynomial with these coefficients, the highest power's first."""
    sum_ = full(x, coefficients[0])
    for i in range(1, len(coefficients)):
        sum_ = fma(sum_, x, full(x, coefficients[i]))
    return sum_


@kernel
def softplus(x: Any) -> Any:
    """log(1 + e**x) = max(x, 0) + log(1 + z) with z = e**-|x|, without cancellation.

    log(1 + z) is z times a polynomial whose largest relative error on 0..1 is smallest, 3e-8.
    """
    z = exp2(absolute(x), full(x, np.float32(-1.4426950408889634)))
    return fma(z, _horner(z, _LOG1P), positive(x))


@kernel
def sigmoid(x: Any) -> Any:
    """1 / (1 + e**-x), from e**-|x| so that nothing overflows."""
    z = exp2(absolute(x), full(x, np.float32(-1.4426950408889634)))
    one = full(x, np.float32(1.0))
    return where_negative(x, z, one) / (z + one)
