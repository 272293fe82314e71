"""The journal under kills: what was added is there, what was cut off is not."""

import json
import os
import signal
import subprocess
import sys

import pytest
from ar_core.errors import CheckpointError, ResumeError
from ar_core.evaluation import Journal

JOB = {"model": "m", "settings": {"n": 4}}
KEY = ("arm", "id")


def test_a_reopened_journal_knows_what_is_done(tmp_path):
    path = tmp_path / "folder" / "job.jsonl"
    with Journal(path, JOB, KEY) as journal:
        journal.add({"arm": "ar", "id": "1", "text": "ä\n"})
    with Journal(path, JOB, KEY) as journal:
        assert ("ar", "1") in journal
        assert ("ar", "2") not in journal
        journal.add({"arm": "ar", "id": "2", "text": ""})
    with Journal(path, JOB, KEY) as journal:
        assert [record["text"] for record in journal.done.values()] == ["ä\n", ""]
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_cut_off_is_done_again(tmp_path, cut):
    path = tmp_path / "job.jsonl"
    with Journal(path, JOB, KEY) as journal:
        journal.add({"arm": "ar", "id": "1"})
        journal.add({"arm": "ar", "id": "2"})
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, JOB, KEY) as journal:
        assert list(journal.done) == [("ar", "1")]
        journal.add({"arm": "ar", "id": "3"})
    with Journal(path, JOB, KEY) as journal:
        assert list(journal.done) == [("ar", "1"), ("ar", "3")]


def test_a_header_cut_off_begins_anew(tmp_path):
    path = tmp_path / "job.jsonl"
    path.write_text('{"job": {"mod')
    with Journal(path, JOB, KEY) as journal:
        journal.add({"arm": "ar", "id": "1"})
    assert json.loads(path.read_text().splitlines()[0]) == {"job": JOB}


def test_another_job_is_refused_by_the_name_of_what_differs(tmp_path):
    path = tmp_path / "job.jsonl"
    Journal(path, JOB, KEY).__exit__(None, None, None)
    with pytest.raises(ResumeError, match="another settings"):
        Journal(path, {**JOB, "settings": {"n": 5}}, KEY)


@pytest.mark.parametrize("text", ["[]\n", "no json\n", '{"job": 1}\n'])
def test_a_file_of_another_kind_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "job.jsonl"
    path.write_text(text)
    with pytest.raises(ResumeError):
        Journal(path, JOB, KEY)
    assert path.read_text() == text


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "job.jsonl"
    Journal(path, JOB, KEY).__exit__(None, None, None)
    path.write_text(path.read_text() + '{"arm": "ar"}\n{"arm": "ar", "id": "1"}\n')
    with pytest.raises(ResumeError, match="line 2"):
        Journal(path, JOB, KEY)


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path):
    path = tmp_path / "job.jsonl"
    with Journal(path, JOB, KEY) as journal:
        journal.add({"arm": "ar", "id": "1"})
        with pytest.raises(ResumeError, match="another process writes"):
            Journal(path, JOB, KEY)
        journal.add({"arm": "ar", "id": "2"})
    with Journal(path, JOB, KEY) as journal:
        assert len(journal) == 2


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written"):
        Journal(tmp_path, JOB, KEY)


def test_every_line_that_was_added_survives_a_kill(tmp_path):
    path = tmp_path / "job.jsonl"
    code = (
        "import sys, pathlib\nfrom ar_core.evaluation.journal import Journal\n"
        f"journal = Journal(pathlib.Path(sys.argv[1]), {JOB!r}, {KEY!r})\n"
        "for number in range(10 ** 6):\n"
        "    journal.add({'arm': 'ar', 'id': number})\n"
        "    print(number, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    for _ in range(20):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with Journal(path, JOB, KEY) as journal:
        assert {("ar", number) for number in range(last + 1)} <= set(journal.done)
