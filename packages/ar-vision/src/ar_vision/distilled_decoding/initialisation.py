"""A student that begins with its teacher's weights.

Source: Distilled Decoding (arXiv 2412.17153): students begin as their teachers; what was not published is ours.
"""

from collections.abc import Mapping
from typing import Any

import torch
from ar_core.errors import CheckpointError
from torch import Generator, Tensor, nn

from ..backbones.llamagen.model import LlamaGen
from ..backbones.var.model import Var
from ..construction import undrawn
from ..tokenizers.codebook_tokenizer import CodebookTokenizer
from ..tokenizers.var_vqvae.model import VarTokenizer
from .first_guess import GUESS_PULL, LAW, PULL
from .llamagen_guess_student import LlamaGenGuessStudent
from .llamagen_student import LlamaGenStudent
from .student_config import (
    LlamaGenGuessStudentConfig,
    LlamaGenStudentConfig,
    NoiseDataEmbedding,
    VarGuessStudentConfig,
    VarStudentConfig,
)
from .teacher import code_vectors
from .var_guess_student import VarGuessStudent
from .var_student import VarStudent

__all__ = ["BuiltStudent", "build_student", "fitted_linear"]

BuiltStudent = VarStudent | VarGuessStudent | LlamaGenStudent | LlamaGenGuessStudent
"""What there are of students."""

DROPS = ("drop_path", "token_dropout", "residual_dropout", "ffn_dropout")
"""Settings of teachers that students do not have."""


@torch.no_grad()
def build_student(
    teacher: nn.Module,
    tokenizer: CodebookTokenizer,
    *,
    timesteps: tuple[int, ...],
    split: int,
    guesses: bool = False,
    reads_noise: bool = True,
    noise_data_embed: NoiseDataEmbedding | None = None,
    from_teacher: bool = True,
    seed: int = 0,
) -> BuiltStudent:
    """Return the student of a teacher, in float32 on the CPU.

    All weights of equal shape are the teacher's, every class included (published code overwrites the row of class 1). VAR's scales
    move up by one, since the class is a scale of its own here: its embedding and position are those of the teacher's first scale,
    which is that token, and what is new is the first scale's. LlamaGen's input layer is the least-squares fit of the teacher's
    embedding of each code by its code vector.

    A student that guesses has all of its teacher's weights, with code embeddings as above; what own noise adds to its logits begins at
    the first order of the flow, and the teacher's output matrix is multiplied by what the log of the law has in it.

    Args:
        teacher: a Var or a LlamaGen, in float32.
        tokenizer: the teacher's.
        timesteps: t of training.
        split: units that are read off the logits.
        guesses: make a student that is fed like its teacher, with first guesses in the place of codes (ours), and not the published one.
        reads_noise: of one that guesses: begin with logits of the first order of the flow; if not, noise has no say in guesses and logits,
            and the output matrix is the teacher's, as it should be where noise says nothing of the codes.
        noise_data_embed: None: as in the published student of that kind; at the input, of one that guesses.
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
    codebook = code_vectors(tokenizer).detach()
    if isinstance(teacher, Var) and not isinstance(teacher, VarGuessStudent):
        if not guesses:
            return _of_var(teacher, VarStudentConfig(**_shape(teacher) | shape), from_teacher, generator)
        assert isinstance(tokenizer, VarTokenizer)
        shape |= {"num_phis": len(tokenizer.phis), "phi_ratio": tokenizer.config.phi_ratio}
        config = VarGuessStudentConfig(**_shape(teacher) | shape)
        return _guessing_var(teacher, config, tokenizer, codebook, from_teacher, reads_noise, generator)
    if isinstance(teacher, LlamaGen) and not isinstance(teacher, LlamaGenStudent):
        shape["code_dim"] = codebook.shape[1]
        kind = LlamaGenGuessStudentConfig if guesses else LlamaGenStudentConfig
        student_config = kind(**_shape(teacher) | shape)
        return _of_llamagen(teacher, student_config, codebook, from_teacher, reads_noise, generator)
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


def _guessing_var(
    teacher: Var,
    config: VarGuessStudentConfig,
    tokenizer: VarTokenizer,
    codebook: Tensor,
    from_teacher: bool,
    reads_noise: bool,
    generator: Generator,
) -> VarGuessStudent:
    student = undrawn(lambda: VarGuessStudent(config))
    student.initialize(generator)
    student.first_guess.initialize(codebook, config.width**-0.5, generator)
    _take(student.phis, tokenizer.phis.state_dict())
    if from_teacher:
        _take(student, teacher.state_dict())
    if reads_noise:
        _read_noise(student, student.head.linear, codebook)
    return student.train()


def _of_llamagen(
    teacher: LlamaGen,
    config: LlamaGenStudentConfig,
    codebook: Tensor,
    from_teacher: bool,
    reads_noise: bool,
    generator: Generator,
) -> LlamaGenStudent:
    if isinstance(config, LlamaGenGuessStudentConfig):
        guessing = config
        student: LlamaGenStudent = undrawn(lambda: LlamaGenGuessStudent(guessing))
    else:
        student = undrawn(lambda: LlamaGenStudent(config))
    student.initialize(generator)
    if isinstance(student, LlamaGenGuessStudent):
        student.first_guess.initialize(codebook, config.dim**-0.5, generator)
    if from_teacher:
        given = teacher.state_dict()
        embedding = given.pop("codes.weight")
        _take(student, given)
        weight, bias = fitted_linear(codebook.to(embedding.dtype), embedding)
        _take(student, {"codes.weight": weight, "codes.bias": bias})
    if isinstance(student, LlamaGenGuessStudent) and reads_noise:
        _read_noise(student, student.output, codebook)
    return student.train()


def _read_noise(student: VarGuessStudent | LlamaGenGuessStudent, law: nn.Linear, codebook: Tensor) -> None:
    """Begin with the logits to whose largest noise flows, to first order, under the law that a layer gives."""
    student.first_guess.noise.initialize(codebook, GUESS_PULL)
    student.noise_logits.initialize(codebook, PULL)
    for parameter in law.parameters():
        parameter.mul_(LAW)


def _take(student: nn.Module, given: Mapping[str, Tensor]) -> None:
    own = student.state_dict()
    for name, tensor in given.items():
        own[name].copy_(tensor)
