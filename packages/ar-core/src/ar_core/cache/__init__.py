"""The windowed KV cache: what is stored, where the next pass writes, what is visible."""

from ar_core.cache.windowed import WindowedKVCache

__all__ = ["WindowedKVCache"]
