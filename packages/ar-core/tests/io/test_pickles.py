import os

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import read_pickle


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_tensors_in_plain_containers(tmp_path):
    torch.save({"model": {"a": torch.arange(3)}, "step": 4}, tmp_path / "a.pth")
    assert read_pickle(tmp_path / "a.pth")["model"]["a"].tolist() == [0, 1, 2]


def test_code_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    torch.save(Evil(str(mark)), tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        read_pickle(tmp_path / "evil.pth")
    assert not mark.exists()


def test_absent_and_damaged(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_pickle(tmp_path / "absent.pth")
    torch.save({"a": torch.zeros(100)}, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    for content in (b"", b"junk" * 9, whole[:300]):
        (tmp_path / "a.pth").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.pth"):
            read_pickle(tmp_path / "a.pth")
