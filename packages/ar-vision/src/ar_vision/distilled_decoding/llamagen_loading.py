"""The students of LlamaGen in the layout of their published weights (``LlamaGen-DD/llamagen-B.pt``)."""

from collections.abc import Mapping

from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import KeyMap
from torch import Tensor

from ..backbones.llamagen.config import SIZES
from ..backbones.llamagen.loading import KEYS as TEACHER_KEYS
from ..backbones.llamagen.loading import ROTARY_TABLE
from ..checkpoint import filled
from ..published_layout import highest, shape_of
from .llamagen_student import LlamaGenStudent
from .student_config import LlamaGenStudentConfig, NoiseDataEmbedding
from .var_loading import STUDENT_RULES

__all__ = ["KEYS", "from_published", "to_published"]

KEYS = KeyMap((("tok_embeddings.bias", "codes.bias"), *STUDENT_RULES, *TEACHER_KEYS.rules))
"""The published layout and ours, once containers are unwrapped."""

_SPLITS = {"B": 80, "L": 130}


def from_published(
    tensors: Mapping[str, Tensor],
    *,
    grid: int | None = None,
    heads: int | None = None,
    timesteps: tuple[int, ...] | None = None,
    split: int | None = None,
) -> LlamaGenStudent:
    """Build the student whose weights these are, in their dtype, in eval mode.

    Args:
        tensors: by published name.
        grid: g, which the weights do not tell; None: 16, that of all published students.
        heads: H, for sizes that were not published.
        timesteps: t that it was trained with; None: 0 and 80, as published.
        split: codes that are read off the logits; None: 80 of B, 130 of L, else all.

    Raises:
        CheckpointError: a key is missing, unexpected or misshapen; every one is named.
        ConfigError: heads are needed and not given.
    """
    dim, code_dim = shape_of(tensors, "tok_embeddings.weight", 2)
    layers = max(highest(tensors, "layers") + 1, 1)
    size = next((name for name, one in SIZES.items() if (one.layers, one.dim) == (layers, dim)), None)
    if heads is None and size is None:
        raise ConfigError(f"heads is needed: {layers} layers of width {dim} are no published size; give heads")
    side = grid or 16
    published = grid in (None, 16) and size is not None
    texts = "cls_embedding.uncond_embedding"
    if texts in tensors:
        count, width = shape_of(tensors, texts, 2)
        condition = {"condition": "text", "text_tokens": count, "text_dim": width}
    else:
        condition = {"num_classes": shape_of(tensors, "cls_embedding.embedding_table.weight", 2)[0] - 1}
    layerwise = any(name.startswith("layerwise_n_d_embed.") for name in tensors)
    try:
        config = LlamaGenStudentConfig(
            layers=layers,
            heads=heads or SIZES[str(size)].heads,
            dim=dim,
            vocab_size=shape_of(tensors, "output.weight", 2)[0],
            grid=side,
            code_dim=code_dim,
            noise_data_embed=NoiseDataEmbedding(layerwise=layerwise),
            timesteps=timesteps if timesteps is not None else (0, 80) if published else (0,),
            split=split if split is not None else _SPLITS.get(str(size), side**2) if published else side**2,
            **condition,  # type: ignore[arg-type]  # fields of the condition, by name
        )
    except ConfigError as error:
        raise CheckpointError(f"the weights are of no LlamaGen student of a known shape: {error}") from error
    weights = {key: tensor for key, tensor in tensors.items() if key != ROTARY_TABLE}
    return filled(lambda: LlamaGenStudent(config), weights, layout=KEYS.to_published)


def to_published(student: LlamaGenStudent) -> dict[str, Tensor]:
    """Return a student's weights as the published layout names them."""
    return KEYS.to_published(student.state_dict())
