"""A student that begins with its teacher's weights."""

from collections.abc import Mapping
from typing import Any

import torch
from ar_core.errors import CheckpointError
from torch import Generator, Tensor, nn

from ..backbones.llamagen.model import LlamaGen
from ..backbones.var.model import Var
from ..construction import undrawn
from .llamagen_student import LlamaGenStudent
from .student_config import LlamaGenStudentConfig, NoiseDataEmbedding, VarStudentConfig
from .var_student import VarStudent

__all__ = ["build_student", "fitted_linear"]

DROPS = ("drop_path", "token_dropout", "residual_dropout", "ffn_dropout")
"""Settings of teachers that students do not have."""


@torch.no_grad()
def build_student(
    teacher: nn.Module,
    codebook: Tensor,
    *,
    timesteps: tuple[int, ...],
    split: int,
    noise_data_embed: NoiseDataEmbedding | None = None,
    from_teacher: bool = True,
    seed: int = 0,
) -> VarStudent | LlamaGenStudent:
    """Return the student of a teacher, in float32 on the CPU.

    All weights of equal shape are the teacher's, every class included (published code overwrites the row of class 1). VAR's scales
    move up by one, since the class is a scale of its own here: its embedding and position are those of the teacher's first scale,
    which is that token, and what is new is the first scale's. LlamaGen's input layer is the least-squares fit of the teacher's
    embedding of each code by its code vector.

    Args:
        teacher: a Var or a LlamaGen, in float32.
        codebook: [V, Cv], as the tokenizer uses its rows.
        timesteps: t of training.
        split: units that are read off the logits.
        noise_data_embed: None: as in the published student of that kind.
        from_teacher: whether weights are taken over; if not, all are fresh.
        seed: of what is drawn.

    Raises:
        CheckpointError: the teacher is of another kind.
        ConfigError: timesteps or split do not fit the teacher.
    """
    generator = torch.Generator().manual_seed(seed)
    shape: dict[str, Any] = {"timesteps": timesteps, "split": split}
    if noise_data_embed is not None:
        shape["noise_data_embed"] = noise_data_embed
    if isinstance(teacher, Var):
        return _of_var(teacher, VarStudentConfig(**_shape(teacher) | shape), from_teacher, generator)
    if isinstance(teacher, LlamaGen) and not isinstance(teacher, LlamaGenStudent):
        shape["code_dim"] = codebook.shape[1]
        config = LlamaGenStudentConfig(**_shape(teacher) | shape)
        return _of_llamagen(teacher, config, codebook, from_teacher, generator)
    raise CheckpointError(
        f"a student of a {type(teacher).__name__} was asked for, and Distilled Decoding has students of var and llamagen: give one"
    )


def fitted_linear(vectors: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight [C, Cv] and bias [C] that bring W v + b nearest to the targets, in the sum of squares over all codes.

    Args:
        vectors: [V, Cv].
        targets: [V, C].
    """
    ones = vectors.new_ones(len(vectors), 1)
    design = torch.cat([vectors, ones], dim=1).double()
    # Few codes may not span all dimensions; the solution of least norm is then taken.
    solution = torch.linalg.lstsq(design, targets.double(), driver="gelsd").solution
    return solution[:-1].T.to(targets.dtype), solution[-1].to(targets.dtype)


def _shape(teacher: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(teacher.config).items() if name not in DROPS}


def _of_var(teacher: Var, config: VarStudentConfig, from_teacher: bool, generator: Generator) -> VarStudent:
    student = undrawn(lambda: VarStudent(config))
    student.initialize(generator)
    if not from_teacher:
        return student.train()
    given = teacher.state_dict()
    positions, scales = given.pop("positions"), given.pop("scale_embedding.weight")
    _take(student, given)
    student.positions[:, 0], student.positions[:, 2:] = positions[:, 0], positions[:, 1:]
    student.scale_embedding.weight[0] = scales[0]
    student.scale_embedding.weight[2:] = scales[1:]
    return student.train()


def _of_llamagen(
    teacher: LlamaGen, config: LlamaGenStudentConfig, codebook: Tensor, from_teacher: bool, generator: Generator
) -> LlamaGenStudent:
    student = undrawn(lambda: LlamaGenStudent(config))
    student.initialize(generator)
    if not from_teacher:
        return student.train()
    given = teacher.state_dict()
    embedding = given.pop("codes.weight")
    _take(student, given)
    weight, bias = fitted_linear(codebook.to(embedding.dtype), embedding)
    _take(student, {"codes.weight": weight, "codes.bias": bias})
    return student.train()


def _take(student: nn.Module, given: Mapping[str, Tensor]) -> None:
    own = student.state_dict()
    for name, tensor in given.items():
        own[name].copy_(tensor)
