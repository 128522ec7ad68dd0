"""The Triton program behind `cuda`; imported only where Triton is. TRITON_INTERPRET=1 runs it on a CPU, for tests."""

import triton
import triton.language as tl


def sum_parts(values, indices, weights, parts, sums, lowest, highest, trim, longest):
    """Fill `sums` (n_frames, n_parts, 10); see `patterns.SUMS` for the last axis."""
    block = max(32, triton.next_power_of_2(longest))
    grid = (parts.shape[0], values.shape[0])
    _sum_part[grid](
        values,
        values.shape[1],
        indices,
        weights,
        parts,
        parts.shape[0],
        sums,
        lowest,
        highest,
        trim,
        BLOCK=block,
        num_warps=min(32, max(1, block // 512)),
    )


@triton.jit
def _ordered(key):
    """Bits of a float32 as an integer that sorts like the number."""
    bits = key.to(tl.int32, bitcast=True)
    return tl.where(bits >= 0, bits, bits ^ 0x7FFFFFFF)


@triton.jit
def _smallest_reaching(order, weight, target, strictly, low, high):
    """Smallest present key (ordered bits) whose cumulated weight exceeds (or reaches) `target`."""
    for _ in range(32):
        middle = (low & high) + ((low ^ high) >> 1)  # their mean, without overflow
        below = tl.sum(tl.where(order <= middle, weight, 0.0))
        enough = tl.where(strictly, below > target, below >= target)
        searching = low < high
        high = tl.where(searching & enough, middle, high)
        low = tl.where(searching & ~enough, middle + 1, low)
    return high


@triton.jit
def _sum_part(values, n_pixels, indices, weights, parts, n_parts, sums, lowest, highest, trim, BLOCK: tl.constexpr):
    part = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    start = tl.load(parts + 2 * part)
    stop = tl.load(parts + 2 * part + 1)
    listed = start + tl.arange(0, BLOCK)
    inside = listed < stop
    pixel = tl.load(indices + listed, mask=inside, other=0)
    value = tl.load(values + frame * n_pixels + pixel, mask=inside, other=0)
    valid = inside & (value >= lowest) & (value <= highest)
    signal = tl.where(valid, value.to(tl.float32), 0.0)
    weight = tl.where(valid, tl.load(weights + listed, mask=inside, other=1.0), 0.0)
    key = tl.where(valid, tl.div_rn(signal, tl.where(valid, weight, 1.0)), 0.0) + 0.0  # −0 becomes 0
    order = _ordered(key)

    total = tl.sum(weight.to(tl.float64))
    smallest = tl.min(tl.where(valid, order, 0x7FFFFFFF))
    largest = tl.max(tl.where(valid, order, -0x7FFFFFFF))
    weight_low = (trim / 2 * total).to(tl.float32)
    weight_high = ((1 - trim / 2) * total).to(tl.float32)
    low_order = _smallest_reaching(order, weight, weight_low, True, smallest, largest)
    high_order = _smallest_reaching(order, weight, weight_high, False, smallest, largest)
    high_order = tl.maximum(high_order, low_order)

    # Ordered bits back to the key that has them.
    low = tl.max(tl.where(valid & (order == low_order), key, -float("inf"))).to(tl.float64)
    high = tl.max(tl.where(valid & (order == high_order), key, -float("inf"))).to(tl.float64)
    weight = weight.to(tl.float64)
    between = valid & (order > low_order) & (order < high_order)
    spread = tl.where(between, key.to(tl.float64) - low, 0.0)
    kept_weight = tl.where(between, weight, 0.0)
    n_valid = tl.sum(valid.to(tl.int32))
    found = n_valid > 0
    out = sums + (frame * n_parts + part) * 10
    tl.store(out + 0, n_valid.to(tl.float64))
    tl.store(out + 1, total)
    tl.store(out + 2, tl.sum(signal.to(tl.float64)))
    tl.store(out + 3, tl.where(found, low, 0.0))
    tl.store(out + 4, tl.where(found, high, 0.0))
    tl.store(out + 5, tl.sum(tl.where(valid & (order < high_order), weight, 0.0)))
    tl.store(out + 6, tl.sum((valid & (order >= low_order) & (order <= high_order)).to(tl.int32)).to(tl.float64))
    tl.store(out + 7, tl.sum(kept_weight))
    tl.store(out + 8, tl.sum(tl.where(between, signal.to(tl.float64), 0.0)))
    tl.store(out + 9, tl.sum(kept_weight * spread * spread))
