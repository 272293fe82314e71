"""Hugging Face models, untouched, driven by our masks, attention and windowed cache (extra ``hf``)."""

try:
    import transformers as _transformers  # noqa: F401
except ImportError as error:
    from ar_core.errors import MissingPackageError

    raise MissingPackageError(
        "ar_core.hf needs transformers, which is not installed: pip install 'ar-core[hf]'."
    ) from error

from ar_core.hf.attention import IMPLEMENTATION, register
from ar_core.hf.backbone import HFBackbone

__all__ = ["IMPLEMENTATION", "HFBackbone", "register"]
