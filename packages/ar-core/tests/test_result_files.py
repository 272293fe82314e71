from pathlib import Path

import pytest
from ar_core.errors import ConfigError
from ar_core.result_files import require_apart


def test_two_results_and_what_is_read_are_files_of_their_own(tmp_path: Path):
    a, b = tmp_path / "a", tmp_path / "b"
    (tmp_path / "link").symlink_to("a")
    require_apart({"output": a, "statistics": b, "other": None}, {"input": tmp_path / "c", "profile": None})
    require_apart({"output": a}, {"input": b, "profile": b})
    for same in (a, tmp_path / "folder" / ".." / "a", tmp_path / "link"):
        with pytest.raises(
            ConfigError, match=r"was given for two results, output and statistics; give each its own\.$"
        ):
            require_apart({"output": a, "statistics": same}, {})
        with pytest.raises(ConfigError, match=r"is input, and statistics would take its place; give another place\.$"):
            require_apart({"output": b, "statistics": same}, {"input": a})


def test_paths_are_those_of_the_working_folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="the file 'a' is --input"):
        require_apart({"--output": Path("a")}, {"--input": tmp_path / "a"})
