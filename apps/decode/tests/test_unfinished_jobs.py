"""A JSONL job that does not end: Ctrl-C, an error, a full disk keep what was finished."""

import json

import pytest


@pytest.fixture
def breaks(monkeypatch):
    """Decoding that ends with an exception at its second batch."""
    from ar_decode.methods import Method

    decode, calls = Method.decode, []

    def run(error):
        def until(method, *arguments, **how):
            calls.append(1)
            if len(calls) == 2:
                raise error
            return decode(method, *arguments, **how)

        monkeypatch.setattr(Method, "decode", until)

    return run


def test_ctrl_c_keeps_what_was_finished(ar_decode, plain_model, jsonl, tmp_path, breaks):
    source, target = jsonl({"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}), tmp_path / "out.jsonl"
    job = ("text", plain_model, "-i", source, "-o", target, "-n", 3)
    breaks(KeyboardInterrupt())
    outcome = ar_decode(*job)
    assert (outcome.code, outcome.out) == (130, "")
    partial = tmp_path / "out.jsonl.partial"
    assert outcome.err.splitlines() == [f"interrupted: the finished lines (1) are kept in {str(partial)!r}."]
    assert [json.loads(line)["prompt"] for line in partial.read_text().splitlines()] == ["a"]
    assert not target.exists()


def test_an_error_keeps_what_was_finished_and_the_next_run_does_not_overwrite_it(
    ar_decode, plain_model, jsonl, tmp_path, breaks
):
    from ar_core.errors import NumericsError

    source, target = jsonl({"prompt": "a"}, {"prompt": "b"}), tmp_path / "out.jsonl"
    job = ("text", plain_model, "-i", source, "-o", target, "-n", 3)
    breaks(NumericsError("The logits are gone; look."))
    outcome = ar_decode(*job)
    partial = tmp_path / "out.jsonl.partial"
    kept = partial.read_text()
    assert outcome.code == 2
    assert outcome.err == f"error: The logits are gone; look; the finished lines (1) are kept in {str(partial)!r}.\n"
    again = ar_decode(*job)
    assert (again.code, "was kept from a run that did not finish" in again.err) == (2, True)
    assert partial.read_text() == kept
    assert ar_decode(*job, "--force").code == 0
    assert not partial.exists()
    assert len(target.read_text().splitlines()) == 2
    assert target.read_text().splitlines()[0] == kept.rstrip()


def test_an_interrupted_job_goes_on_to_the_very_same_file(ar_decode, plain_model, jsonl, tmp_path, breaks):
    source = jsonl(*({"prompt": text} for text in "abcde"))
    whole, target = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    sampled = ("text", plain_model, "-i", source, "-n", 4, "--temperature", 1, "-b", 2)
    assert ar_decode(*sampled, "-o", whole, "--resume").code == 0
    breaks(KeyboardInterrupt())
    assert ar_decode(*sampled, "-o", target).code == 130
    partial = tmp_path / "out.jsonl.partial"
    # What a killed process left of a line is made again.
    partial.write_text(partial.read_text() + '{"id": "3", "pro')
    other = ar_decode(*sampled, "-o", target, "--resume", "--seed", 1)
    assert (other.code, "generation.seed was 0" in other.err) == (2, True)
    assert ar_decode(*sampled, "-o", target, "--resume").code == 0
    assert target.read_text() == whole.read_text()
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.jsonl"]


def test_resume_needs_something_to_go_on_with(ar_decode, plain_model, jsonl, tmp_path):
    source = jsonl({"prompt": "a"})
    job = ("text", plain_model, "-i", source, "--resume")
    assert "--resume was given without --output" in ar_decode(*job).err
    assert "--resume was given with --force" in ar_decode(*job, "-o", tmp_path / "o", "--force").err


def test_a_full_disk_leaves_whole_lines(tmp_path):
    from ar_core.errors import CheckpointError
    from ar_decode.output import GrowingFile

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            if len(data) < 9:
                raise OSError(28, "No space left on device")
            return self.file.write(data[:7])

        def __enter__(self):
            return self.file.__enter__()

        def __exit__(self, *error):
            return self.file.__exit__(*error)

    target = tmp_path / "out"

    def fill():
        with GrowingFile(target) as file:
            file.append("first")
            file._file = Full(file._file)
            file.append("second line")

    with pytest.raises(CheckpointError, match=r"No space left on device.*free space") as caught:
        fill()
    assert "(1) are kept" in caught.value.__notes__[0]
    assert (tmp_path / "out.partial").read_text() == "first\n"


def test_lines_and_the_job_they_are_of_are_never_parted(tmp_path, monkeypatch):
    """Whoever dies while a job is noted down leaves no lines of another one, and lines that are gone on with keep their note."""
    from ar_decode import output

    def growing(seed, *lines, resume=False):
        with output.GrowingFile(tmp_path / "out.jsonl", {"seed": seed}, resume=resume) as file:
            for line in lines:
                file.append(line)
            raise KeyboardInterrupt(len(file))

    def dies(path, text):
        raise KeyboardInterrupt("while the job is noted down")

    with pytest.raises(KeyboardInterrupt, match="1"):
        growing(0, "kept")
    monkeypatch.setattr(output, "write_text", dies)
    with pytest.raises(KeyboardInterrupt, match="2"):
        growing(0, "and more", resume=True)
    with pytest.raises(KeyboardInterrupt, match="noted down"):
        growing(1)
    monkeypatch.undo()
    with pytest.raises(KeyboardInterrupt, match="0"):
        growing(1, resume=True)
