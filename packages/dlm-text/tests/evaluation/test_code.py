"""HumanEval and MBPP: the reference solutions pass, wrong ones do not, and answers are read as the papers read them."""

import pytest
from ar_core.errors import DataError
from dlm_text.evaluation.python_block import python_block

FUNCTION = {
    "task_id": "T/0",
    "prompt": "import math\n\n\ndef half(x):\n    '''x over 2'''\n",
    "entry_point": "half",
    "test": "def check(candidate):\n    assert candidate(4) == 2\n",
}
PROGRAM = {
    "task_id": 11,
    "text": "Write a function that doubles.",
    "code": "def twice(x): return 2 * x",
    "test_list": ["assert twice(2) == 4", "assert twice(0) == 0"],
    "test_setup_code": "",
}


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("Sure:\n```python\nx = 1\n```\nand\n```python\ny = 2\n```", "x = 1"),
        ("```\nplain\n```\n```python\nmarked\n```", "marked"),
        ("```py\nnever closed\nmore", "never closed\nmore"),
        ("no fence", "no fence"),
        ("```\r\nwindows\r\n```", "windows\r"),
        ("```python\n    indented()\n    ```", "    indented()"),
    ],
)
def test_the_first_python_block_is_the_program(text, program):
    assert python_block(text) == program


def test_completions_are_continued_and_run(build):
    task = build("humaneval", [FUNCTION], "complete")
    (problem,) = task.problems
    assert problem.prompt == FUNCTION["prompt"]
    assert "\ndef" in task.stop_strings
    assert task.judge(problem, "    return x / 2\n").correct
    wrong = task.judge(problem, "    return x\n")
    assert not wrong.correct
    assert "AssertionError" in wrong.answer


@pytest.mark.parametrize(
    "answer",
    [
        "```python\ndef half(x):\n    return math.floor(x / 2)\n```",
        "```python\nimport math\ndef half(x):\n    return x / 2\n```\nDone.",
        "    return x / 2",
    ],
)
def test_instructed_answers_need_not_repeat_what_stands_before_the_function(build, answer):
    task = build("humaneval", [FUNCTION], "instruct")
    (problem,) = task.problems
    assert FUNCTION["prompt"] in problem.prompt[0]["content"]
    assert task.judge(problem, answer).correct


def test_an_answer_that_ends_the_process_is_no_pass(build):
    task = build("humaneval", [FUNCTION], "complete")
    assert not task.judge(task.problems[0], "    return 0\nimport os\nos._exit(0)\n").correct


def test_mbpp_shows_three_solved_problems_and_asks_the_test_split(build):
    shown = [{**PROGRAM, "task_id": n, "code": f"SOLUTION_{n}"} for n in (2, 3, 4)]
    train = {**PROGRAM, "task_id": 700}
    task = build("mbpp", [*shown, PROGRAM, train], "few_shot")
    (problem,) = task.problems
    assert problem.id == "11"
    assert [problem.prompt.count(f"SOLUTION_{n}\n[DONE]\n\nYou") for n in (2, 3, 4)] == [1, 1, 1]
    assert problem.prompt.endswith("[BEGIN]\n")
    assert task.judge(problem, "def twice(x): return 2 * x\n[DONE]\nthis is no Python").correct
    assert not task.judge(problem, "def twice(x): return x").correct
    apart = build("mbpp", [PROGRAM], "few_shot", examples=shown)
    assert apart.problems[0].prompt == problem.prompt


def test_mbpp_without_its_shown_or_asked_problems_is_refused(build):
    with pytest.raises(DataError, match="problems 2, 3, 4 solved and 2 is not"):
        build("mbpp", [PROGRAM], "few_shot")
    with pytest.raises(DataError, match="no test problem"):
        build("mbpp", [{**PROGRAM, "task_id": 1}])
    with pytest.raises(DataError, match="line 1: 'task_id' is 'x'"):
        build("mbpp", [{**PROGRAM, "task_id": "x"}])


@pytest.mark.data
@pytest.mark.parametrize("protocol", ["complete", "instruct"])
def test_reference_solutions_of_humaneval_pass(build, staged, protocol):
    rows = staged("humaneval.jsonl")
    assert len(rows) == 164
    task = build("humaneval", rows, protocol)
    for number in range(0, 164, 14):
        text = rows[number]["canonical_solution"]
        if protocol == "instruct":
            text = f"Here:\n```python\n{rows[number]['prompt']}{text}```"
        assert task.judge(task.problems[number], text).correct, rows[number]["task_id"]
        assert not task.judge(task.problems[number], "    return None\n").correct


@pytest.mark.data
def test_reference_solutions_of_mbpp_pass(build, staged):
    rows = staged("mbpp.jsonl")
    task = build("mbpp", rows, "few_shot")
    assert len(task.problems) == 500
    code = {str(row["task_id"]): row["code"] for row in rows}
    for problem in task.problems[::45]:
        assert task.judge(problem, code[problem.id] + "\n[DONE]").correct, problem.id
        assert not task.judge(problem, "pass").correct
