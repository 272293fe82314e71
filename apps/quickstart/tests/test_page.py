import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from ar_core.decoding import Decoded, DecodeStats
from ar_core.verification import FirstDifference
from ar_decode.prompts import Prompt
from ar_decode.replay import Pass, Replay, Scene
from ar_quickstart.model_act import Answer, ModelAct
from ar_quickstart.page import render_page
from ar_quickstart.task_act import LIVE_THRESHOLD, LivePoint, TaskAct
from dlm_text.tasks.evaluate import Score
from headless_browser import visit

ENVIRONMENT = {
    "command": "ar-quickstart",
    "date": "2030-01-01",
    "device": {"name": "A <CPU>", "threads": 2},
    "versions": {"torch": "2", "absent": None},
}


def score(solved, asked, tokens, forwards, seconds):
    stats = DecodeStats(Counter(step=forwards), Counter(step=forwards), Counter({"step": seconds}), [tokens])
    return Score(Counter(arithmetic=asked), Counter(arithmetic=solved), stats)


def scene():
    return Scene("one", "12+13?\n", (Replay("AR", ("2", "5"), (Pass("prefill", (0,), (0.9,)), Pass("step", (1,)))),))


@pytest.fixture
def task():
    scores = {
        "AR": score(39, 40, 1000, 1000, 4.0),
        f"converted, threshold {LIVE_THRESHOLD}": score(38, 40, 1000, 250, 2.0),
        "not converted, threshold 0.9": score(0, 40, 1000, 300, 2.0),
    }
    live = (LivePoint(0, 0.0, 2.5), LivePoint(50, 0.5, 3.0))
    return TaskAct(scores, (scene(),), live, 24, 61.0, 1_250_000)


@pytest.fixture
def model():
    prompt = Prompt("p-1", "Say <b>hello</b> & go", "writing")
    ar = DecodeStats(Counter(step=10), Counter(step=10), Counter({"step": 1.0}), [10])
    fast = DecodeStats(Counter(verify=4), Counter(verify=4), Counter({"verify": 0.8}), [10])
    ties = {"Jacobi": FirstDifference(3, 5, 6, 1e-4)}
    outputs = {"AR": Decoded([[1, 2, 3, 4]], ["length"], ar), "Jacobi": Decoded([[1, 2, 1, 2, 1, 2]], ["stop"], fast)}
    return ModelAct("m/x", "float32", 64, (Answer(prompt, "<script>", outputs, ties),), (scene(),))


def test_figures_of_act_one(task, methods):
    page = render_page(task, methods, None, ENVIRONMENT, 70, recorded=(), offline=True)
    assert "4.00" in page
    assert "95.0 ± 3.4 %" in page
    assert "2.00 ×" in page
    assert "2. A real model" not in page
    assert "A &lt;CPU&gt;" in page
    assert "absent" not in page


def test_figures_of_act_two_and_near_ties_are_told(task, methods, model):
    page = render_page(task, methods, model, ENVIRONMENT, 70, recorded=(), offline=True)
    assert "0 of 1" in page
    assert "2.50" in page
    assert "1.25 ×" in page
    assert "whose logit is 1.00e-04 below the best" in page
    assert "<td>1.000</td><td>0.0</td><td>0 %</td><td>4.0</td>" in page
    assert "<td>0.500</td><td>4.0</td><td>100 %</td><td>6.0</td>" in page


def test_only_an_offline_run_says_that_nothing_was_fetched(task, methods):
    assert "No request was made" in render_page(task, methods, None, ENVIRONMENT, 70, recorded=(), offline=True)
    assert "No request was made" not in render_page(task, methods, None, ENVIRONMENT, 70, recorded=(), offline=False)


def test_text_of_models_and_prompts_is_escaped(task, methods, model):
    page = render_page(task, methods, model, ENVIRONMENT, 70, recorded=(), offline=True)
    assert "Say &lt;b&gt;hello&lt;/b&gt; &amp; go" in page
    assert "<pre>&lt;script&gt;</pre>" in page


def test_page_asks_for_nothing_from_elsewhere(task, methods, model):
    page = render_page(task, methods, model, ENVIRONMENT, 70, recorded=(), offline=True)
    assert "default-src 'none'" in page
    urls = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert urls <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href)=", page)


def test_page_is_well_formed(task, methods, model):
    open_tags = []

    void = {"meta", "input", "br", "line", "circle", "polyline", "img", "link", "hr"}

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in void:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            if tag not in void:
                assert open_tags.pop() == tag

    Checker().feed(render_page(task, methods, model, ENVIRONMENT, 70, recorded=(), offline=True))
    assert open_tags == []


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_nothing_fails_or_is_wider_than_the_window(task, methods, model, tmp_path, width):
    page = render_page(task, methods, model, ENVIRONMENT, 70, recorded=(), offline=True)
    found = visit(page, tmp_path, width=width)
    assert found.troubles == []
    assert found.beyond == []
    assert found.content == found.width == width
