"""Files of weights and arrays that lie about what they hold."""

import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import (
    built_on_meta,
    read_array,
    read_array_file,
    read_checkpoint,
    read_header,
    read_tensors,
    read_weights,
    require_modest,
)
from torch import nn


def written(path, header, body=b""):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1], "data_offsets": [0, "4"]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4.0]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": None, "data_offsets": [0, 4]},
        {"dtype": 3, "shape": [1], "data_offsets": [0, 4]},
        ["F32", [1], [0, 4]],
        None,
    ],
)
def test_an_entry_of_another_form_is_named(tmp_path, entry):
    path = written(tmp_path / "a.safetensors", {"weight": entry}, bytes(4))
    with pytest.raises(CheckpointError, match=r"no safetensors file \(the entry 'weight' of its header is damaged\)"):
        read_header(path)


def test_other_headers_are_refused(tmp_path):
    for header in ([1], 333, {"__metadata__": 3}, {"__metadata__": {"a": 1}}):
        with pytest.raises(CheckpointError, match="its header is damaged"):
            read_header(written(tmp_path / "a.safetensors", header))
    deep = b"[" * 5000 + b"]" * 5000
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)
    with pytest.raises(CheckpointError, match="its header is damaged"):
        read_header(tmp_path / "a.safetensors")


def test_types_and_shapes_that_torch_does_not_have(tmp_path):
    for dtype, shape in (("X9", [1]), ("F32", [2**62, 4]), ("F32", [9])):
        path = written(
            tmp_path / "a.safetensors", {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, 4]}}, bytes(4)
        )
        with pytest.raises(CheckpointError, match="no valid safetensors file"):
            read_tensors(path)


def test_an_index_names_files_beside_it(tmp_path):
    written(tmp_path / "outside.safetensors", {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4))
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("../outside.safetensors", str(tmp_path / "outside.safetensors"), "..", "", "\0", 3, None, ["x"]):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(CheckpointError, match=r"not beside it|is no index"):
            read_checkpoint(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "x" * 100_000}}))
    with pytest.raises(CheckpointError, match=r"names 1 files and 'x+ is not beside it") as caught:
        read_checkpoint(folder)
    assert len(str(caught.value)) < 1000


def test_a_torch_archive_promises_no_more_than_it_has(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CheckpointError, match=r"has \d+ bytes and promises 10000000"):
        read_weights(tmp_path / "a.pth")


def test_an_older_torch_file_promises_no_more_than_it_has(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.arange(3.0)}, path, _use_new_zipfile_serialization=False)
    assert read_weights(path)["a"].tolist() == [0, 1, 2]
    data = path.read_bytes()
    assert data.count(b"K\x03N") == 1
    path.write_bytes(data.replace(b"K\x03N", b"J\xff\xff\xff\x7fN"))
    with pytest.raises(CheckpointError, match=r"has \d+ bytes and promises 2147483647"):
        read_weights(path)


@pytest.mark.parametrize("command", [b"X", b"B", b"T", b"\x8b"])
def test_a_text_of_a_pickle_is_no_longer_than_the_file(tmp_path, command):
    """Python's readers take memory for as many bytes as they are asked for."""
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for start in (b"\x80\x02", whole[: whole.index(b".", 2) + 1] + b"\x80\x02"):
        path.write_bytes(start + command + b"\xff\xff\xff\x7f" + b"a.")
        tracemalloc.start()
        with pytest.raises(CheckpointError, match="promises 2147483647: download it again"):
            read_weights(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000


def test_an_archive_behind_a_pickle_does_not_hide_it(tmp_path):
    """Zip files are told by their end, and torch's by their beginning."""
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    path = tmp_path / "a.pth"
    path.write_bytes(b"\x80\x02X\xff\xff\xff\x7fa." + path.read_bytes())
    assert zipfile.is_zipfile(path)
    with pytest.raises(CheckpointError, match="promises 2147483647"):
        read_weights(path)


def test_commands_behind_damaged_ones_are_not_read(tmp_path):
    """What the check does not understand, torch is not given."""
    path = tmp_path / "a.pth"
    for start in (b"\x80\x02", b""):
        path.write_bytes(start + b"X\x01\x00\x00\x00\xffX\xff\xff\xff\x7fa.")
        with pytest.raises(CheckpointError, match=r"(damaged or|is) no torch file"):
            read_weights(path)


def test_a_mapping_that_holds_itself_holds_no_weights(tmp_path):
    loop: dict = {"epoch": 1}
    loop["model"] = loop
    torch.save(loop, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "text", [b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI2\ntR.", b"\x80\x02}(h\x00u.", b"\x80\x02X\xff\xff\xff\x7fa."]
)
def test_damaged_commands_of_a_pickle(tmp_path, text):
    (tmp_path / "a.pth").write_bytes(text)
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        read_weights(tmp_path / "a.pth")


def npy(header, body=b"", version=b"\x01\x00"):
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}"), "promises 8796093022208 bytes"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 4)}"), "promises"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", bytes(8)), "shape"),
        (
            npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n(S'true'\ntR."),
            "Python objects",
        ),
        (npy("{'descr': '<U0', 'fortran_order': False, 'shape': (2,)}"), "no bytes"),
        (npy("__import__('os').getpid()"), "Cannot parse header|malformed|damaged"),
        (npy("(" * 300 + ")" * 300), "Cannot parse header|malformed|damaged"),
        (npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}", bytes(8), b"\x09\x00"), "version"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{}", "header promises 2147483648 bytes of text"),
        (b"PK\x03\x04", "magic"),
    ],
)
def test_arrays_that_lie(tmp_path, data, reason):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=reason):
        read_array_file(tmp_path / "a.npy")


def test_arrays_come_back(tmp_path):
    for array in (
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(3),
        np.zeros((0, 4)),
    ):
        np.save(tmp_path / "a.npy", array)
        found = read_array_file(tmp_path / "a.npy")
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert np.array_equal(found, array)
        with pytest.raises(ValueError, match=r"truncated|magic|EOF|expected"):
            read_array(io.BytesIO((tmp_path / "a.npy").read_bytes()[:-1] if array.size else b""), 10**6)


def test_settings_of_a_stranger_build_no_more_than_the_file_fills():
    assert built_on_meta(lambda: nn.Linear(10**6, 10**6), 2, "a").weight.device.type == "meta"
    with pytest.raises(CheckpointError, match=r"a has settings for more than 10032 parameters and 2 tensors"):
        built_on_meta(lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(10**9))), 2, "a")
    with pytest.raises(CheckpointError, match=r"a has settings that no model can be built from"):
        built_on_meta(lambda: nn.MultiheadAttention(7, 2), 2, "a")
    assert len(list(nn.Sequential(*(nn.Linear(1, 1) for _ in range(2))).parameters())) == 4
    require_modest(lambda: nn.Linear(10, 10), {"weight": (10, 10)}, "a")
    with pytest.raises(CheckpointError, match=r"a has settings for 1000001000000 numbers and holds 100"):
        require_modest(lambda: nn.Linear(10**6, 10**6), {"weight": (10, 10)}, "a")
