"""Releases: what the command `release` checks, changes and tells, on a workspace of two tiny packages and on this one."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import typer
from ar_release.affected import affected_by
from ar_release.build import Built, build, compare_wheels
from ar_release.bump import bump
from ar_release.changelog import read_changelog, release_unreleased
from ar_release.check import STEPS
from ar_release.cli import app, main
from ar_release.contents import check_contents
from ar_release.environment import locked_with_extra
from ar_release.errors import ReleaseError
from ar_release.help import EXAMPLES, FIELDS
from ar_release.interface import IncompatibleError, check_interface
from ar_release.levels import asked_level, bumped
from ar_release.metadata import check_metadata
from ar_release.plan import plan
from ar_release.siblings import check_bounds, lowest_siblings
from ar_release.tag import make_tag, notes
from ar_release.tags import last_tag, parse_tag, released_versions
from ar_release.versions import check_version
from ar_release.workspace import Workspace, find_workspace
from release_workspace import commit, write_workspace

ROOT = Path(__file__).resolve().parents[1]
UV = os.environ.get("UV", "uv")
NAMES = ["ar-kernels", "ar-core", "ar-vision", "dlm-text", "dvlm", "ar-decode", "ar-train", "ar-quickstart"]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("written") / "demo"
    write_workspace(root)
    return root


@pytest.fixture
def demo(written, tmp_path) -> Workspace:
    """A copy of the tiny workspace that a test may change."""
    return find_workspace(shutil.copytree(written, tmp_path / "demo"))


@pytest.fixture(scope="module")
def built(written, tmp_path_factory) -> Built:
    """Wheel and archive of demo-core as it stands."""
    return build(find_workspace(written).package("demo-core"), tmp_path_factory.mktemp("built"))


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def read_again(workspace: Workspace, name: str):
    return find_workspace(workspace.root).package(name)


@pytest.fixture
def release(monkeypatch, capsys):
    """The command line in a folder: exit code, what it writes, and what it writes on standard error."""

    def called(root: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(root)
        monkeypatch.setattr(sys, "argv", ["release", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return called


# Names and numbers


def test_both_forms_of_tags_are_read_and_one_is_made(demo):
    assert (parse_tag("ar-core-v0.10.2").name, parse_tag("ar-core-v0.10.2").version) == ("ar-core", "0.10.2")
    assert (parse_tag("dvlm-1.0.0").name, parse_tag("dvlm-1.0.0").version) == ("dvlm", "1.0.0")
    for text in ("ar-core", "v0.1.0", "ar-core-v0.1", "ar-core-v0.1.0rc1", "ar_core-v0.1.0"):
        with pytest.raises(ReleaseError, match="allowed are tags such as"):
            parse_tag(text)
    subprocess.run(["git", "tag", "demo-core-0.9.0"], cwd=demo.root, check=True)
    subprocess.run(["git", "tag", "demo-core-v0.10.0"], cwd=demo.root, check=True)
    subprocess.run(["git", "tag", "demo-core-more-v3.0.0"], cwd=demo.root, check=True)
    core = demo.package("demo-core")
    assert list(released_versions(demo.root, "demo-core")) == ["0.9.0", "0.10.0"]
    assert last_tag(core) == "demo-core-v0.10.0"
    assert last_tag(core, before="0.10.0") == "demo-core-0.9.0"
    assert last_tag(core, before="0.9.0") is None


def test_levels():
    assert [bumped("0.1.9", level) for level in ("patch", "minor", "major")] == ["0.1.10", "0.2.0", "1.0.0"]
    assert asked_level("0.4.0", ["x"], ["y"]) == "minor"
    assert asked_level("0.4.0", [], ["y"]) == "patch"
    assert asked_level("2.4.0", ["x"], []) == "major"
    assert asked_level("2.4.0", [], ["y"]) == "minor"
    assert asked_level("2.4.0", [], []) == "patch"


def test_packages_come_in_an_order_in_which_they_can_be_released():
    workspace = find_workspace(ROOT / "packages")
    order = [one.name for one in workspace.packages]
    assert sorted(order) == sorted(NAMES)
    assert "ar-release" in {one.name for one in workspace.members}
    for one in workspace.packages:
        assert all(order.index(sibling.name) < order.index(one.name) for sibling in workspace.siblings(one))
    with pytest.raises(ReleaseError, match="no package 'ar-release' to release"):
        workspace.package("ar-release")


def test_changelogs_have_one_form(tmp_path):
    path = tmp_path / "CHANGELOG.md"
    path.write_text("# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.1.0 (2026-01-31)\n\n- First.\n")
    assert [(one.version, one.date, one.text) for one in read_changelog(path)] == [
        (None, None, "- New."),
        ("0.1.0", "2026-01-31", "- First."),
    ]
    release_unreleased(path, "0.2.0", date(2026, 2, 1))
    assert path.read_text() == (
        "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-02-01)\n\n- New.\n\n## 0.1.0 (2026-01-31)\n\n- First.\n"
    )
    with pytest.raises(ReleaseError, match="says nothing under its first heading"):
        release_unreleased(path, "0.3.0", date(2026, 2, 2))
    path.write_text("# Changelog\n\n## 0.1.0 (2026-01-31)\n\n- First.\n")
    with pytest.raises(ReleaseError, match="nothing unreleased"):
        release_unreleased(path, "0.2.0", date(2026, 2, 2))
    path.write_text("# Changelog\n\n## Version 3\n")
    with pytest.raises(ReleaseError, match="heading 'Version 3'"):
        read_changelog(path)


# Versions


def test_a_version_that_is_told_in_two_ways_is_refused(demo):
    core = demo.package("demo-core")
    assert check_version(core, None) == "0.1.0, not dated yet"
    with pytest.raises(ReleaseError, match=r"calls 0\.1\.0 unreleased"):
        check_version(core, parse_tag("demo-core-v0.1.0"))
    rewrite(core.folder / "CHANGELOG.md", "(unreleased)", "(2026-01-31)")
    assert check_version(core, parse_tag("demo-core-0.1.0")) == "0.1.0 of 2026-01-31"
    for tag in ("demo-core-v0.2.0", "demo-app-v0.1.0"):
        with pytest.raises(ReleaseError, match=f"the tag {tag} is not of demo-core"):
            check_version(core, parse_tag(tag))
    rewrite(core.folder / "CHANGELOG.md", "## 0.1.0", "## 0.1.1")
    with pytest.raises(ReleaseError, match=r"version 0\.1\.0 and its changelog's newest is 0\.1\.1"):
        check_version(core, None)
    rewrite(core.source / "__init__.py", '"0.1.0"', '"0.1.1"')
    with pytest.raises(ReleaseError, match=r"__version__ is 0\.1\.1"):
        check_version(core, None)


def test_bounds_on_siblings_have_to_exist(demo):
    app = demo.package("demo-app")
    with pytest.raises(ReleaseError, match=r"needs demo-core>=0\.2\.0, which is not released: released are none"):
        check_bounds(demo, app, tagged=False)
    rewrite(app.folder / "pyproject.toml", "demo-core>=0.2.0", "demo-core>=0.1.0")
    app = read_again(demo, "demo-app")
    assert check_bounds(demo, app, tagged=False) == "to be released before: demo-core 0.1.0"
    with pytest.raises(ReleaseError, match=r"release demo-core 0\.1\.0 first"):
        check_bounds(demo, app, tagged=True)
    subprocess.run(["git", "tag", "demo-core-v0.1.0"], cwd=demo.root, check=True)
    assert check_bounds(demo, app, tagged=True) == "demo-core>=0.1.0"
    rewrite(app.folder / "pyproject.toml", "demo-core>=0.1.0", "demo-core")
    with pytest.raises(ReleaseError, match="give it a lower bound"):
        check_bounds(demo, read_again(demo, "demo-app"), tagged=False)


def test_the_lowest_version_of_a_sibling_depends_on_the_extra(demo):
    app = demo.package("demo-app")
    assert lowest_siblings(demo, app) == {"demo-core": "0.1.0"}
    assert lowest_siblings(demo, app, ("draw",)) == {"demo-core": "0.2.0"}
    workspace = find_workspace(ROOT)
    assert set(lowest_siblings(workspace, workspace.package("ar-vision"))) == {"ar-kernels", "ar-core"}
    beside = lowest_siblings(workspace, workspace.package("ar-train"), (), ("dlm-text",))
    assert set(beside) == {"ar-kernels", "ar-core", "dlm-text"}


@pytest.mark.parametrize("name", NAMES)
def test_every_package_here_tells_one_version_and_asks_for_siblings_that_exist(name):
    workspace = find_workspace(ROOT)
    package = workspace.package(name)
    assert check_version(package, None).startswith(package.version)
    check_bounds(workspace, package, tagged=False)


# Bumps and tags


def test_a_bump_changes_four_files_and_the_lock_still_fits(tmp_path, release):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--shared", ROOT, clone], check=True)
    for name in NAMES:
        package = find_workspace(clone).package(name)
        code, _, said = release(clone, "bump", name, "minor", "--date", "2026-12-24")
        assert code == 0, said
        after = bumped(package.version, "minor")
        changed = subprocess.check_output(["git", "diff", "--numstat"], cwd=clone, text=True).split("\n")[:-1]
        lines = {file: (int(more), int(less)) for more, less, file in (line.split("\t") for line in changed)}
        changelog = f"{package.relative}/CHANGELOG.md"
        one_line = {
            "uv.lock",
            f"{package.relative}/pyproject.toml",
            f"{package.relative}/src/{package.module}/__init__.py",
        }
        assert lines.keys() == one_line | {changelog}
        assert all(lines[file] == (1, 1) for file in one_line)
        headings = [line for line in (clone / changelog).read_text().splitlines() if line.startswith("## ")]
        assert headings[:2] == ["## Unreleased", f"## {after} (2026-12-24)"]
        bumped_package = find_workspace(clone).package(name)
        assert check_version(bumped_package, parse_tag(f"{name}-v{after}")) == f"{after} of 2026-12-24"
        if name == "ar-core":
            lock = subprocess.run([UV, "lock", "--check", "--offline"], cwd=clone, capture_output=True, text=True)
            assert lock.returncode == 0, lock.stderr
        subprocess.run(["git", "checkout", "-q", "."], cwd=clone, check=True)


def test_the_first_release_keeps_its_version(demo):
    core = demo.package("demo-core")
    version, files = bump(core, "first", date(2026, 1, 31))
    assert (version, files) == ("0.1.0", [core.folder / "CHANGELOG.md"])
    assert check_version(core, parse_tag("demo-core-v0.1.0")) == "0.1.0 of 2026-01-31"
    commit(demo.root)
    assert make_tag(core) == "demo-core-v0.1.0"
    with pytest.raises(ReleaseError, match="has a release already"):
        bump(core, "first", date(2026, 1, 31))


def test_nothing_is_written_by_a_bump_that_fails(demo):
    core = demo.package("demo-core")
    for level, said in (("tiny", "the level is 'tiny'"), ("minor", "has 0 lines that tell the version")):
        rewrite(core.source / "__init__.py", "__version__", "version") if level == "minor" else None
        before = {path: path.read_bytes() for path in core.folder.rglob("*") if path.is_file()}
        with pytest.raises(ReleaseError, match=said):
            bump(core, level, date(2026, 1, 31))
        assert before == {path: path.read_bytes() for path in core.folder.rglob("*") if path.is_file()}


def test_a_tag_carries_the_notes_and_is_made_once(demo, release):
    core = demo.package("demo-core")
    with pytest.raises(ReleaseError, match="unreleased"):
        make_tag(core)
    bump(core, "minor", date(2026, 1, 31))
    core = read_again(demo, "demo-core")
    with pytest.raises(ReleaseError, match="differs from the commit"):
        make_tag(core)
    commit(demo.root)
    assert release(demo.root, "tag", "demo-core") == (0, "demo-core-v0.2.0\n", "")
    assert not released_versions(demo.root, "demo-core")
    assert make_tag(core) == "demo-core-v0.2.0"
    message = subprocess.check_output(["git", "tag", "-l", "--format=%(contents)"], cwd=demo.root, text=True)
    assert message.strip() == f"demo-core-v0.2.0\n\n{notes(core, core.version)}"
    assert release(demo.root, "notes", "--tag", "demo-core-v0.2.0") == (0, "- First.\n", "")
    assert "has no section of 0.1.9" in release(demo.root, "notes", "--tag", "demo-core-v0.1.9")[2]
    with pytest.raises(ReleaseError, match="is tagged already"):
        make_tag(core)


# What would be published


def with_wheel(built: Built, folder: Path, *, less: str | None = None, **more: bytes | str) -> Built:
    """The same release with files taken from its wheel, or put in place of others."""
    wheel = folder / built.wheel.name
    with zipfile.ZipFile(built.wheel) as old, zipfile.ZipFile(wheel, "w") as new:
        for name in old.namelist():
            if name != less and name not in more:
                new.writestr(name, old.read(name))
        for name, content in more.items():
            new.writestr(name, content)
    return replace(built, wheel=wheel)


def test_what_belongs_is_accepted(written, built):
    core = find_workspace(written).package("demo-core")
    assert check_contents(core, built).startswith("6 files")
    assert check_metadata(core, built) == "no project URLs"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"demo_core/tests/test_it.py": ""}, "would ship demo_core/tests/test_it.py"),
        ({"demo_core/weights.safetensors": ""}, "would ship demo_core/weights.safetensors"),
        ({"tests/test_it.py": ""}, "would ship tests/test_it.py"),
        ({"demo_core/__pycache__/it.py": ""}, "would ship demo_core/__pycache__/it.py"),
        ({"less": "demo_core/py.typed"}, "lacks demo_core/py.typed"),
        ({"less": "demo_core-0.1.0.dist-info/licenses/LICENSE"}, "has to hold the LICENSE"),
        ({"demo_core-0.1.0.dist-info/licenses/LICENSE": "Another one."}, "has to hold the LICENSE"),
        ({"demo_core/big.py": os.urandom(3 * 2**20)}, "MiB, and at most 2 are allowed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_belong_is_refused(written, built, tmp_path, change, said):
    core = find_workspace(written).package("demo-core")
    with pytest.raises(ReleaseError, match=said):
        check_contents(core, with_wheel(built, tmp_path, **change))


def test_data_are_shipped_if_they_are_declared(demo, built, tmp_path):
    core = demo.package("demo-core")
    declared = '\n[tool.ar-release]\ndata = ["demo_core/weights/*"]\n'
    (core.folder / "pyproject.toml").write_text((core.folder / "pyproject.toml").read_text() + declared)
    core = read_again(demo, "demo-core")
    check_contents(core, with_wheel(built, tmp_path, **{"demo_core/weights/one/model.safetensors": "0"}))
    with pytest.raises(ReleaseError, match="which no shipped file fits"):
        check_contents(core, built)
    rewrite(core.folder / "pyproject.toml", "data =", "date =")
    with pytest.raises(ReleaseError, match="unknown key 'date'"):
        find_workspace(demo.root)


def test_code_that_a_build_leaves_out_is_missed(demo, built):
    core = demo.package("demo-core")
    (core.source / "new.py").write_text("")
    with pytest.raises(ReleaseError, match=r"lacks demo_core/new\.py, which is in the checkout"):
        check_contents(core, built)
    with pytest.raises(ReleaseError, match=r"differ in demo_core/new\.py"):
        compare_wheels(core, built, demo.root)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("License-Expression: Apache-2.0", "License-Expression: MIT", "has the licence MIT"),
        ("License-Expression: Apache-2.0", "License-Expression: Free", "are not valid"),
        ("Requires-Python: >=3.11", "Requires-Python: >=3.10", "has requires-python"),
        ("Classifier: Typing :: Typed\n", "", "lacks the classifier 'Typing :: Typed'"),
        ("Requires-Python", "Project-URL: Source, http://a.example\nRequires-Python", "begin with https"),
        ("\n\n# demo-core\n\nA package of a test.\n", "\n\n", "would not show the README"),
    ],
    ids=["licence", "expression", "python", "classifier", "url", "readme"],
)
def test_metadata_that_an_index_should_not_be_told(written, built, tmp_path, old, new, said):
    name = "demo_core-0.1.0.dist-info/METADATA"
    with zipfile.ZipFile(built.wheel) as wheel:
        text = wheel.read(name).decode()
    assert old in text
    changed = with_wheel(built, tmp_path, **{name: text.replace(old, new)})
    with pytest.raises(ReleaseError, match=said):
        check_metadata(find_workspace(written).package("demo-core"), changed)


# The interface


INCOMPATIBLE = {
    "removed": ("def kept()", "def gone()", "demo_core.kept"),
    "parameter renamed": ("factor: float = 2.0", "times: float = 2.0", "demo_core.scale"),
    "parameter required": ("factor: float = 2.0", "factor: float", "demo_core.scale"),
}


@pytest.mark.parametrize("case", INCOMPATIBLE)
def test_incompatible_changes_ask_for_a_bump(demo, tmp_path, case):
    core = demo.package("demo-core")
    old, new, named = INCOMPATIBLE[case]
    rewrite(core.source / "__init__.py", old, new)
    with pytest.raises(IncompatibleError, match=r"since HEAD ask for version 0\.2\.0 or higher") as caught:
        check_interface(core, tmp_path, against="HEAD")
    assert any(line.startswith(named) for line in caught.value.broken)
    bump(core, "patch", date(2026, 1, 31))
    with pytest.raises(IncompatibleError):
        check_interface(read_again(demo, "demo-core"), tmp_path, against="HEAD")
    rewrite(core.folder / "pyproject.toml", "0.1.1", "0.2.0")
    assert check_interface(read_again(demo, "demo-core"), tmp_path, against="HEAD").startswith("1 incompatible changes")


def test_what_is_announced_belongs_to_the_interface(demo, tmp_path):
    app = demo.package("demo-app")
    rewrite(app.folder / "pyproject.toml", 'demo-app = "demo_app:main"', 'demo = "demo_app:main"')
    rewrite(app.folder / "pyproject.toml", "draw = [", "paint = [")
    with pytest.raises(IncompatibleError) as caught:
        check_interface(read_again(demo, "demo-app"), tmp_path, against="HEAD")
    assert caught.value.broken == ("command demo-app: removed", "extra draw: removed")


def test_options_of_commands_belong_to_the_interface(demo, tmp_path):
    app = demo.package("demo-app")
    code = '"""Commands."""\n__all__ = ["app"]\napp = make()\n\n@app.command("go")\ndef go(fast: bool = False) -> None: ...\n'
    (app.source / "cli.py").write_text(code)
    commit(demo.root)
    rewrite(app.source / "cli.py", "fast", "slow")
    with pytest.raises(IncompatibleError) as caught:
        check_interface(app, tmp_path, against="HEAD")
    assert caught.value.broken == ("demo_app.cli.go: parameter was removed: fast=False",)


def test_additions_ask_for_nothing_before_version_one(demo, tmp_path):
    core = demo.package("demo-core")
    assert check_interface(core, tmp_path).endswith("no earlier release to compare with")
    rewrite(core.source / "__init__.py", '["kept"', '["added", "kept"')
    rewrite(core.source / "__init__.py", "def kept()", "def added() -> None:\n    ...\n\n\ndef kept()")
    assert check_interface(core, tmp_path, against="HEAD") == "0 incompatible changes and 1 additions since HEAD"


# What a change concerns


def concerned(*files: str) -> set[str]:
    return set(affected_by(find_workspace(ROOT), list(files)).packages)


def test_a_change_concerns_the_package_and_what_needs_it():
    assert concerned("kernels/src/ar_kernels/confidence.py") == set(NAMES)
    assert concerned("uv.lock") == concerned(".github/workflows/ci.yml") == set(NAMES)
    assert concerned("docs/performance.md", "benchmarks/tables.py") == set()
    vision = concerned("packages/ar-vision/README.md")
    assert "ar-vision" in vision
    assert not vision & {"ar-kernels", "ar-core", "dlm-text"}
    # Its tests decode with the models that the quickstart ships.
    assert concerned("apps/quickstart/src/ar_quickstart/page.py") >= {"ar-quickstart", "ar-decode"}


def test_a_file_of_no_package_concerns_those_whose_tests_name_it():
    assert concerned("docs/performance.md", "LICENSE") == set()
    assert concerned("docs/methods/sar.md") == {"ar-vision"}
    # A module of tests/, which tests of the applications import.
    assert concerned("tests/headless_browser.py") == {"ar-decode", "ar-quickstart"}


def test_affected_prints_a_matrix(demo, release):
    core = demo.package("demo-core")
    (core.folder / "tests").mkdir()
    (core.folder / "tests" / "test_it.py").write_text("")
    commit(demo.root)
    (core.source / "more.py").write_text("")
    commit(demo.root)
    _, written, _ = release(demo.root, "affected", "HEAD~1", "--json")
    assert written.count("\n") == 1
    assert json.loads(written) == {
        "members": ["packages/demo-core"],
        "packages": ["demo-core", "demo-app"],
    }
    assert release(demo.root, "affected", "HEAD~1") == (0, "packages/demo-core\n", "")
    (line,) = release(demo.root, "affected", "nowhere")[2].splitlines()
    assert line.startswith("error: 'nowhere' names no commit of this checkout")


def test_the_plan_tells_what_each_package_asks_for(demo):
    core, app = demo.package("demo-core"), demo.package("demo-app")
    first = plan(demo)
    assert [(one.name, one.asks, one.commits) for one in first] == [("demo-core", "first", 1), ("demo-app", "first", 1)]
    assert first[1].waits_for == ("demo-core 0.2.0",)
    for one in (core, app):
        bump(one, "first", date(2026, 1, 31))
    commit(demo.root)
    for one in (core, app):
        make_tag(one)
    rewrite(core.source / "__init__.py", "def kept()", "def gone()")
    commit(demo.root)
    planned = {one.name: one for one in plan(demo)}
    assert (planned["demo-core"].asks, planned["demo-core"].commits) == ("minor", 1)
    assert planned["demo-core"].last == "demo-core-v0.1.0"
    assert [line.partition(":")[0] for line in planned["demo-core"].broken] == ["demo_core.kept"]
    assert planned["demo-app"].asks == "nothing"
    rewrite(core.folder / "CHANGELOG.md", "## Unreleased", "## Unreleased\n\n- Changed.")
    bump(core, "minor", date(2026, 2, 1))
    commit(demo.root)
    assert next(iter(plan(find_workspace(demo.root)))).asks == "tag"


# The whole check


def test_the_check_installs_siblings_at_their_lowest_versions(demo, tmp_path, release):
    core, app = demo.package("demo-core"), demo.package("demo-app")
    bump(core, "first", date(2026, 1, 31))
    commit(demo.root)
    make_tag(core)
    (core.source / "more.py").write_text("")
    rewrite(core.folder / "CHANGELOG.md", "## Unreleased", "## Unreleased\n\n- More.")
    bump(core, "minor", date(2026, 2, 1))
    commit(demo.root)
    code, written, said = release(demo.root, "check", "demo-app", "--json", "--out", str(tmp_path / "out"))
    assert code == 0, said
    results = json.loads(written)
    assert [one["step"] for one in results] == list(STEPS)
    assert {one["state"] for one in results} == {"passed"}
    told = {one["step"]: one["note"] for one in results}
    assert told["job"] == "on demo-core 0.1.0"
    assert told["imports"] == "1 modules, 1 ask for more"
    assert told["extras"] == "draw: 2 modules"
    assert told["scripts"] == "demo-app"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "demo_app-0.1.0-py3-none-any.whl",
        "demo_app-0.1.0.tar.gz",
    ]
    assert app.version == "0.1.0"


def test_a_failed_step_ends_the_check_with_one_sentence(demo, release):
    core = demo.package("demo-core")
    (core.source / "left.txt").write_text("")
    code, _, said = release(demo.root, "check", "demo-core")
    assert code == 2
    assert said.strip().splitlines()[-1].startswith("error: demo-core, checkout: 1 files differ from the commit")
    _, written, _ = release(demo.root, "check", "demo-core", "--allow-dirty", "--no-install", "--json")
    results = json.loads(written)
    assert [one["state"] for one in results] == ["passed"] * 6 + ["failed"]
    assert "would ship demo_core/left.txt" in results[-1]["note"]


def test_a_tag_is_checked_where_it_is(demo, release):
    core = demo.package("demo-core")
    bump(core, "first", date(2026, 1, 31))
    commit(demo.root)
    make_tag(core)
    checked = (
        "check",
        "--tag",
        "demo-core-v0.1.0",
        *(word for step in STEPS if step != "checkout" for word in ("--skip", step)),
    )
    assert release(demo.root, *checked)[0] == 0
    (core.source / "more.py").write_text("")
    commit(demo.root)
    code, _, said = release(demo.root, *checked)
    assert code == 2
    assert "check the tag out" in said


def test_an_extra_that_is_not_installed_is_resolved(written):
    assert locked_with_extra(written, "demo-app", "draw") == []
    with pytest.raises(ReleaseError, match="Extra `paint` is not defined"):
        locked_with_extra(written, "demo-app", "paint")
    assert any(line.startswith("flash-attn==") for line in locked_with_extra(ROOT, "ar-core", "flash-attn"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_of_a_command_ends_with_its_fields_and_examples(name, release):
    code, said, _ = release(ROOT, name, "--help")
    assert code == 0
    assert "--json" in said
    told = said.partition("Fields of --json\n")[2]
    assert [line.split()[0] for line in told.partition("Examples\n")[0].splitlines()] == list(FIELDS[name])
    command = typer.main.get_command(app).commands[name]
    for example in EXAMPLES[name]:
        assert f"  {example}\n" in told
        command.make_context(name, shlex.split(example)[2:])


def test_documents_have_the_fields_that_the_help_names(demo, release):
    calls = {
        "check": ("demo-core", "--no-install"),
        "plan": (),
        "affected": ("HEAD",),
        "tag": ("demo-core",),
        "notes": ("demo-core",),
        "bump": ("demo-core", "first"),
    }
    assert calls.keys() == FIELDS.keys()
    for name, words in calls.items():
        code, written, said = release(demo.root, name, *words, "--json")
        assert code == 0, said
        found = json.loads(written)
        assert list(found[0] if isinstance(found, list) else found) == list(FIELDS[name]), name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "no package is named"),
        (["check", "demo-core", "--all"], "both --all and 'demo-core'"),
        (["check", "demo-cor"], "no package 'demo-cor'"),
        (["check", "demo-core", "--skip", "lunch"], "no step 'lunch'"),
        (["bump", "demo-core", "minor", "--date", "tomorrow"], "the date 'tomorrow'"),
        (["check", "--tag", "demo-core"], "the tag 'demo-core' names no package"),
        (["notes", "demo-app", "--tag", "demo-core-v0.1.0"], "both the name 'demo-app' and the tag"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_input_that_cannot_work_is_one_sentence(demo, release, arguments, said):
    code, _, told = release(demo.root, *arguments)
    assert code == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1
