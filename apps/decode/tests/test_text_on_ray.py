"""``ar-decode text --ray``: the lines of one process, whatever happens to a worker."""

import json
import threading
import time
from functools import partial

import pytest
from ar_core.errors import ClusterError
from ar_decode.file_decoder import open_decoder, survey_file
from ar_decode.methods import Generation, load_method

PROMPTS = 40


def kill_a_worker_behind(partial, seen: list[int]) -> None:
    """Once lines are there, kill a process that decodes, and note how many lines there were."""
    psutil = pytest.importorskip("psutil", reason="the package psutil is not installed")
    while not (partial.is_file() and partial.read_bytes()):
        time.sleep(0.01)
    workers = [one for one in psutil.Process().children(recursive=True) if "MapWorker" in " ".join(one.cmdline())]
    workers[0].kill()
    seen.append(partial.read_bytes().count(b"\n") if partial.is_file() else PROMPTS)


def the_file_is_that_of_one_process_also_when_a_worker_is_killed(ar_decode, plain_model, jsonl, tmp_path):
    source = jsonl(*({"prompt": f"prompt {number}"} for number in range(PROMPTS)))
    whole, target = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    statistics = tmp_path / "statistics.json"
    sampled = ("text", plain_model, "-i", source, "-n", 100, "--temperature", 1, "-b", 2)
    assert ar_decode(*sampled, "-o", whole).code == 0
    seen = []
    killer = threading.Thread(target=kill_a_worker_behind, args=(tmp_path / "out.jsonl.partial", seen), daemon=True)
    killer.start()
    outcome = ar_decode(*sampled, "-o", target, "--ray", "auto", "--workers", 2, "--statistics", statistics)
    assert outcome.code == 0, outcome.err
    killer.join(timeout=10)
    assert seen[0] < PROMPTS
    assert target.read_text() == whole.read_text()
    figures = json.loads(statistics.read_text())
    assert figures["method"] == {"name": "ar"}
    assert len(figures["generated"]) == PROMPTS


def an_interrupted_file_goes_on_on_a_cluster(ar_decode, plain_model, jsonl, tmp_path, monkeypatch):
    from ar_decode.methods import Method

    source = jsonl(*({"prompt": text} for text in "abcde"))
    whole, target = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    sampled = ("text", plain_model, "-i", source, "-n", 4, "--temperature", 1, "-b", 2)
    assert ar_decode(*sampled, "-o", whole).code == 0
    decode = Method.decode

    def until(method, session, prompts, generation, *, first_index):
        if first_index == 2:
            raise KeyboardInterrupt
        return decode(method, session, prompts, generation, first_index=first_index)

    monkeypatch.setattr(Method, "decode", until)
    assert ar_decode(*sampled, "-o", target).code == 130
    other = ar_decode(*sampled, "-o", target, "--resume", "--seed", 1, "--ray", "auto", "--workers", 2)
    assert (other.code, "generation.seed was 0" in other.err) == (2, True)
    assert ar_decode(*sampled, "-o", target, "--resume", "--ray", "auto", "--workers", 2).code == 0
    assert target.read_text() == whole.read_text()


def what_a_worker_finds_wrong_is_one_sentence(ar_decode, plain_model, jsonl, tmp_path):
    source = jsonl({"prompt": "a"}, {"prompt": " "})
    outcome = ar_decode(
        "text", plain_model, "-i", source, "-o", tmp_path / "out.jsonl", "--ray", "auto", "--workers", 2
    )
    # Workers of the run before may still be leaving, and that is told too.
    (line,) = (one for one in outcome.err.strip().splitlines() if not one.startswith("the Ray cluster has room for"))
    assert (outcome.code, outcome.out) == (2, "")
    assert line.startswith("error: ")
    assert "is empty; give it at least one token" in line


def test_on_two_workers(two_workers, ar_decode, plain_model, jsonl, tmp_path, monkeypatch):
    """One test, since each process of a test run would start a cluster of its own."""
    for name in ("killed", "continued", "refused"):
        (tmp_path / name).mkdir()
    the_file_is_that_of_one_process_also_when_a_worker_is_killed(ar_decode, plain_model, jsonl, tmp_path / "killed")
    an_interrupted_file_goes_on_on_a_cluster(ar_decode, plain_model, jsonl, tmp_path / "continued", monkeypatch)
    what_a_worker_finds_wrong_is_one_sentence(ar_decode, plain_model, jsonl, tmp_path / "refused")


def test_a_cluster_takes_a_file(refused, plain_model, jsonl, tmp_path):
    wanted = "give --ray ADDRESS, --workers N, --input FILE and --output FILE"
    refused("text", plain_model, "Hello", "--ray", "local", "--workers", 2, says=wanted)
    refused("text", plain_model, "-i", jsonl({"prompt": "a"}), "--ray", "local", "--workers", 2, says=wanted)
    refused("text", plain_model, "-i", jsonl({"prompt": "a"}), "-o", tmp_path / "o", "--ray", "local", says=wanted)
    refused("text", plain_model, "-i", jsonl({"prompt": "a"}), "--workers", 2, says=wanted)


def test_a_machine_that_would_decode_something_else_is_refused(plain_model, jsonl):
    settings = {
        "generation": Generation(4),
        "source": jsonl({"prompt": "a"}, {"prompt": "b"}),
        "batch_size": 1,
        "use_chat": None,
    }
    load = partial(load_method, str(plain_model), "ar", {}, None)
    job = survey_file(load, settings)
    lines, stats = open_decoder(load, settings, job["identity"])(1)
    assert json.loads(lines[0])["prompt"] == "b"
    assert stats["generated"] == [4]
    jsonl({"prompt": "a"}, {"prompt": "c"})
    with pytest.raises(ClusterError, match=r"prompts is .* on the machine"):
        open_decoder(load, settings, job["identity"])
