"""Frames decoded directly from chunks against h5py."""

import h5py
import hdf5plugin
import numpy as np
import pytest

from xrdct.errors import RawDataError
from xrdct.io.chunks import is_direct, read_frames

LZ4 = hdf5plugin.Bitshuffle(cname="lz4")


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "frames.h5", "w") as opened:
        yield opened


def stack(dtype, shape=(3, 67, 45)):
    return np.random.default_rng(0).poisson(20, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "float32", "float64"])
def test_every_pixel_type_is_decoded_as_h5py_does(file, dtype):
    dataset = file.create_dataset("frames", data=stack(dtype), chunks=(1, 67, 45), **LZ4)
    assert is_direct(dataset)
    found = read_frames(dataset, 1, 3)
    assert found.dtype == dtype
    assert np.array_equal(found, dataset[1:3])


@pytest.mark.parametrize("block", [0, 64, 1024])
def test_any_block_length_is_decoded(file, block):
    options = hdf5plugin.Bitshuffle(nelems=block, cname="lz4")
    dataset = file.create_dataset("frames", data=stack("uint16"), chunks=(1, 67, 45), **options)
    assert np.array_equal(read_frames(dataset, 0, 3), dataset[:])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (1, 67, 45), "compression": "gzip"},
        {"chunks": (1, 67, 45), "shuffle": True, **LZ4},
        {"chunks": (2, 67, 45), **LZ4},
        {"chunks": (1, 67, 45), **hdf5plugin.Bitshuffle(cname="zstd")},
        {"chunks": (1, 67, 45), **hdf5plugin.LZ4()},
    ],
)
def test_other_layouts_and_filters_are_left_to_h5py(file, options):
    data = stack("int32")
    dataset = file.create_dataset("frames", data=data, **options)
    assert not is_direct(dataset)
    assert np.array_equal(read_frames(dataset, 0, 3), data)


def test_big_endian_frames_are_left_to_h5py(file):
    dataset = file.create_dataset("frames", data=stack(">i4"), chunks=(1, 67, 45), **LZ4)
    assert np.array_equal(read_frames(dataset, 0, 3), dataset[:])


def test_a_frame_that_was_never_written_is_the_fill_value(file):
    dataset = file.create_dataset("frames", (3, 67, 45), "int32", chunks=(1, 67, 45), fillvalue=-7, **LZ4)
    dataset[1] = 5
    assert read_frames(dataset, 0, 3)[:, 0, 0].tolist() == [-7, 5, -7]


@pytest.mark.parametrize("damage", ["size", "end"])
def test_a_damaged_chunk_is_an_error_that_names_file_and_frame(file, damage):
    dataset = file.create_dataset("frames", data=stack("int32"), chunks=(1, 67, 45), **LZ4)
    chunk = dataset.id.read_direct_chunk((2, 0, 0))[1]
    chunk = b"\0" * 12 if damage == "size" else chunk + b"more"
    dataset.id.write_direct_chunk((2, 0, 0), chunk)
    with pytest.raises(RawDataError, match=r"frames\.h5: /frames, frame 2"):
        read_frames(dataset, 0, 3)


@pytest.mark.real_data
def test_a_real_stack_is_decoded_as_h5py_does(real_data):
    with h5py.File(real_data / "danmax_raw_pilatus" / "scan-0002_pilatus.h5") as file:
        found = []
        file.visititems(
            lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) and item.ndim == 3 else None
        )
        assert is_direct(found[0])
        assert np.array_equal(read_frames(found[0], 0, 2), found[0][:2])


def test_the_reader_of_the_workflow_decodes_chunks_itself(tmp_path, monkeypatch):
    from xrdct.io import frames, hdf5_frames

    stack = np.random.default_rng(0).poisson(5.0, (3, 20, 30)).astype(np.int32)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file.create_dataset("frames", data=stack, chunks=(1, 20, 30), **hdf5plugin.Bitshuffle(cname="lz4"))
    calls = []
    original = hdf5_frames.read_frames
    monkeypatch.setattr(hdf5_frames, "read_frames", lambda *given: calls.append(given[1:3]) or original(*given))
    with frames.open_frames(tmp_path / "frames.h5") as source:
        np.testing.assert_array_equal(source.read(0, 3), stack)
    assert calls == [(0, 3)]
