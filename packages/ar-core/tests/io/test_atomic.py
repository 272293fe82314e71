import errno
import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import atomic_directory, atomic_file, read_tensors, write_tensors


def fail(path: Path, error: Exception) -> None:
    path.write_text("half")
    raise error


def test_a_file_appears_whole_and_replaces_what_was_there(tmp_path):
    target = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        with atomic_file(target) as temporary:
            assert temporary.parent == target.parent
            temporary.write_text(text)
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_writers_of_one_process_id_do_not_meet(tmp_path):
    """Two machines that share a folder have processes of the same number."""
    target = tmp_path / "a.txt"
    with atomic_file(target) as first:
        first.write_text("whole")
        with atomic_file(target) as second:
            second.write_text("half of anoth")
        assert first.read_text() == "whole"
    assert target.read_text() == "whole"
    with atomic_directory(tmp_path / "folder", replace=True) as first:
        (first / "a.txt").write_text("whole")
        with atomic_directory(tmp_path / "folder") as second:
            assert not list(second.iterdir())
        assert (first / "a.txt").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "folder"}


def test_a_block_that_raises_leaves_the_old_file_and_no_temporary(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyError), atomic_file(target) as temporary:
        fail(temporary, KeyError())
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


def test_a_refusal_of_the_system_is_one_sentence(tmp_path):
    target = tmp_path / "a.txt"
    sentence = r"a\.txt cannot be written \(No space left on device\): .* free space"
    with pytest.raises(CheckpointError, match=sentence), atomic_file(target) as temporary:
        fail(temporary, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_the_place_of_no_file_and_of_no_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "link", "dangling"):
        with pytest.raises(CheckpointError, match="a folder is to be written there"):  # noqa: SIM117
            with atomic_directory(tmp_path / name, replace=True) as folder:
                (folder / "a").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file", "folder", "link"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", [atomic_file, atomic_directory])
def test_a_folder_that_cannot_be_there_is_one_sentence(tmp_path, kind):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CheckpointError, match="cannot be written"), kind(tmp_path / "file" / "a"):
        pass


def test_a_directory_appears_whole(tmp_path):
    with atomic_directory(tmp_path / "d") as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "x").write_text("1")
        assert not (tmp_path / "d").exists()
    assert (tmp_path / "d" / "sub" / "x").read_text() == "1"
    with pytest.raises(CheckpointError, match="exists already"), atomic_directory(tmp_path / "d"):
        pass
    with atomic_directory(tmp_path / "d", replace=True) as temporary:
        (temporary / "y").write_text("2")
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["y"]
    with pytest.raises(KeyError), atomic_directory(tmp_path / "d", replace=True) as temporary:
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["d", "y"]


def test_a_real_full_disk_while_tensors_are_written_keeps_the_previous_file(tmp_path):
    target = tmp_path / "w.safetensors"
    write_tensors(target, {"a": torch.arange(4)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot be written .*File too large"):
            write_tensors(target, {"a": torch.zeros(2**20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert read_tensors(target)["a"].tolist() == [0, 1, 2, 3]
    assert [path.name for path in Path(tmp_path).iterdir()] == ["w.safetensors"]
