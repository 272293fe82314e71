import itertools
import json
import random
import re
import subprocess
import sys

import pytest
from ar_core.errors import ConfigError
from dlm_text.tasks import (
    TASKS,
    ExactTask,
    build_tokenizer,
    encode_answer,
    encode_prompt,
    held_out,
    problem,
    split_of,
    stream,
)
from dlm_text.tasks.extraction import FIELDS
from dlm_text.tasks.scratchpad import column, worked

SINGLE = tuple(name for name in TASKS if name != "mixed")


def drawn(task, count=300, split="train", seed=0):
    return list(itertools.islice(stream(task, split, seed), count))


@pytest.mark.parametrize("sign", ["+", "-"])
def test_every_column_is_true(sign):
    for a, b, incoming in itertools.product(range(10), range(10), (0, 1)):
        text, digit, outgoing = column(a, b, sign, incoming)
        value = a + b + incoming if sign == "+" else a - b - incoming
        assert value == (digit + 10 * outgoing if sign == "+" else digit - 10 * outgoing)
        assert 0 <= digit <= 9
        assert outgoing in (0, 1)
        assert text == f"{a}{sign}{b}{sign}{incoming}={digit}{'c' if sign == '+' else 'b'}{outgoing}"


def test_scratchpad_is_written_as_documented():
    text, result = worked(47, [("+", 28), ("-", 31)], digits=2)
    assert text == "47+28: 7+8+0=5c1 4+2+1=7c0 =75; 75-31: 5-1-0=4b0 7-3-0=4b0 =44"
    assert result == 44
    assert worked(347, [("-", 58)], digits=3) == ("347-058: 7-8-0=9b1 4-5-1=8b1 3-0-1=2b0 =289", 289)


@pytest.mark.parametrize(("a", "sign", "b"), [(999, "+", 1), (100, "-", 101)])
def test_a_result_that_does_not_fit_is_an_error(a, sign, b):
    with pytest.raises(ValueError, match="does not fit 3 digits"):
        worked(a, [(sign, b)], digits=3)


def test_arithmetic_answers_are_right_by_another_route():
    for p in drawn("arithmetic"):
        assert re.fullmatch(r"\d{2}([+-]\d{2}){2,4}\?\n", p.prompt)
        assert int(p.answer[-2:]) == eval(p.prompt[:-2])
        assert all(10 <= int(value) <= 99 for value in re.findall(r"=(\d{2})", p.answer))


def test_word_problem_answers_are_right_by_another_route():
    gains = ("buys", "finds", "gets", "makes")
    for p in drawn("word_problems"):
        first, *moves = p.prompt.split(". ")[:-1]
        name, _, start, noun = first.split()
        total = int(start)
        for move in moves:
            total += (1 if move.split()[1] in gains else -1) * int(re.search(r"\d+", move)[0])
        assert p.answer.endswith(f". {name} has {total} {noun}.")


def test_extraction_answers_are_the_record_in_the_fixed_order():
    orders = set()
    for p in drawn("extraction"):
        fields = dict(pair.split(":") for pair in p.prompt.rstrip("?\n").split(", "))
        answer = json.loads(p.answer)
        assert {field: str(value) for field, value in answer.items()} == fields
        assert list(answer) == [field for field in FIELDS if field in fields]
        assert len(answer) in (4, 5)
        orders.add(tuple(fields))
    assert len(orders) > 150


@pytest.mark.parametrize("task", SINGLE)
def test_answers_are_long_enough_for_parallel_decoding_and_short_enough_to_learn(task):
    assert all(40 <= len(p.answer) <= 150 for p in drawn(task))


@pytest.mark.parametrize("task", TASKS)
def test_prompt_and_answer_survive_the_tokenizer(task):
    tokenizer = build_tokenizer()
    for p in drawn(task):
        ids = encode_prompt(tokenizer, p.prompt) + encode_answer(tokenizer, p.answer)
        assert len(ids) <= 150
        assert tokenizer.decode(ids, skip_special_tokens=True) == p.prompt + p.answer


@pytest.mark.parametrize("task", TASKS)
def test_train_and_held_out_never_meet(task):
    train = {p.prompt for seed in range(3) for p in drawn(task, 400, "train", seed)}
    test = {p.prompt for seed in range(3) for p in drawn(task, 400, "held_out", seed)}
    assert train.isdisjoint(test)
    assert all(split_of(prompt) == "train" for prompt in train)
    assert all(split_of(prompt) == "held_out" for prompt in test)


def test_one_prompt_in_ten_is_held_out():
    rng = random.Random(0)
    share = sum(split_of(f"{rng.random()}") == "held_out" for _ in range(20_000)) / 20_000
    assert abs(share - 0.10) < 4 * (0.1 * 0.9 / 20_000) ** 0.5


@pytest.mark.parametrize("task", TASKS)
def test_the_same_prompt_has_the_same_answer_whatever_the_seed(task):
    answers = {}
    for p in (p for seed in range(4) for p in drawn(task, 300, "train", seed)):
        assert answers.setdefault(p.prompt, p.answer) == p.answer


def test_a_stream_can_be_entered_anywhere():
    assert drawn("mixed", 20)[13:] == list(itertools.islice(stream("mixed", "train", 0, start=13), 7))
    assert problem("mixed", "train", 0, 13) == drawn("mixed", 14)[13]
    assert drawn("mixed", 20, seed=1) != drawn("mixed", 20, seed=0)


def test_mixed_draws_all_tasks_equally():
    counts = [sum(p.task == name for p in drawn("mixed", 1500)) for name in SINGLE]
    assert sum(counts) == 1500
    assert all(abs(count - 500) < 4 * (1500 * 2 / 9) ** 0.5 for count in counts)


def test_held_out_problems_are_distinct_and_nested():
    many = held_out("mixed", 200)
    assert len({p.prompt for p in many}) == 200
    assert held_out("mixed", 50) == many[:50]


def test_only_the_exact_answer_counts():
    p = problem("mixed", "train", 0, 0)
    assert p.solved_by(p.answer)
    assert not p.solved_by(p.answer + " ")
    assert not p.solved_by(p.answer[:-1])


def test_unknown_task_is_one_sentence():
    with pytest.raises(ConfigError, match="there is no task 'algebra': choose one of arithmetic, word_problems"):
        problem("algebra", "train", 0, 0)


def test_a_task_is_a_source_of_prompt_and_answer():
    task = ExactTask("arithmetic")
    pairs = list(itertools.islice(task.problems("train", 7), 5))
    assert pairs == [(p.prompt, p.answer) for p in drawn("arithmetic", 5, seed=7)]


def test_listing_tasks_imports_no_torch():
    code = "import sys, dlm_text.tasks.task; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
