import json
import struct

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import read_header, read_tensors, write_tensors


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "w.safetensors"
    write_tensors(
        path, {"a": torch.arange(7, dtype=torch.float32), "b": torch.ones(3, 2, dtype=torch.bfloat16)}, {"k": "v"}
    )
    return path


def test_round_trip_keeps_values_dtypes_and_metadata(path):
    tensors = read_tensors(path)
    assert tensors["a"].tolist() == list(range(7))
    assert tensors["b"].dtype == torch.bfloat16
    header = read_header(path)
    assert header["__metadata__"] == {"k": "v"}
    assert header["a"]["shape"] == [7]


def test_views_and_tied_tensors_are_written_as_they_look(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    tensors = {"whole": base, "same": base, "transposed": base.t(), "row": base[1], "empty": torch.zeros(0, 3)}
    write_tensors(tmp_path / "v", tensors)
    for name, value in read_tensors(tmp_path / "v").items():
        assert torch.equal(value, tensors[name]), name


def test_empty_file_of_no_tensors(tmp_path):
    write_tensors(tmp_path / "none", {})
    assert read_tensors(tmp_path / "none") == {}


def test_truncated_at_every_length_is_refused(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"w\.safetensors"):
            read_tensors(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"abc", "has 3 bytes and no header"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git-lfs pointer"),
        (b"PK\x03\x04" + bytes(40), "pickle"),
        (b"\x80\x02" + bytes(40), "pickle"),
        (b"GGUF" + bytes(40), "GGUF"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\xff" * 64, "no header length"),
        (struct.pack("<Q", 8) + b"not json", "header is damaged"),
        (struct.pack("<Q", 2) + b"[]", "header is damaged"),
        (struct.pack("<Q", 15) + b'{"a":{"x":"y"}}', "header is damaged"),
        (struct.pack("<Q", 2**20) + b"{}", "is truncated: its header alone takes 1048584 bytes and the file has 10"),
        (struct.pack("<Q", 2) + b"{}extra", "too long: its header promises 10 bytes and it has 15"),
    ],
)
def test_garbage_is_named(path, content, reason):
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    assert reason in str(caught.value)


def test_a_header_that_contradicts_its_data_is_refused(path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(CheckpointError, match="no valid safetensors file"):
        read_tensors(path)


def test_absent(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read \\(No such file or directory\\): check the path"):
        read_tensors(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="Is a directory"):
        read_tensors(tmp_path)
