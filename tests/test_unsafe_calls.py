"""Nothing in the tree runs code out of a file, or could be made to by a name given twice."""

import subprocess
from pathlib import Path

import pytest
from unsafe_calls import unsafe_calls

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = {
    # The error that torch raises is of this module.
    "packages/ar-core/src/ar_core/io/pickles.py": {"pickle"},
    # Runs programs that a model wrote, in a process that gave up its rights.
    "packages/dlm-text/src/dlm_text/evaluation/sandboxed_program.py": {"exec"},
    # Makes the files that must not run anything.
    "benchmarks/fuzz/mutations/pickles.py": {"pickle", "eval", "exec"},
    "tests/test_fuzz_benchmark.py": {"eval"},
    "packages/ar-core/tests/io/test_pickles.py": {"pickle"},
    # Objects that are sent to worker processes, there and back in one process.
    "packages/ar-core/tests/data/test_source.py": {"pickle"},
    "packages/ar-core/tests/masks/test_rule.py": {"pickle"},
    "packages/ar-core/tests/masks/test_tokens.py": {"pickle"},
    "packages/ar-vision/tests/data/test_codes.py": {"pickle"},
    "packages/ar-vision/tests/data/test_collections.py": {"pickle"},
    "packages/ar-vision/tests/data/test_source.py": {"pickle"},
    "packages/ar-vision/tests/distilled_decoding/test_pairs.py": {"pickle"},
    "packages/dlm-text/tests/jacobi_forcing/test_store.py": {"pickle"},
    # Text of this tree itself: code of docstrings and pages, and expressions that a test wrote.
    "packages/ar-core/tests/masks/test_drawings.py": {"eval"},
    "packages/ar-vision/tests/glotok/test_picture.py": {"exec"},
    "packages/dlm-text/tests/tasks/test_tasks.py": {"eval"},
    "tests/test_method_pictures.py": {"exec"},
}
"""What a file may use all the same."""


def test_nothing_in_the_tree_runs_code_out_of_a_file():
    listed = subprocess.check_output(["git", "ls-files", "*.py"], cwd=ROOT, text=True).split()
    found = {name: set(dict(unsafe_calls((ROOT / name).read_text(encoding="utf-8"))).values()) for name in listed}
    assert {name: what for name, what in found.items() if what} == ALLOWED


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import torch\ntorch.load('x')", "torch.load"),
        ("import torch\ntorch.load('x', weights_only=False)", "torch.load"),
        ("import torch\nsafe = True\ntorch.load('x', weights_only=safe)", "torch.load"),
        ("import torch\ntorch.load('x', **{'weights_only': True})", "torch.load"),
        ("import torch as t\nt.load('x')", "torch.load"),
        ("from torch import load as read\nread('x')", "torch.load"),
        ("from torch import *\nload('x')", "torch.*"),
        ("import torch\nread = torch.load\nread('x', weights_only=True)", "torch.load"),
        ("import torch\nmap(torch.load, ['x'])", "torch.load"),
        ("import torch\ngetattr(torch, 'load')('x')", "torch.load"),
        ("import torch\nother = torch\nother.serialization.load('x')", "torch.serialization.load"),
        ("def f():\n    import pickle as p\n    p.loads(b'')", "pickle"),
        ("from _pickle import loads", "_pickle"),
        ("__import__('pickle').loads(b'')", "pickle"),
        ("import importlib\nimportlib.import_module('pickle').loads(b'')", "pickle"),
        ("from importlib import import_module as take\ntake('dill').load", "dill"),
        ("eval('1')", "eval"),
        ("run = exec\nrun('1')", "exec"),
        ("import builtins as b\nb.exec('1')", "builtins.exec"),
        ("import builtins\ngetattr(builtins, 'eval')('1')", "builtins.eval"),
        ("from builtins import eval as value", "builtins.eval"),
        ("import numpy\nnumpy.load('x', allow_pickle=True)", "numpy.load"),
        ("import numpy as np\nnp.load('x', None, True)", "numpy.load"),
        ("import yaml\nyaml.load('x', yaml.Loader)", "yaml.load"),
        ("from yaml import unsafe_load as y", "yaml.unsafe_load"),
        ("f(trust_remote_code=True)", "trust_remote_code"),
        ("f(trust_remote_code=anything)", "trust_remote_code"),
        ("f(**{'trust_remote_code': True})", "trust_remote_code"),
    ],
)
def test_another_way_of_writing_it_is_found(source, name):
    assert name in {what for _, what in unsafe_calls(source)}


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x', map_location='cpu', weights_only=True)",
        "from torch import load as read\nread('x', weights_only=True)"
        if False
        else "import torch as t\nt.load('x', weights_only=True)",
        "import numpy as np\nnp.load('x')\nnp.load('x', allow_pickle=False)",
        "model.eval()\nself.exec(1)",
        "import yaml\nyaml.safe_load('x')\nclass L(yaml.SafeLoader): pass",
        "import json\njson.load(f)\njson.loads('x')",
        "f(trust_remote_code=False)",
    ],
)
def test_what_refuses_code_is_let_through(source):
    assert not list(unsafe_calls(source))
