"""No public name without a docstring, no tensor without its shape, no computation without its source."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from public_surface import COMPUTES, PublicName, Surface

ROOT = Path(__file__).resolve().parents[1]
ROOTS = sorted(
    path for pattern in ("kernels", "packages/*", "apps/*", "tools/*") for path in ROOT.glob(f"{pattern}/src")
)
SCIENCE = re.compile(
    r"""ar_kernels/
    | ar_core/(masks|corruption|sampling|verification|block_diffusion)/
    | dlm_text/(autoregressive|diffuspec|efficient_dlm|fast_dllm_v2|jacobi_forcing)/
    | ar_vision/(backbones|cca|decoding|distilled_decoding|ecm|glotok|nsarm|sar|text|tokenizers)/
    | dvlm/(autoregressive|diffusionvl|towers)/""",
    re.VERBOSE,
)
"""Folders that hold what papers are about."""
PLUMBING = re.compile(
    r"/recipes/|/__init__\.py|/(train|run|stage|store|checkpoint|export|command|inputs|implementation|launching|result"
    r"|\w*loading|\w*convert|\w+_command|\w+_triton)\.py$"
)
"""Files of them that put things together, move them or launch them, and no equation is in."""


@pytest.fixture(scope="module")
def surface() -> Surface:
    return Surface(ROOTS)


def lacking(surface: Surface, lacks: Callable[[PublicName], object]) -> list[str]:
    return [
        f"{name.path.relative_to(ROOT)}:{name.line}: {name.kind} {name.dotted}: {what if what is not True else ''}"
        for name in surface.names
        if (what := lacks(name))
    ]


def test_the_whole_workspace_is_read(surface):
    dotted = {name.dotted for name in surface.names}
    assert {"ar_core.masks.causal.causal", "ar_vision.sar.config.SarConfig.sigma", "ar_decode.cli"} <= dotted
    assert len(dotted) > 5000


def test_every_public_name_says_more_than_its_name(surface):
    assert not lacking(surface, surface.undocumented)


def test_every_tensor_of_a_signature_has_a_shape(surface):
    assert not lacking(surface, surface.shapeless)


def test_tensors_that_are_not_float_have_a_dtype_or_a_range(surface):
    assert not lacking(surface, surface.typeless)


def test_what_computes_names_its_source(surface):
    files = {name.path for name in surface.names if name.kind == "module"}
    held = {
        file
        for file in files
        if SCIENCE.search(file.as_posix())
        and not PLUMBING.search(file.as_posix())
        and COMPUTES.search(file.read_text())
    }
    assert len(held) > 250
    assert not lacking(surface, lambda name: name.path in held and surface.sourceless(name))


def found(tmp_path: Path, source: str) -> tuple[Surface, dict[str, PublicName]]:
    (tmp_path / "module.py").write_text(dedent(source))
    surface = Surface([tmp_path])
    return surface, {name.dotted.removeprefix("module."): name for name in surface.names}


def test_names_are_public_by_all_or_by_having_no_underscore(tmp_path):
    _, names = found(tmp_path, '"""M."""\n__all__ = ["f"]\ndef f(): ...\ndef g(): ...\nA = 1\nclass _C: ...')
    assert set(names) == {"module", "f"}
    _, names = found(
        tmp_path, "def f(): ...\ndef _g(): ...\nA = 1\nclass C:\n    b: int\n    _c: int\n    def d(self): ..."
    )
    assert set(names) == {"module", "f", "A", "C", "C.b", "C.d"}


@pytest.mark.parametrize(
    ("docstring", "is_enough"),
    [("", False), ("The width.", False), ("Return the width.", False), ("C, of the model.", True)],
)
def test_a_docstring_that_repeats_its_name_is_none(tmp_path, docstring, is_enough):
    surface, names = found(tmp_path, f'def width():\n    """{docstring}"""')
    assert surface.undocumented(names["width"]) is not is_enough


def test_fields_and_constants_are_documented_behind_them_or_by_their_class(tmp_path):
    surface, names = found(
        tmp_path,
        '''
        A = 1
        """How many."""
        B = 2
        C = Recipe("c", summary="Trains a model")

        class D:
            """A record.

            Attributes:
                e: where it is from.
            """

            e: str
            f: str
            """What it holds."""
            g: str
        ''',
    )
    assert {name for name in names if surface.undocumented(names[name])} == {"module", "B", "D.g"}


SIGNATURE = "def f(x: Tensor, mask: Tensor, names: dict[str, Tensor]) -> Tensor:"


@pytest.mark.parametrize(
    ("docstring", "lacks"),
    [
        ("Mix.", ["x", "mask", "return"]),
        ("Mix x [B, L] under a mask [L].", []),
        ("Mix.\n\nArgs:\n    x: [B, L].\n    mask: what counts.", ["mask", "return"]),
        ("Mix.\n\nArgs:\n    x: [B, L].\n    mask: bool, of the same shape.\n\nReturns:\n    A scalar.", []),
        ("As :func:`g`.", []),
        ("As :func:`h`.", ["x", "mask", "return"]),
    ],
)
def test_shapes_are_said_of_each_tensor(tmp_path, docstring, lacks):
    body = "\n".join(f"    {line}".rstrip() for line in f'"""{docstring}\n"""'.splitlines())
    surface, names = found(tmp_path, f"{SIGNATURE}\n{body}\ndef g(): ...")
    assert surface.shapeless(names["f"]) == lacks


def test_a_paragraph_on_shapes_or_a_base_speaks_for_methods(tmp_path):
    surface, names = found(
        tmp_path,
        '''
        class A:
            """A. Shapes: [B, L] in and out."""

            def f(self, x: Tensor) -> Tensor: ...

        class B:
            def f(self, x: Tensor) -> Tensor:
                """[B, L] in and out."""

            def g(self, x: Tensor) -> Tensor: ...

        class C(B):
            def f(self, x: Tensor) -> Tensor: ...
        ''',
    )
    assert {name for name in names if surface.shapeless(names[name])} == {"B.g"}


@pytest.mark.parametrize(("docstring", "lacks"), [("ids [B, L].", ["ids"]), ("ids int64 [B, L].", [])])
def test_whole_numbers_have_a_dtype(tmp_path, docstring, lacks):
    surface, names = found(tmp_path, f'def f(ids: Tensor) -> None:\n    """{docstring}"""')
    assert surface.typeless(names["f"]) == lacks


def test_a_source_is_named_by_an_object_or_its_module(tmp_path):
    source = '"""M."""\ndef f():\n    """F (arXiv 2404.02905)."""\ndef g():\n    """G."""'
    surface, names = found(tmp_path, source)
    assert [name for name in names if surface.sourceless(names[name])] == ["g"]
    surface, names = found(tmp_path, source.replace('"""M."""', '"""M.\n\nSource: ours.\n"""'))
    assert not [name for name in names if surface.sourceless(names[name])]


def test_reading_imports_nothing():
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse((ROOT / "tests/public_surface.py").read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {"ast", "re", "collections.abc", "dataclasses", "pathlib"}
