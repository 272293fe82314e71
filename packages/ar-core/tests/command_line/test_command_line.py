"""What all commands share: results as text, tables or one JSON document, errors as one sentence, help, completion."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

pytest.importorskip("typer", reason="the extra cli is not installed")

TOY = '''
import os, subprocess, sys
from pathlib import Path
from typing import Annotated
import typer
from ar_core.command_line import Commands, add_command, completed, run_program
from ar_core.command_result import CommandResult, ResultTable
from ar_core.errors import ConfigError

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
FIELDS = {"size, place": "what was measured", "ratio": "may be infinite"}
COLOURS = completed({"red": "like a rose", "green": "like grass"})


def measure(
    size: Annotated[int, typer.Argument(help="Of it.")] = 3,
    colour: Annotated[str, typer.Option(autocompletion=COLOURS)] = "red",
    fail: bool = False,
    more: bool = False,
) -> CommandResult:
    """Measure something."""
    print("on the way", flush=True)
    os.write(1, b"from a library in C\\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    if fail:
        raise ConfigError(f"the size {size} is too large; give a smaller one")
    data = {"size": size, "place": Path("here"), "ratio": float("inf")} | ({"extra": 1} if more else {})
    table = ResultTable(("figure", "value"), (("size", str(size)),))
    return CommandResult("all measured", data, table=table, notes=["noted"], exit_code=size == 7)


add_command(app, measure, examples=("toy measure 3 --json",), fields=FIELDS)
add_command(app, lambda: CommandResult("second", {}), examples=("toy second",), fields={}, name="second", summary="Second.")
run_program(app, "toy")
'''


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def toy(tmp_path):
    """Run a program of two commands in a process of its own, as users do."""
    file = tmp_path / "toy.py"
    file.write_text(TOY)

    def run(*arguments, **variables):
        clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
        ran = subprocess.run(
            [sys.executable, file, *arguments], env={**clean, **variables}, capture_output=True, text=True
        )
        return Outcome(ran.returncode, ran.stdout, ran.stderr)

    return run


def test_text_for_people_and_nothing_but_text_where_there_is_no_terminal(toy):
    said = toy("measure")
    assert said.code == 0
    assert said.out.splitlines() == ["on the way", "from a library in C", "from a child", "size: 3", "all measured"]
    assert said.err == "noted\n"
    assert "\x1b" not in said.out + said.err
    quiet = toy("measure", "--quiet")
    assert (quiet.out, quiet.err) == (said.out, "")
    assert toy("measure", "7").code == 1


def test_json_is_all_that_standard_output_holds(toy):
    said = toy("measure", "--json")
    assert json.loads(said.out) == {"size": 3, "place": "here", "ratio": None}
    assert said.err.splitlines() == ["on the way", "from a library in C", "from a child", "noted"]
    assert "noted" not in toy("measure", "--json", "--quiet").err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("measure", "9", "--fail"), "the size 9 is too large; give a smaller one."),
        (("measure", "nine"), "Invalid value for 'size'"),
        (("measure", "--colr", "red"), "--colour"),
        (("measure", "3", "4"), "toy measure --help"),
        (("measrue",), "there is no command 'measrue'; did you mean 'measure'?"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_exit_code_2(toy, arguments, says):
    said = toy(*arguments, "--json") if len(arguments) > 1 else toy(*arguments)
    assert (said.code, said.out) == (2, "")
    last = said.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.endswith((".", "?"))
    assert says in last
    assert sum(line.startswith("error: ") for line in said.err.splitlines()) == 1


def test_a_field_without_documentation_is_a_defect(toy):
    said = toy("measure", "--more", "--json")
    assert said.code == 1
    assert "fields without documentation: {'extra'}" in said.err


def test_help_ends_with_fields_and_examples(toy):
    out = toy("measure", "--help").out
    for part in ("Fields of --json", "size, place", "may be infinite", "toy measure 3 --json", "--quiet"):
        assert part in out
    assert "size, place" not in toy("second", "--help").out


def test_shells_complete_words_with_their_meaning(toy):
    asked = {"_TOY_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "toy measure --colour r"}
    out = toy(**asked).out
    assert "red" in out
    assert "like a rose" in out
    assert "green" not in out
    assert "second" in toy(_TOY_COMPLETE="complete_bash", COMP_WORDS="toy se", COMP_CWORD="1").out


def test_colours_only_where_they_are_wanted(toy):
    coloured = toy("measure", "--quiet", FORCE_COLOR="1").out
    assert "figure" in coloured, "a terminal gets the table"
    assert "\x1b[" in coloured
    plain = toy("measure", "--quiet", FORCE_COLOR="1", NO_COLOR="1").out
    assert not any(f"\x1b[{code}" in plain for code in ("3", "9", "38;"))


def test_a_result_shows_itself_in_a_notebook():
    from ar_core.command_result import CommandResult, PictureSheet, ResultTable
    from PIL import Image

    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    sheet = PictureSheet(pictures, ["<a>", "b"], 2, Image.new("RGB", (20, 10)))
    table = ResultTable(("measure", "mean", "spread"), (("a<b", "1.5", "0.1"), ("c", "2", "")))
    result = CommandResult("done & written", {"n": 1}, table=table, pictures=sheet)
    assert result == "a<b: mean 1.5, spread 0.1\nc: mean 2\ndone & written"
    assert result.data == {"n": 1}
    page = result._repr_html_()
    assert "<td>a&lt;b</td>" in page
    assert "done &amp; written" in page
    assert 'alt="&lt;a&gt;, b"' in page
    assert sheet._repr_png_().startswith(b"\x89PNG")


def test_pictures_in_a_terminal_are_half_blocks_below_their_captions():
    from ar_core.command_line.half_blocks import half_blocks, labelled
    from ar_core.command_result import PictureSheet
    from PIL import Image
    from rich.console import Console

    picture = Image.new("RGB", (2, 2))
    picture.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    text = half_blocks(picture, 2)
    assert text.plain == "▀▀"
    first, second = (span.style for span in text.spans)
    assert (first.color.triplet, first.bgcolor.triplet) == ((255, 0, 0), (0, 0, 255))
    assert (second.color.triplet, second.bgcolor.triplet) == ((0, 255, 0), (255, 255, 255))
    large = Image.new("RGB", (64, 32))
    console = Console(width=60, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(labelled(PictureSheet([large] * 3, ["red", "green", "blue"], 3, large), 60))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["red", "green", "blue"]
    assert all(len(line) <= 60 for line in lines)
