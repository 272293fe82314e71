"""The crash run: which jobs there are, where they are shot at, and that a loss is seen."""

import json

import pytest
from ar_core.registry import recipes


@pytest.fixture
def killing(benchmark_module):
    return benchmark_module("crashes.killing")


class Runs:
    """A job of ten write boundaries that leaves one file; what it writes when it is continued is told by ``spoil``."""

    def __init__(self, spoil):
        self.spoil, self.killed = spoil, False

    def uninterrupted(self, directory, names):
        directory.mkdir(parents=True, exist_ok=True)
        if self.killed and self.spoil == "refused":
            raise AssertionError("the uninterrupted run ended with 1")
        (directory / "model").write_text("other" if self.killed and self.spoil == "other" else "right")
        (directory / ".tmp-of-a-dead-process").write_text(str(self.killed))
        self.killed = False
        return 0.0

    def boundaries(self, directory, names):
        self.killed = False
        self.uninterrupted(directory, names)
        return 10

    def killed_at(self, directory, boundary, names):
        self.killed = True
        return boundary < 10

    def killed_after(self, directory, seconds, names):
        self.killed = True
        return True


def test_every_recipe_is_killed(benchmark_module):
    assert recipes().keys() <= benchmark_module("crashes.jobs").JOBS.keys()


def test_boundaries_are_spread_from_the_first_shot_on(killing):
    assert list(killing.spread(6)) == [4, 2, 1, 5, 3, 0]
    assert [list(killing.spread(count)) for count in (0, 1, 2)] == [[], [0], [1, 0]]
    assert sorted(killing.spread(100)) == list(range(100))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [("", ""), ("other", "files differ: model"), ("refused", "AssertionError: the uninterrupted run ended with 1")],
)
def test_what_differs_in_the_end_is_lost(killing, tmp_path, spoil, says):
    field = killing.Range(Runs(spoil), tmp_path / "shots", {"var": {"done": [0], "jobs": 1, "kills_at_boundaries": 2}})
    row = field.shoot("var")
    assert (row["done"], row["boundaries"], row["kills_at_boundaries"], row["jobs"]) == ([0, 8], 10, 4, 2)
    assert row["lost"] == ([f"boundary 8: {says}"] if spoil else [])
    row = field.shoot("var")
    assert (row["kills_at_moments"], row["jobs"], len(row["lost"])) == (3, 3, 2 if spoil else 0)


def test_a_job_that_does_not_repeat_itself_is_said_to(killing, tmp_path):
    field = killing.Range(Runs(""), tmp_path / "shots", {})
    field.target("var").expected = {"files": {"model": "of a run that comes out in another way"}, "metrics": []}
    assert field.shoot("var")["lost"] == ["boundary 8: files differ: model; two runs that nobody kills differ too"]


def test_a_sitting_goes_on_where_the_last_one_stopped(benchmark_module, monkeypatch, tmp_path, capsys):
    command, killing = benchmark_module("crashes.__main__"), benchmark_module("crashes.killing")

    class Server(Runs):
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(killing, "started", lambda home, names: Server(""))
    given = ["run", "--jobs", "var", "sar", "--home", str(tmp_path / "home"), "--results", str(tmp_path)]
    assert command.main([*given, "--kills", "8"]) == 0
    assert command.main([*given, "--kills", "14"]) == 0
    assert "6 kills in" in capsys.readouterr().out
    results = json.loads((tmp_path / "crashes.json").read_text())
    assert {name: row["jobs"] for name, row in results["rows"].items()} == {"var": 3, "sar": 3}
    table = benchmark_module("crashes.rendering").markdown_table(results)
    assert "| `sar` | training | 2 of 10 | 4 | 3 | 3 | 0 |" in table
    assert "| all |  |  | 8 | 6 | 6 | 0 |" in table
    assert command.main(["run", "--jobs", "nothing"]) == 2
