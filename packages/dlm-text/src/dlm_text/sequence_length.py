"""The length of training rows that are cut into blocks."""

from ar_core.errors import ConfigError

__all__ = ["check_sequence_length"]


def check_sequence_length(seq_len: int, diffusion_block_size: int) -> None:
    """Refuse a packed length that the block size does not divide.

    Raises:
        ConfigError: it does not.
    """
    if seq_len % diffusion_block_size:
        below = seq_len // diffusion_block_size * diffusion_block_size
        raise ConfigError(
            f"diffusion_block_size {diffusion_block_size} does not divide seq_len {seq_len}: set seq_len to "
            f"{f'{below} or ' if below else ''}{below + diffusion_block_size}, or another block size"
        )
