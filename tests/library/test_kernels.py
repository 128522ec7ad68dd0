"""The trimmed-mean kernels against a float64 sort (`kernels.reference`), scipy, closed forms, and themselves."""

import pickle
import platform
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from xrdct.errors import GeometryError, RawDataError
from xrdct.kernels import TrimmedMean, azimuthal_groups, native, portable, reference
from xrdct.kernels.patterns import PIXEL_TYPES, SUMS, valid_range

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float32", "float64"]
TRIMS = [0.0, 0.1, 0.2, 0.4]
EXACT = 1e-6
"""The mark: relative to the reference, or to 1e-3 counts where the reference is smaller. Keys are float32 (6e-8)."""


def relative(found, expected):
    """Largest |found − expected| / max(|expected|, 1e-3); NaN must stand at the same places."""
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    return np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1e-3), where=np.isfinite(expected), initial=0)


def table(rng, n_pixels, sizes, spread=0.05):
    """A pixel table with bins of the given sizes, pixels drawn without repetition, weights about 0.9."""
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    indices = rng.permutation(n_pixels)[: indptr[-1]].astype(np.int32)
    weights = (0.9 * (1 + spread * rng.uniform(-1, 1, indptr[-1]))).astype(np.float32)
    return indices, indptr, weights


def assert_equal_to_reference(frames, table, *, trim, invalid_above=None, backend):
    found = TrimmedMean(*table, trim=trim, backend=backend)(frames, invalid_above)
    expected = reference.trimmed_mean(frames, *table, trim=trim, invalid_above=invalid_above)
    assert relative(found.intensity, expected.intensity) <= EXACT
    assert relative(found.mean, expected.mean) <= EXACT
    # The error is a difference of squares of keys that are rounded to 6e-8 of the value.
    assert relative(found.sem, expected.sem) <= 1e-5 or np.nanmax(np.abs(found.sem - expected.sem)) <= 1e-5
    # Two keys that float64 tells apart may be one in float32, so a cut may count one pixel more or less.
    assert np.max(np.abs(found.kept - expected.kept), initial=0) <= 1


@pytest.fixture(params=["numba", "native"])
def backend(request):
    if request.param == "native" and native.library() is None:
        pytest.skip("no C compiler on this machine")
    return request.param


@pytest.mark.parametrize("trim", TRIMS)
@pytest.mark.parametrize("counts", [0.1, 1.2, 12, 370, 1e5])
def test_equal_to_a_float64_sort_at_every_count_level(backend, trim, counts):
    rng = np.random.default_rng(1)
    frames = rng.poisson(counts, (2, 100, 100)).astype(np.int32)
    frames[0, rng.integers(0, 100, 30), rng.integers(0, 100, 30)] = 500_000  # spots and hot pixels
    sizes = [0, 1, 2, 3, 10, 255, 256, 257, 1000, 3000, 0, 5]
    assert_equal_to_reference(frames, table(rng, 10_000, sizes), trim=trim, backend=backend)


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_every_pixel_type_gives_the_reference_and_leaves_its_invalid_codes_out(backend, dtype):
    rng = np.random.default_rng(2)
    kind = np.dtype(dtype)
    frames = rng.poisson(30, (2, 40, 50)).astype(kind)
    frames[1, 3:5] = {"i": -1, "u": np.iinfo(kind).max if kind.kind == "u" else 0, "f": np.nan}[kind.kind]
    frames[:, 10] = 100
    assert_equal_to_reference(
        frames, table(rng, 2000, [900, 0, 40, 1, 1000]), trim=0.2, invalid_above=100, backend=backend
    )


def test_invalid_pixels_change_nothing_however_they_are_marked(backend):
    rng = np.random.default_rng(3)
    counts = rng.poisson(20, (1, 50, 50))
    bad = rng.random(counts.shape) < 0.1
    own = table(rng, 2500, [1200, 1000, 300])
    kernel = TrimmedMean(*own, trim=0.2, backend=backend)
    marked = {
        "gap": np.where(bad, -1, counts).astype(np.int32),
        "bad": np.where(bad, -2, counts).astype(np.int16),
        "u16": np.where(bad, 65535, counts).astype(np.uint16),
        "u32": np.where(bad, 2**32 - 1, counts).astype(np.uint32),
        "nan": np.where(bad, np.nan, counts).astype(np.float32),
        "inf": np.where(bad, np.inf, counts),
        "saturated": np.where(bad, 10_000, counts),
    }
    indices, indptr, weights = own
    keep = ~bad.ravel()[indices]
    without = indices[keep], np.concatenate([[0], np.cumsum(keep)])[indptr], weights[keep]
    expected = TrimmedMean(*without, trim=0.2, backend=backend)(counts)
    for name, frames in marked.items():
        found = kernel(frames, 10_000 if name == "saturated" else None)
        for quantity in ("intensity", "sem", "mean", "kept"):
            assert np.array_equal(getattr(found, quantity), getattr(expected, quantity)), (name, quantity)


def test_a_frame_without_a_valid_pixel_is_nan(backend):
    own = table(np.random.default_rng(4), 100, [50, 30])
    found = TrimmedMean(*own, trim=0.2, backend=backend)(np.full((1, 10, 10), -1, np.int32))
    assert all(np.isnan(part).all() for part in (found.intensity, found.sem, found.mean))
    assert not found.kept.any()


def test_a_bin_of_one_pixel_is_that_pixel_without_an_error(backend):
    frames = np.arange(12, dtype=np.int32).reshape(1, 3, 4)
    found = TrimmedMean([7, 3], [0, 1, 2], np.float32([0.5, 0.25]), trim=0.4, backend=backend)(frames)
    assert found.intensity[0] == pytest.approx([14.0, 12.0], rel=1e-15)
    assert found.kept.tolist() == [[1, 1]]
    assert np.isnan(found.sem).all()


@pytest.mark.parametrize("trim", TRIMS)
def test_equal_weights_give_the_trimmed_mean_of_scipy(backend, trim):
    """With n·trim/2 a whole number no pixel straddles a cut, and scipy cuts the same pixels."""
    counts = np.random.default_rng(5).poisson(8, 2000)
    kernel = TrimmedMean(np.arange(2000), [0, 2000], np.ones(2000, np.float32), trim=trim, backend=backend)
    found = kernel(counts.reshape(1, 40, 50))
    # Both sums are exact; what is left is the rounding of (1 - trim) and of the division.
    assert found.intensity[0, 0] == pytest.approx(stats.trim_mean(counts, trim / 2), rel=1e-14)
    winsorised = np.asarray(stats.mstats.winsorize(counts, (trim / 2, trim / 2)))
    assert found.sem[0, 0] == pytest.approx(stats.sem(winsorised) / (1 - trim), rel=1e-6)


def test_the_order_of_the_pixels_in_a_bin_changes_nothing(backend):
    rng = np.random.default_rng(6)
    frames = rng.poisson(1.0, (1, 60, 60))  # a third of all keys is 0: ties at the lower cut
    indices, indptr, weights = table(rng, 3600, [3000, 600], spread=0.3)
    shuffled = np.concatenate([rng.permutation(3000), 3000 + rng.permutation(600)])
    one = TrimmedMean(indices, indptr, weights, trim=0.4, backend=backend)(frames)
    other = TrimmedMean(indices[shuffled], indptr, weights[shuffled], trim=0.4, backend=backend)(frames)
    assert np.array_equal(one.intensity, other.intensity)


def test_results_are_the_same_to_the_bit_for_any_number_of_threads(backend):
    rng = np.random.default_rng(7)
    frames = rng.poisson(15, (16, 80, 80)).astype(np.uint16)
    kernel = TrimmedMean(*table(rng, 6400, [3000, 200, 3200]), trim=0.2, backend=backend)
    alone = kernel(frames)
    with ThreadPoolExecutor(4) as pool:
        for width in (1, 3):
            parts = list(pool.map(kernel, [frames[i : i + width] for i in range(0, 16, width)]))
            for quantity in ("intensity", "sem", "mean", "kept"):
                together = np.concatenate([getattr(part, quantity) for part in parts])
                assert np.array_equal(together, getattr(alone, quantity))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 700),
    trim=st.floats(0, 0.9),
    largest=st.sampled_from([0, 1, 3, 50, 1000, 2**20]),
    weights=st.sampled_from(["one", "halves", "near", "wide"]),
    invalid=st.sampled_from([0, 0.02, 0.5, 1]),
)
def test_equal_to_the_reference_whatever_the_bin_holds(backend, seed, n, trim, largest, weights, invalid):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, largest + 1, (1, 1, n)).astype(np.int32)
    frames[rng.random(frames.shape) < invalid] = -1
    weight = {
        "one": np.ones(n),
        "halves": rng.choice([0.5, 1.0], n),  # exact ties between different counts
        "near": rng.uniform(0.95, 1, n),
        "wide": rng.uniform(0.05, 1, n),
    }[weights].astype(np.float32)
    own = rng.permutation(n).astype(np.int32), np.array([0, n // 2, n]), weight
    assert_equal_to_reference(frames, own, trim=trim, backend=backend)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 700), scale=st.sampled_from([1e-3, 1.0, 1e6]))
def test_floats_of_either_sign_give_the_reference(backend, seed, n, scale):
    rng = np.random.default_rng(seed)
    frames = (scale * (3 + rng.standard_t(2, (1, 1, n)))).astype(np.float32)
    frames[0, 0, rng.random(n) < 0.1] = -0.0
    own = np.arange(n, dtype=np.int32), np.array([0, n]), rng.uniform(0.8, 1, n).astype(np.float32)
    found = TrimmedMean(*own, trim=0.2, backend=backend)(frames)
    expected = reference.trimmed_mean(frames, *own, trim=0.2)
    # Signs cancel, so what counts is the rounding (6e-8) of the largest term.
    assert np.nanmax(np.abs(found.intensity - expected.intensity)) <= EXACT * np.abs(frames).max()


def test_the_standard_error_is_the_scatter_of_repeated_frames():
    """2000 Poisson frames of one bin: the scatter is known to 1.6 %; the error of a mean of sems is far smaller."""
    rng = np.random.default_rng(8)
    frames = rng.poisson(20, (2000, 1, 400)).astype(np.uint16)
    weights = rng.uniform(0.9, 1, 400).astype(np.float32)
    for trim in (0.0, 0.2, 0.4):
        found = TrimmedMean(np.arange(400), [0, 400], weights, trim=trim)(frames)
        assert np.sqrt(np.mean(found.sem**2)) == pytest.approx(found.intensity.std(ddof=1), rel=0.06)


@pytest.fixture
def ring():
    """A table of 8 rings with an azimuth, and a frame whose counts depend on the azimuth."""
    rng = np.random.default_rng(9)
    y, x = np.indices((101, 101)) - 50.0
    number = (np.hypot(x, y) // 6).astype(int).ravel()
    inside = np.flatnonzero(number < 8)
    indices = inside[np.argsort(number[inside], kind="stable")]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(number[inside]))])
    azimuth = np.arctan2(y, x).ravel()
    frames = rng.poisson(50 + 30 * np.cos(azimuth), (3, 101 * 101)).reshape(3, 101, 101)
    return (indices, indptr, rng.uniform(0.9, 1, len(indices)).astype(np.float32)), azimuth[indices], frames


@pytest.mark.parametrize("n_groups", [2, 3, 4])
def test_groups_are_disjoint_and_balanced_in_size_and_azimuth(ring, n_groups):
    (_, indptr, _), azimuth, _ = ring
    groups = azimuthal_groups(indptr, azimuth, n_groups)
    for b in range(len(indptr) - 1):
        own, angle = groups[indptr[b] : indptr[b + 1]], azimuth[indptr[b] : indptr[b + 1]]
        sizes = np.bincount(own, minlength=n_groups)
        assert sizes.max() - sizes.min() <= 1
        # Any n_groups neighbours along the azimuth go to different groups: no group leads another by more than one.
        taken = np.cumsum(np.eye(n_groups)[own[np.argsort(angle, kind="stable")]], axis=0)
        assert np.ptp(taken, axis=1).max() <= 1


def test_groups_do_not_follow_the_pixel_lattice(ring):
    """Dealt in turn, the mean radius of the groups in a narrow ring differs by the lattice; drawn, by chance alone."""
    (indices, indptr, _), azimuth, _ = ring
    groups = azimuthal_groups(indptr, azimuth, 2)
    radius = np.hypot(*(np.array(np.unravel_index(indices, (101, 101))) - 50.0))
    ring_7 = slice(indptr[7], indptr[8])
    means = [radius[ring_7][groups[ring_7] == k] for k in range(2)]
    assert abs(means[0].mean() - means[1].mean()) < 4 * radius[ring_7].std() * np.sqrt(4 / len(radius[ring_7]))


def test_a_group_is_the_trimmed_mean_of_its_own_pixels(ring, backend):
    (indices, indptr, weights), azimuth, frames = ring
    frames[:, 40:43, 20:80] = -1
    groups = azimuthal_groups(indptr, azimuth, 3)
    found = TrimmedMean(indices, indptr, weights, trim=0.2, groups=groups, backend=backend)(frames)
    assert found.groups.shape == (3, 3, 8)
    for k in range(3):
        own = groups == k
        table_k = indices[own], np.concatenate([[0], np.cumsum(own)])[indptr], weights[own]
        assert relative(found.groups[:, k], reference.trimmed_mean(frames, *table_k, trim=0.2).intensity) <= EXACT
    whole = TrimmedMean(indices, indptr, weights, trim=0.2, backend=backend)(frames)
    assert np.array_equal(found.intensity, whole.intensity)


def test_the_untrimmed_groups_add_up_to_the_whole(ring, backend):
    (indices, indptr, weights), azimuth, frames = ring
    groups = azimuthal_groups(indptr, azimuth, 4)
    found = TrimmedMean(indices, indptr, weights, trim=0.0, groups=groups, backend=backend)(frames)
    bins = np.repeat(np.arange(8), np.diff(indptr))
    share = np.array([np.bincount(bins, weights * (groups == k)) for k in range(4)])
    union = (share * found.groups).sum(axis=1) / share.sum(axis=0)
    # The two outermost keys of each group are float32 (6e-8).
    assert np.allclose(union, found.intensity, rtol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.float32([1, 0, 1])}, "positive"),
        ({"weights": np.float32([1, np.nan, 1])}, "positive"),
        ({"weights": np.float32([1, 1])}, "weights"),
        ({"indptr": [0, 2, 1, 3]}, "decrease"),
        ({"indptr": [0, 2]}, "bins from 0 to 2"),
        ({"indices": [0, -1, 2]}, "negative"),
        ({"trim": 1.0}, "trim"),
        ({"groups": [0, 1]}, "groups"),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(change, message):
    fine = {"indices": [0, 1, 2], "indptr": [0, 3], "weights": np.ones(3, np.float32), "trim": 0.2}
    with pytest.raises(GeometryError, match=message):
        TrimmedMean(**fine | change)


def test_frames_of_another_detector_or_kind_are_refused():
    kernel = TrimmedMean([0, 99], [0, 2], np.ones(2, np.float32), trim=0.2)
    with pytest.raises(RawDataError, match="100 pixels"):
        kernel(np.zeros((1, 5, 5), np.int32))
    with pytest.raises(RawDataError, match="shape"):
        kernel(np.zeros((10, 10), np.int32))
    with pytest.raises(RawDataError, match="bool"):
        kernel(np.zeros((1, 10, 10), bool))


@pytest.mark.parametrize(
    ("dtype", "invalid_above", "expected"),
    [
        ("uint16", None, (0, 65534)),
        ("uint32", 1e12, (0, 2**32 - 2)),
        ("int32", np.inf, (0, 2**31 - 1)),
        ("int32", 1048575, (0, 1048574)),
        ("int32", 10.5, (0, 10)),
        ("uint8", 0.5, (0, 0)),
    ],
)
def test_the_valid_range_of_integers(dtype, invalid_above, expected):
    assert valid_range(np.dtype(dtype), invalid_above) == expected


def test_a_saturation_of_zero_is_refused():
    with pytest.raises(GeometryError, match="positive"):
        valid_range(np.dtype("uint16"), 0)


def test_a_kernel_can_be_sent_to_another_process(backend):
    rng = np.random.default_rng(12)
    kernel = TrimmedMean(*table(rng, 100, [60, 40]), trim=0.2, backend=backend)
    frames = rng.poisson(9, (2, 10, 10))
    assert np.array_equal(pickle.loads(pickle.dumps(kernel))(frames).intensity, kernel(frames).intensity)


def test_no_frames_give_no_patterns():
    kernel = TrimmedMean([0, 99], [0, 2], np.ones(2, np.float32), trim=0.2)
    assert kernel(np.zeros((0, 10, 10), np.int32)).intensity.shape == (0, 1)


def test_big_endian_and_strided_frames_are_read_as_they_are(backend):
    rng = np.random.default_rng(10)
    frames = rng.poisson(9, (4, 20, 30)).astype(np.int32)
    kernel = TrimmedMean(*table(rng, 600, [300, 200]), trim=0.2, backend=backend)
    plain = kernel(frames[::2]).intensity
    assert np.array_equal(kernel(frames.astype(">i4")[::2]).intensity, plain)
    assert np.array_equal(kernel(np.asfortranarray(frames)[::2]).intensity, plain)


@pytest.mark.parametrize("flags", [(), ("-march=x86-64-v3",), ("-march=x86-64", "-O1")])
def test_both_kernels_give_the_same_bits_whatever_the_processor_can_do(monkeypatch, flags):
    if flags and platform.machine() != "x86_64":
        pytest.skip("flags are those of x86_64")
    lib = native.library(flags)
    if lib is None:
        pytest.skip("no C compiler on this machine")
    rng = np.random.default_rng(11)
    frames = rng.poisson(30, (3, 120, 120)).astype(np.uint16)
    frames[1, :5] = 65535
    own = table(rng, 14400, [5000, 4000, 300, 100, 0, 1, 4000])
    groups = rng.integers(0, 2, 13401)
    monkeypatch.setattr(native, "library", lambda: lib)
    compiled = TrimmedMean(*own, trim=0.2, groups=groups, backend="native")
    assert compiled.backend == "native"
    one, other = compiled(frames), TrimmedMean(*own, trim=0.2, groups=groups, backend="numba")(frames)
    for quantity in ("intensity", "mean", "kept", "groups"):
        assert np.array_equal(getattr(one, quantity), getattr(other, quantity), equal_nan=True), quantity
    # The squares of the error are rounded, in an order that differs.
    assert np.allclose(one.sem, other.sem, rtol=1e-10, equal_nan=True)


@pytest.fixture
def fresh_library():
    """`native.library` as in a new process."""
    native.library.cache_clear()
    yield native.library
    native.library.cache_clear()


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_working_compiler_the_portable_kernel_is_taken(
    fresh_library, monkeypatch, tmp_path, compiler, caplog
):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with caplog.at_level("INFO"):
        kernel = TrimmedMean([0, 1], [0, 2], np.ones(2, np.float32), trim=0.2, backend="native")
    assert kernel.backend == "numba"
    assert "portable kernel" in caplog.text
    assert kernel(np.full((1, 1, 2), 3, np.int32)).intensity[0, 0] == pytest.approx(3)


def test_a_cache_folder_that_cannot_be_written_is_no_error(fresh_library, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fresh_library() is None


def test_the_c_kernel_is_compiled_once(fresh_library, monkeypatch, tmp_path, backend, caplog):
    if backend == "numba":
        pytest.skip("nothing to compile ahead")
    fresh_library.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with caplog.at_level("INFO"):
        assert fresh_library() is not None
        fresh_library.cache_clear()
        assert fresh_library() is not None
    assert [record.message.split()[0] for record in caplog.records] == ["compiled"]
    assert len(list((tmp_path / "xrdct").iterdir())) == 1


def test_the_constants_of_both_kernels_agree():
    text = native.SOURCE.read_text()
    for name, value in {"SAMPLE": portable.SAMPLE, "LOOK_AHEAD": portable.LOOK_AHEAD, "N_SUMS": len(SUMS)}.items():
        assert re.search(rf"^#define {name} +{value}\b", text, re.MULTILINE), name
    listed = re.search(r"GATHERS\[\] = \{(.*?)\};", text, re.DOTALL).group(1)
    assert tuple(re.findall(r"gather_(\w+)", listed)) == PIXEL_TYPES
