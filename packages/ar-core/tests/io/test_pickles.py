import os
import pickle
import re

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import read_pickle


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


class Unknown:
    pass


def test_tensors_in_plain_containers(tmp_path):
    torch.save({"model": {"a": torch.arange(3)}, "step": 4}, tmp_path / "a.pth")
    assert read_pickle(tmp_path / "a.pth")["model"]["a"].tolist() == [0, 1, 2]


def test_code_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    torch.save(Evil(str(mark)), tmp_path / "evil.pth")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Evil(str(mark))))
    torch.save({"settings": Unknown()}, tmp_path / "unknown.pth")
    for name, found in (
        ("evil.pth", "posix.mkdir"),
        ("plain.pkl", "something"),
        ("unknown.pth", f"{__name__}.Unknown"),
    ):
        sentence = f"{name} holds {found} beside tensors and is not read, since that could run code"
        with pytest.raises(CheckpointError, match=re.escape(sentence)) as caught:
            read_pickle(tmp_path / name)
        assert "weights_only" not in str(caught.value)
    assert not mark.exists()


def test_what_is_no_torch_file_is_not_called_dangerous(tmp_path):
    (tmp_path / "page.pth").write_text("<html>Not found</html>")
    with pytest.raises(CheckpointError, match=r"page\.pth is no torch file: download it again"):
        read_pickle(tmp_path / "page.pth")


def test_absent_and_damaged(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_pickle(tmp_path / "absent.pth")
    torch.save({"a": torch.zeros(100)}, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    for content in (b"", b"junk" * 9, whole[:300]):
        (tmp_path / "a.pth").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.pth"):
            read_pickle(tmp_path / "a.pth")
