"""The replay in a terminal, and its lines elsewhere."""

import io

from ar_decode.replay import Pass, Replay, Scene
from ar_decode.terminal_replay import frame, play, transcript
from rich.console import Console

AR = Replay("ar", ("one", " two", "\n"), (Pass("prefill", (0,), (0.9,)), Pass("step", (1,)), Pass("step", (2,))))
FAST = Replay("lookup", ("one", " two", "\n"), (Pass("verify", (0, 2, 1)), Pass("stores only", ())))
SCENE = Scene("1: say", "say [b]one[/b]", (AR, FAST))


def shown(step: int, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False, markup=False)
    console.print(frame(SCENE, step, width))
    return console.file.getvalue()


def test_unknown_tokens_are_dots_until_their_pass():
    before, first, last = shown(0), shown(1), shown(3)
    assert "one" not in before.split("\n", 1)[1]
    assert "···" in before
    assert "one····" in first.replace(" ", "")
    assert first.count("one") == 3, "the prompt and both panes"
    assert "ar · pass 3/3 · step" in last
    assert "lookup · pass 2/2 · finished" in last
    assert "3/3 tokens, 1.00 a pass" in last
    assert "3/3 tokens, 1.50 a pass" in last
    assert "[b]one[/b]" in before, "text of prompts is no markup"


def test_panes_stand_below_each_other_in_a_narrow_terminal():
    wide, narrow = shown(2).splitlines(), shown(2, width=60).splitlines()
    assert any("ar ·" in line and "lookup ·" in line for line in wide)
    assert not any("ar ·" in line and "lookup ·" in line for line in narrow)


def test_without_a_terminal_there_are_lines():
    file = io.StringIO()
    play([SCENE], Console(file=file, width=80), speed=1000)
    assert "\x1b" not in file.getvalue()
    lines = list(transcript([SCENE]))
    assert lines[0] == "prompt: 'say [b]one[/b]'"
    assert lines[1:3] == ["ar: 3 tokens in 3 passes", "  1 prefill: positions 0: 'one' (confidence 0.90)"]
    assert lines[-2] == "  1 verify: positions 0, 1, 2: 'one two\\n'"
    assert lines[-1] == "  2 stores only: positions none: ''"


def test_a_terminal_is_played_to_at_the_speed_that_was_asked_for(monkeypatch):
    waited = []
    monkeypatch.setattr("ar_decode.terminal_replay.time.sleep", waited.append)
    file = io.StringIO()
    play([SCENE, SCENE], Console(file=file, width=80, force_terminal=True), speed=8)
    assert waited == [1 / 8] * 6, "three passes of either scene"
    assert "finished" in file.getvalue()


def test_trace_plays_and_writes(ar_decode, plain_model, tmp_path):
    page = tmp_path / "r.html"
    outcome = ar_decode("trace", plain_model, "ab ab", "-n", 4, "-o", page, "--play", "--speed", 16)
    assert outcome.code == 0, outcome.err
    assert "ar: 4 tokens in 4 passes" in outcome.out
    assert 'data-speed="16"' in page.read_text()
