"""Every command and every piece of code in the READMEs and in the docs works, page by page; `snippets` tells what happens with each."""

import itertools
import re
from pathlib import Path

import pytest
import torch
from snippets.commands import commands
from snippets.pages import ROOT, blocks, indented_code, pages
from snippets.resolving import SnippetError
from snippets.rules import RULES
from snippets.running_pages import compare, run_page
from snippets.stand_ins import StandIns


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> StandIns:
    """Made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    return StandIns((base if worker_id == "master" else base.parent) / "stand_ins")


@pytest.fixture
def scratch(tmp_path: Path, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, for a reader without a terminal of colours."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, value in {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", "PWD": str(folder)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # What is made of a GGUF file takes seconds, and is the same for all pages.
    monkeypatch.setenv("AR_CACHE_DIR", str(stand_ins.home / "converted"))
    monkeypatch.setenv("AR_DATA_DIR", str(stand_ins.home / "data"))
    monkeypatch.setenv("AR_CIFAR10_DIR", str(stand_ins.home / "cifar10"))
    monkeypatch.syspath_prepend(str(ROOT))
    # Passes are timed by a clock that every reading moves by a millisecond: what else runs here decides nothing.
    readings = itertools.count()
    monkeypatch.setattr("ar_core.verification.timing.perf_counter", lambda: next(readings) / 1000)
    return folder


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page(page: Path, scratch: Path, stand_ins: StandIns) -> None:
    with torch.random.fork_rng(devices=[]):
        run_page(page, scratch, stand_ins.place)


def _fenced(language: str, text: str, above: str = "") -> str:
    return f"Words.\n\n{above}```{language}\n{text}\n```\n"


@pytest.fixture
def run(scratch: Path):
    """Run a page of a few lines; what is placed for it is put into a list."""

    def page(text: str) -> list[str]:
        placed: list[str] = []
        run_page(Path("page.md"), scratch, lambda page, text, folder: placed.append(text), text)
        return placed

    return page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_fenced("", "x"), "the language '' is none of"),
        (_fenced("ruby", "x"), "the language 'ruby'"),
        ("```python\n1\n", "not closed"),
        (_fenced("python", "1 +"), "invalid syntax"),
        (_fenced("python", "raise ValueError('no')"), "no"),
        (_fenced("yaml", "a: [1"), "page.md, line 3 (yaml)"),
        (_fenced("json", "{a: 1}"), "page.md, line 3 (json)"),
        (_fenced("python", "print(1)") + "\n```text\n2\n```\n", "the page shows\n2"),
        (_fenced("bash", "wc --bytes nothing") + "\n```text\n0 nothing\n```\n", "exit code 1"),
        (_fenced("bash", "frobnicate --fast"), "nothing here executes this"),
        (_fenced("bash", "ls | wc"), "'|' is not understood"),
        (_fenced("bash", "pip install ar-coar"), "ar-coar is no member"),
        (_fenced("bash", "pip install 'ar-core[nothing]'"), "has no extra 'nothing'"),
        (_fenced("bash", "python3 -m uv run --frozen ar-quickstart"), "the option --frozen"),
        (_fenced("bash", "uv run ar-quickstart --slow"), "--slow"),
        (_fenced("bash", "python -m benchmarks.sar train --speed 3"), "does not take"),
        (_fenced("bash", "python -m benchmarks.kernels run --part cpu_nothing"), "has no part 'cpu_nothing'"),
        (_fenced("bash", "ar-train ls --quick"), "exit code 2"),
        (_fenced("bash", "ar-train run fast_dllm_v2 --config qwen2_5_1_5b train.stepz=3"), "train.stepz"),
        (_fenced("bash", "ar-train run fast_dllm_v2 --config qwen2_5_9b"), "qwen2_5_9b"),
        (_fenced("bash", "ar-decode text MODEL hello --method lokup --ray auto"), "lokup"),
        (_fenced("bash", "#!/bin/bash\nsrun torchrun --nodes 2 -m dlm_text.fast_dllm_v2.recipes.fast_dllm_v2"), "torchrun"),
        (_fenced("bash", "vllm serve ./served --turbo"), "--turbo"),
        (_fenced("bash", "pytest kernles"), "there is no kernles"),
        (_fenced("python", "x", "<!-- not run: -->\n"), "gives no reason"),
        ("Words.\n\n    ar-train ls\n", "fence it"),
    ],
)  # fmt: skip
def test_what_cannot_work_fails(run, text: str, said: str) -> None:
    with pytest.raises((SnippetError, ValueError), match=f"(?s).*{re.escape(said)}"):
        run(text)


def test_blocks_of_a_page_share_a_folder_and_a_namespace(run, scratch: Path) -> None:
    first = _fenced("python", "print(1 + 1)\nx = 3") + "\n```text\n2\n```\n"
    second = _fenced("python", "open('out.txt', 'w').write('abc')\nprint(x)") + "\n```text\n3\n```\n"
    placed = run(first + second + _fenced("bash", "A=1 wc -c out.txt  # three") + "\n```text\n3 out.txt\n```\n")
    assert (scratch / "out.txt").read_text() == "abc"
    assert placed[-1] == "wc -c out.txt 1"  # values of the environment may name files too


def test_a_page_that_writes_over_a_stand_in_changes_it_for_no_other(scratch: Path, stand_ins: StandIns) -> None:
    made, folder = stand_ins.of("questions.jsonl"), stand_ins.of("pictures")
    before = made.read_bytes(), sorted(folder.iterdir())
    page = _fenced("python", "open('questions.jsonl', 'w').write('mine')\nopen('PHOTOS/mine', 'w').close()")
    run_page(Path("page.md"), scratch, stand_ins.place, page)
    assert (scratch / "questions.jsonl").read_text() == "mine"
    assert (made.read_bytes(), sorted(folder.iterdir())) == before


def test_a_text_block_is_an_output_only_right_behind_what_prints(run) -> None:
    run(_fenced("python", "print(1)") + "\nA drawing:\n\n```text\n2\n```\n")
    run(_fenced("bash", "pip install ar-core") + "\n" + _fenced("python", "print(1)") + "\n```text\n1\n```\n")
    run(_fenced("text", "2"))


def test_notes(run, scratch: Path) -> None:
    run(_fenced("yaml", "a: 1", "<!-- file: folder/mine.yaml -->\n") + _fenced("bash", "cat folder/mine.yaml"))
    run(_fenced("python", "print(0.25)") + "\n<!-- numbers vary -->\n```text\n17\n```\n")
    run(_fenced("python", "print(0.25)") + "\n<!-- not compared: it is random -->\n```text\nanything\n```\n")
    run(_fenced("python", "undefined()", "<!-- not run: it needs a robot -->\n"))
    with pytest.raises(SnippetError, match="the page shows"):
        run(_fenced("python", "print('a', 1)") + "\n<!-- numbers vary -->\n```text\nb 2\n```\n")


def test_outputs_may_leave_out_what_varies() -> None:
    compare("a ... c\n", "a b b c\n")
    compare("loss 1.5 at  3 s", "loss 2.25 at 12 s", numbers=False)
    compare("text\n", "no\n", "text\n")
    with pytest.raises(SnippetError):
        compare("a ... d\n", "a b b c\n")


def test_shell_is_taken_apart_as_a_shell_does() -> None:
    found = commands("A=1 python -m benchmarks.sar plot \\\n  --results 'a b'   # words\n\nls && wc -c x\n")
    assert [(one.line, one.words, dict(one.environment)) for one in found] == [
        (1, ("python", "-m", "benchmarks.sar", "plot", "--results", "a b"), {"A": "1"}),
        (4, ("ls",), {}),
        (4, ("wc", "-c", "x"), {}),
    ]


def test_fences_are_found_where_readers_see_them() -> None:
    text = "1. A list\n\n    ```python\n    x = 1\n    ```\n\n<!-- a note -->\n~~~text\n  y\n~~~\n"
    found = [(one.line, one.language, one.text, one.note, one.follows) for one in blocks(text)]
    assert found == [(3, "python", "x = 1\n", None, False), (8, "text", "  y\n", "a note", True)]
    assert indented_code("1. A list\n\n    more of it\n\nWords.\n\n    code\n") == [7]


def test_every_rule_is_used_and_says_why() -> None:
    texts = {
        page.relative_to(ROOT).as_posix(): [
            command.text
            for block in blocks(page.read_text(encoding="utf-8"))
            if block.language == "bash" and not block.text.startswith("#!")
            for command in commands(block.text)
        ]
        for page in pages()
    }
    unused = set(RULES)
    for name, commands_of_page in texts.items():
        for text in commands_of_page:
            unused -= {next((rule for rule in RULES if rule.holds(name, text)), None)}
    assert not unused
    assert all(rule.reason is None or len(rule.reason) > 9 for rule in RULES)
