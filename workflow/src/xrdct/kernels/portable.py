"""The trimmed mean without sorting, compiled by numba: runs wherever numba does. `native.c` is the same method in C.

Per bin: (1) gather the valid pixels; (2) from 64 of them guess a bracket of keys around each cut; (3) keep what lies
inside a bracket, sum the weight below it; (4) search the cut inside by regula falsi on the cumulated weight, every
trial snapping to keys that exist; (5) one pass for the sums between the cuts. A wrong bracket is noticed by its sums
and the whole bin searched instead, so the guess costs time and never changes the result.

Counts below 2^24 and float32 weights within a factor of 256 are summed without rounding in float64. The sums then
depend on no order, which is what makes results equal to the bit for any backend, vector length and number of threads.
"""

import numba
import numba.extending
import numpy as np
from llvmlite import ir
from numba.core import cgutils

SAMPLE = 64
LOOK_AHEAD = 128
"""How many pixels ahead of its use a frame's memory is asked for: the frame is read in the order of the bins, and
waiting for it would double the cost of a frame."""
LARGEST = np.float32(np.finfo(np.float32).max)
ZERO = np.float32(0)
MANTISSA_AND_EXPONENT = np.int32(0x7FFFFFFF)
LOWEST_RANK, HIGHEST_RANK = np.int32(-(2**31)), np.int32(2**31 - 1)


@numba.extending.intrinsic
def prefetch(typing_context, array, index):
    """Ask for the memory of ``array[index]`` without waiting for it."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [address.type, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        builder.call(function, [address, flag(0), flag(3), flag(1)])  # to read, keep in all caches, data
        return context.get_dummy_value()

    return numba.types.void(array, index), generate


# No reordering here: keys must be rounded as in C, and NaN must fail the range test.
exact = numba.njit(cache=True, nogil=True, error_model="numpy")
# Sums may be reordered to use vector registers; there is nothing to round (see above) and no NaN left.
summing = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "nnan"})


@exact
def sum_frame(frame, lowest, highest, indices, edges, weights, trim, sums):
    """Sums of one frame, single-threaded, the GIL released.

    Parameters
    ----------
    frame
        Flat frame, any integer or float type.
    lowest, highest
        Range of valid values, both inclusive.
    indices, weights
        Flat pixel and float32 weight of every listed pixel, sorted by bin, then group; `indices` goes on for
        `LOOK_AHEAD` more, any pixels.
    edges
        Shape (n_bins, 1 + n_groups) for n_groups > 1, else (n_bins, 2): where a bin's groups begin, and its end.
    trim
        Share of the weight that is cut off, both tails together.
    sums
        Result, float64, shape (n_bins, 1 + n_groups, 10), groups only where there are several; see `patterns.SUMS`.
    """
    n_bins, n_parts = edges.shape[0], edges.shape[1] - 1
    longest = 1
    for b in range(n_bins):
        longest = max(longest, edges[b, n_parts] - edges[b, 0])
    signal, weight, key = np.empty(longest, np.float32), np.empty(longest, np.float32), np.empty(longest, np.float32)
    ranks, weights_inside = np.empty(longest, np.int32), np.empty(longest, np.float32)
    start = np.zeros(n_parts + 1, np.int64)
    for b in range(n_bins):
        for part in range(n_parts):
            begin, end, free = edges[b, part], edges[b, part + 1], slice(start[part], longest)
            n = _gather(frame, lowest, highest, indices, weights, begin, end, signal[free], weight[free])
            start[part + 1] = start[part] + n
        n = start[n_parts]
        for i in range(n):
            key[i] = signal[i] / weight[i] + ZERO  # -0 becomes 0: they are one key
        _sum_part(signal[:n], weight[:n], key[:n], trim, ranks, weights_inside, sums[b, 0])
        if n_parts > 1:
            for part in range(n_parts):
                own = slice(start[part], start[part + 1])
                _sum_part(signal[own], weight[own], key[own], trim, ranks, weights_inside, sums[b, 1 + part])


@exact
def _gather(frame, lowest, highest, indices, weights, begin, end, signal, weight):
    """Copy the valid pixels of table rows begin ... end - 1 and their weights; their number."""
    n = 0
    for i in range(begin, end):
        prefetch(frame, indices[i + LOOK_AHEAD])
        value = frame[indices[i]]
        signal[n] = value
        weight[n] = weights[i]
        n += (value >= lowest) & (value <= highest)
    return n


@exact
def _sum_part(signal, weight, key, trim, ranks, weights, sums):
    """Fill `sums` for one bin or group."""
    n = len(key)
    sums[:] = 0.0
    if n == 0:
        return
    total, total_signal = _sum(weight), _sum(signal)
    low_target = trim / 2 * total
    # The upper cut is the largest key with LESS than this weight below it, the lower one with at most its target.
    high_target = np.nextafter((1 - trim / 2) * total, 0.0)
    brackets = _brackets(key, trim / 2)
    low, _ = _cut(key, weight, brackets[0], brackets[1], low_target, ranks, weights)
    high, below_high = _cut(key, weight, brackets[2], brackets[3], high_target, ranks, weights)
    sums[0], sums[1], sums[2] = n, total, total_signal
    sums[3], sums[4], sums[5] = low, high, below_high
    sums[6], sums[7], sums[8], sums[9] = _sums_between(signal, weight, key, low, high)


@summing
def _sum(values):
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total


@exact
def _brackets(key, share):
    """Keys that hold the lower and the upper cut between them, at about two standard deviations of a sample."""
    n = len(key)
    if n <= 4 * SAMPLE:
        return -LARGEST, LARGEST, -LARGEST, LARGEST
    sample = np.empty(SAMPLE, np.float32)
    for i in range(SAMPLE):
        sample[i] = key[i * n // SAMPLE]
    sample.sort()
    margin = 2 * np.sqrt(share * (1 - share) * SAMPLE) + 1
    lower, upper = share * SAMPLE, (1 - share) * SAMPLE
    return (
        _ranked(sample, np.floor(lower - margin)),
        _ranked(sample, np.ceil(lower + margin)),
        _ranked(sample, np.floor(upper - margin)),
        _ranked(sample, np.ceil(upper + margin)),
    )


@exact
def _ranked(sample, rank):
    if rank < 0:
        return -LARGEST
    return sample[int(rank)] if rank < SAMPLE else LARGEST


@exact
def _cut(key, weight, low, high, target, ranks, weights):
    """Largest key with at most `target` of weight below it, and that weight; looked for in low <= key <= high first."""
    below = _weight_below(key, weight, low)
    n = _inside(key, weight, low, high, ranks, weights)
    if below > target or below + _sum(weights[:n]) <= target:
        below = 0.0
        n = _inside(key, weight, -LARGEST, LARGEST, ranks, weights)
    return _search(ranks[:n], weights[:n], below, target)


@exact
def _inside(key, weight, low, high, ranks, weights):
    """Copy the keys from low to high, as integers that sort like them, and their weights; their number."""
    bits = key.view(np.int32)
    n = np.uint64(0)
    for i in range(len(key)):
        ranks[n] = bits[i]
        weights[n] = weight[i]
        n += np.uint64((key[i] >= low) & (key[i] <= high))
    for i in range(n):
        ranks[i] ^= (ranks[i] >> 31) & MANTISSA_AND_EXPONENT
    return n


@summing
def _weight_below(key, weight, limit):
    total = 0.0
    for i in range(len(key)):
        total += weight[i] if key[i] < limit else ZERO
    return total


@exact
def _search(rank, weight, base, target):
    """Largest key with base + (weight of smaller keys) <= target, and that weight; base <= target < base + all."""
    low, high = _extremes(rank)
    below, above = base, base + _sum(weight)
    trial = 0
    while low < high:
        trial += 1
        # Every third trial halves the interval: regula falsi alone creeps where keys are unevenly spread.
        step = (target - below) / (above - below) if trial % 3 else 0.5
        limit = np.int32(min(max(np.int64(low + (high - low) * step), low + 1), high))
        weight_under, largest_under, smallest_over = _split(rank, weight, limit)
        under = base + weight_under
        if under <= target:
            low, below = smallest_over, under
        else:
            high, above = largest_under, under
    return _key_of(low), below


@exact
def _key_of(rank):
    bits = np.empty(1, np.int32)
    bits[0] = rank ^ ((rank >> 31) & MANTISSA_AND_EXPONENT)
    return bits.view(np.float32)[0]


@summing
def _extremes(rank):
    low, high = rank[0], rank[0]
    for i in range(len(rank)):
        low = min(low, rank[i])
        high = max(high, rank[i])
    return np.int64(low), np.int64(high)


@summing
def _split(rank, weight, limit):
    """Weight of the keys < limit, the largest of them, and the smallest of the others."""
    under, largest_under, smallest_over = 0.0, LOWEST_RANK, HIGHEST_RANK
    for i in range(len(rank)):
        is_under = rank[i] < limit
        under += weight[i] if is_under else ZERO
        largest_under = max(largest_under, rank[i] if is_under else LOWEST_RANK)
        smallest_over = min(smallest_over, HIGHEST_RANK if is_under else rank[i])
    return under, np.int64(largest_under), np.int64(smallest_over)


@summing
def _sums_between(signal, weight, key, low, high):
    """Number of low <= key <= high; weight, signal and sum of weight (key - low)² over low < key < high."""
    n, total, total_signal, square = 0, 0.0, 0.0, 0.0
    for i in range(len(key)):
        n += (key[i] >= low) & (key[i] <= high)
        inside = (key[i] > low) & (key[i] < high)
        distance = key[i] - low
        total += weight[i] if inside else ZERO
        total_signal += signal[i] if inside else ZERO
        square += weight[i] * distance * distance if inside else ZERO
    return n, total, total_signal, square
