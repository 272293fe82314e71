"""Drawing the images that a command asks for."""

from pathlib import Path

from ar_core.errors import ConfigError
from ar_core.io.atomic import TEMPORARY
from ar_core.training import StageConfig
from ar_core.training.chunks import is_open

from .generation import ImageGenerator, open_generator
from .image_set import ImageSet, open_images
from .protocol import ProtocolConfig, draw
from .sampling_config import SamplingConfig

__all__ = ["chunks_beside", "drawn", "generator_of", "round_of"]


def generator_of(config: SamplingConfig) -> ImageGenerator:
    """Load what the settings name.

    Raises:
        ConfigError: checkpoint or tokenizer is not given.
        ArError: as `open_generator` does.
    """
    for name in ("checkpoint", "tokenizer"):
        if getattr(config, name) is None:
            raise ConfigError(f"the key {name!r} is missing; give it the folder of the {name}")
    assert config.checkpoint is not None
    assert config.tokenizer is not None
    return open_generator(
        config.checkpoint,
        config.tokenizer,
        config.settings,
        prompts=config.asked,
        device=config.device,
        dtype=config.dtype,
    )


def round_of(config: SamplingConfig, generator: ImageGenerator) -> tuple[int, ...]:
    """Return the labels of one round: those given, or every class, or every prompt, once."""
    return tuple(range(generator.classes)) if config.labels is None else config.labels


def chunks_beside(output: Path) -> Path:
    """The folder of chunks that are gathered for an output, and removed with it when that is written.

    Raises:
        ConfigError: something else is there.
    """
    chunks = output.with_name(f"{output.name}.chunks")
    # What a killed run left of its first file is nothing of the user's.
    held = [] if not chunks.is_dir() else [path for path in chunks.iterdir() if not path.name.startswith(TEMPORARY)]
    if chunks.is_file() or (held and not is_open(chunks)):
        raise ConfigError(
            f"{str(chunks)!r} holds no chunks of images, and would be removed: give another output, or move it away"
        )
    return chunks


def drawn(config: SamplingConfig, generator: ImageGenerator, protocol: ProtocolConfig, directory: Path) -> ImageSet:
    """Draw what is missing in a folder of chunks, and open it.

    Raises:
        DataError: other shards have not drawn their images yet.
        ConfigError: the run was interrupted by a signal; started again, it goes on.
    """
    stage = StageConfig(str(directory), shard=config.shard, chunk_size=config.chunk_size, device=config.device)
    result = draw(generator, protocol, stage, batch_size=config.batch_size)
    if result.interrupted:
        raise ConfigError(
            f"the run was interrupted; give the same command again, it goes on from what lies in {directory}"
        )
    return open_images(str(directory))
