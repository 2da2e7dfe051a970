"""Sixteen floats as one numba value, so that a kernel's inner loop is what the CPU executes.

Numba leaves short loops over small arrays to LLVM's vectoriser, which gives up when it cannot
prove that the arrays do not overlap; that cost the scan a factor of ten. `Lanes` lowers to LLVM's
`<16 x float>`: one AVX-512 register, two of AVX2, four of NEON. Arrays must be float32 and
contiguous along their last axis.

Numba's disk cache watches the file of the outermost kernel alone: after a change here, touch
`scan_kernels.py`, or the old code runs on.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, overload, register_model

LANES = 16

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_VECTOR, _WHOLE = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)


class Lanes(types.Type):
    """Numba's type of a `<16 x float>`."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


lanes = Lanes()
kernel = njit(nogil=True, cache=True, error_model="numpy")


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [float(np.float32(value))] * LANES)


def _call(builder: Any, name: str, *args: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    function = builder.module.declare_intrinsic(f"{name}.v{LANES}f32", (), kind)
    return builder.call(function, args)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load(context: Any, array: Any, index: Any) -> Any:
    """array[index : index + 16] of a one-dimensional float32 array; bounds are the caller's."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load(pointer, align=4)

    return lanes(array, types.intp), generate


@intrinsic
def store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + 16] = value; bounds are the caller's."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def splat(context: Any, value: Any) -> Any:
    """The same float32 in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), args[0], _INT(0))
        mask = ir.Constant(_WHOLE, [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)

    return lanes(types.float32), generate


@intrinsic
def total(context: Any, x: Any) -> Any:
    """Sum of the lanes, pairwise."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, undefined = args[0], ir.Constant(_VECTOR, ir.Undefined)
        for half in (8, 4, 2, 1):
            mask = ir.Constant(_WHOLE, [(i + half) % LANES for i in range(LANES)])
            x = builder.fadd(x, builder.shuffle_vector(x, undefined, mask))
        return builder.extract_element(x, _INT(0))

    return types.float32(lanes), generate


@intrinsic
def fma(context: Any, x: Any, y: Any, z: Any) -> Any:
    """Multiply and add, x·y + z, with one rounding."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "llvm.fma", *args)

    return lanes(lanes, lanes, lanes), generate


@intrinsic
def exp2(context: Any, x: Any) -> Any:
    """2**x for x < 127, as 2**n · (1 + f·q(f)) with n = rint(x), |f| ≤ 1/2.

    Relative error 4e-7, exactly 1 at 0; below -126 it stays there, so that no subnormals arise,
    and a NaN stays a NaN. The coefficients of q minimise the largest relative error. Adding
    1.5 · 2**23 + 127 rounds x and leaves n + 127, the exponent, in the lowest bits.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, lowest, magic = args[0], _constant(-126.0), _constant(1.5 * 2**23 + 127)
        x = builder.select(builder.fcmp_ordered("<", x, lowest), lowest, x)
        shifted = builder.fadd(x, magic)
        f = builder.fsub(x, builder.fsub(shifted, magic))
        q = _constant(1.30597e-3)
        for coefficient in (9.66316e-3, 5.551093e-2, 2.4022394e-1, 6.931470e-1):
            q = _call(builder, "llvm.fma", q, f, _constant(coefficient))
        bits = builder.bitcast(shifted, _WHOLE)
        scale = builder.bitcast(builder.shl(bits, ir.Constant(_WHOLE, [23] * LANES)), _VECTOR)
        return _call(builder, "llvm.fma", builder.fmul(scale, f), q, scale)

    return lanes(lanes), generate


@intrinsic
def positive(context: Any, x: Any) -> Any:
    """max(x, 0), lane by lane; a NaN stays a NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = _constant(0.0)
        return builder.select(builder.fcmp_ordered("<", args[0], zero), zero, args[0])

    return lanes(lanes), generate


@intrinsic
def where_negative(context: Any, x: Any, yes: Any, no: Any) -> Any:
    """`yes` in the lanes where x < 0, `no` elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], _constant(0.0)), *args[1:])

    return lanes(lanes, lanes, lanes), generate


@intrinsic
def absolute(context: Any, x: Any) -> Any:
    """The magnitude, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "llvm.fabs", args[0])

    return lanes(lanes), generate


def _binary(operation: Any, instruction: str) -> None:
    @intrinsic
    def apply(context: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

        return lanes(lanes, lanes), generate

    @overload(operation)
    def _(x, y):  # unannotated: numba compares signatures, annotations included
        if isinstance(x, Lanes) and isinstance(y, Lanes):
            return lambda x, y: apply(x, y)
        return None


_binary(operator.add, "fadd")
_binary(operator.sub, "fsub")
_binary(operator.mul, "fmul")
_binary(operator.truediv, "fdiv")


@kernel
def softplus(x: Any) -> Any:
    """log(1 + e**x) = max(x, 0) + 2·atanh(z / (2 + z)) with z = e**-|x|, without cancellation."""
    z = exp2(absolute(x) * splat(np.float32(-1.4426950408889634)))
    s = z / (z + splat(np.float32(2.0)))
    s2 = s * s
    p = fma(splat(np.float32(1 / 13)), s2, splat(np.float32(1 / 11)))
    p = fma(p, s2, splat(np.float32(1 / 9)))
    p = fma(p, s2, splat(np.float32(1 / 7)))
    p = fma(p, s2, splat(np.float32(1 / 5)))
    p = fma(p, s2, splat(np.float32(1 / 3)))
    p = fma(p, s2, splat(np.float32(1.0)))
    return fma(s + s, p, positive(x))


@kernel
def sigmoid(x: Any) -> Any:
    """1 / (1 + e**-x), from e**-|x| so that nothing overflows."""
    z = exp2(absolute(x) * splat(np.float32(-1.4426950408889634)))
    one = splat(np.float32(1.0))
    return where_negative(x, z, one) / (z + one)
