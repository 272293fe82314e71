"""GSM8K, Spec-Bench, multiple choice, perplexity and the generated tasks."""

import math
from decimal import Decimal

import pytest
from ar_core.errors import DataError
from dlm_text.evaluation.final_number import boxed_number, last_number, marked_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 18", 18),
        ("x 3 #### 1,234\nQuestion: #### 7", 1234),
        ("####-5.", -5),
        ("#### $70,000", 70000),
        ("no", None),
    ],
)
def test_number_behind_the_mark(text, number):
    assert marked_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (r"so \boxed{18}", 18),
        (r"\boxed{1} then \boxed{2}", 2),
        (r"\boxed{\text{about } 3.50}", Decimal("3.5")),
        (r"\boxed{\frac{1}{2}} dollars", 2),
        (r"\boxed{5", None),
        (r"\boxed{70\,000}", 70000),
        (r"\boxed{1{,}234{,}000}", 1234000),
        (r"\boxed{\$1\ 000.50}", Decimal("1000.5")),
        (r"\boxed{3\ 40}", 40),
        ("18", None),
    ],
)
def test_number_in_the_box(text, number):
    assert boxed_number(text) == number


@pytest.mark.parametrize(("text", "number"), [("1, 2 and 3.", 3), ("$1,000.50!", Decimal("1000.5")), ("none", None)])
def test_last_number(text, number):
    assert last_number(text) == number


def test_gsm8k_compares_numbers_and_says_which_were_marked(build, solved):
    task = build("gsm8k", [solved])
    (problem,) = task.problems
    assert r"\boxed{}" in problem.prompt[0]["content"]
    assert task.max_new_tokens == 2048
    for text, correct, strict in (
        (r"\boxed{5.00}", True, 1.0),
        ("it is 5.", True, 0.0),
        (r"\boxed{6} not 5", False, 0.0),
    ):
        verdict = task.judge(problem, text)
        assert (verdict.correct, verdict.values["strict"]) == (correct, strict), text
    assert not task.judge(problem, "").correct


def test_gsm8k_few_shot_shows_eight_and_no_ninth(build, solved):
    examples = [{"question": f"Q{n}?", "answer": f"#### {n}"} for n in range(9)]
    task = build("gsm8k", [solved], "few_shot", examples)
    (problem,) = task.problems
    assert problem.prompt.count("Question:") == 9
    assert "Q7?" in problem.prompt
    assert "Q8?" not in problem.prompt
    assert problem.prompt.endswith("Question: 2 and 3?\nAnswer:")
    assert task.judge(problem, " 2+3=5\n#### 5").values["strict"] == 1.0
    assert task.stop_strings == ("Question:",)
    assert task.max_new_tokens == 256
    with pytest.raises(DataError, match="8 solved problems and 3"):
        build("gsm8k", [solved], "few_shot", examples[:3])


def test_a_wrong_record_is_named_by_its_line(build, solved):
    with pytest.raises(DataError, match=r"file, line 2: .*'question' is needed"):
        build("gsm8k", [solved, {"q": "?"}])
    with pytest.raises(DataError, match="line 1: 'question' is a int"):
        build("gsm8k", [{**solved, "question": 3}])
    with pytest.raises(DataError, match="no number behind"):
        build("gsm8k", [{**solved, "answer": "5"}])


@pytest.mark.data
def test_gsm8k_reads_every_staged_answer(build, staged):
    rows = staged("gsm8k_test.jsonl")
    task = build("gsm8k", rows)
    assert len(task.problems) == 1319
    for problem, row in zip(task.problems[::40], rows[::40], strict=True):
        assert task.judge(problem, row["answer"]).correct


@pytest.mark.data
def test_spec_bench_has_six_kinds_and_takes_turns_within_mt_bench(build, staged):
    rows = staged("spec_bench.jsonl")
    problems = build("spec_bench", rows).problems
    kinds = dict.fromkeys(problem.category for problem in problems)
    assert len(problems) == 480
    assert set(kinds) == {"mt_bench", "translation", "summarization", "qa", "math_reasoning", "rag"}
    category = {str(row["question_id"]): row["category"] for row in rows}
    first = [category[problem.id] for problem in problems if problem.category == "mt_bench"]
    assert len(set(first[:8])) == len(set(first[8:16])) == 8
    for kind in set(kinds) - {"mt_bench"}:
        ids = [int(problem.id) for problem in problems if problem.category == kind]
        assert ids == sorted(ids)
        assert len(ids) == 80


def test_spec_bench_judges_nothing(build):
    task = build("spec_bench", [{"question_id": 1, "category": "qa", "turns": ["who?", "why?"]}])
    assert task.judge(task.problems[0], "x").correct is None
    assert task.problems[0].prompt == ({"role": "user", "content": "who?"},)


CHOICE = {"question": "Sky?", "choices": ["blue", "a very long wrong one"], "answer": 0}


@pytest.mark.parametrize(
    "row",
    [
        CHOICE,
        {**CHOICE, "answer": "A"},
        {"question": "Sky?", "choices": {"text": CHOICE["choices"], "label": ["1", "2"]}, "answerKey": "1"},
        {"context": "Sky?", "choices": CHOICE["choices"], "answer": 0},
    ],
)
def test_choices_are_continuations_and_the_likeliest_answers(build, row):
    task = build("multiple_choice", [row])
    (problem,) = task.problems
    assert problem.choices == (" blue", " a very long wrong one")
    assert task.judge_likelihoods(problem, [-1.0, -2.0], [1, 5]).correct
    # Fewer nats a character: the longer one wins when normalised.
    verdict = task.judge_likelihoods(problem, [-3.0, -3.5], [1, 5])
    assert verdict.correct
    assert verdict.values == {"normalised": 0.0}
    assert not task.judge_likelihoods(problem, [-3.0, -2.0], [1, 5]).correct


def test_the_space_before_a_choice_is_no_character_of_it(build):
    """As lm-eval's acc_norm: 1.6 / 1 against 2.5 / 2; with the space, 1.6 / 2 against 2.5 / 3."""
    task = build("multiple_choice", [{"question": "?", "choices": ["a", "\u00e4b"], "answer": 1}])
    assert task.judge_likelihoods(task.problems[0], [-1.6, -2.5], [1, 1]).values == {"normalised": 1.0}
    assert task.judge_likelihoods(task.problems[0], [-1.2, -2.5], [1, 1]).values == {"normalised": 0.0}


def test_letters_are_scored_where_they_are_listed(build):
    (problem,) = build("multiple_choice", [CHOICE], "letter").problems
    assert problem.prompt == "Sky?\nA. blue\nB. a very long wrong one\nAnswer:"
    assert problem.choices == (" A", " B")


@pytest.mark.parametrize("answer", [2, -1, "C", None, True, "blue"])
def test_an_answer_that_is_no_choice_is_refused(build, answer):
    with pytest.raises(DataError, match="line 1: the answer is"):
        build("multiple_choice", [{**CHOICE, "answer": answer}])


def test_perplexity_is_per_token_and_per_byte(build):
    task = build("perplexity", [{"text": "abcd"}])
    values = task.judge_likelihoods(task.problems[0], [-8 * math.log(2)], [2]).values
    assert values == pytest.approx({"nats_per_token": 4 * math.log(2), "bits_per_byte": 2.0})


def test_generated_tasks_are_held_out_and_exact(build):
    task = build("exact_answers", protocol="arithmetic")
    assert len({problem.prompt[0]["content"] for problem in task.problems}) == 500
    problem = task.problems[0]
    answer = problem.reference["answer"]
    assert task.judge(problem, answer).correct
    assert not task.judge(problem, answer + " ").correct
