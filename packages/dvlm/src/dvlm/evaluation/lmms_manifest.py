"""What lmms-eval asks this package for, through its entry point group ``lmms_eval.models``."""

from typing import Any

__all__ = ["manifest"]


def manifest() -> Any:
    """The manifest of the model ``dvlm``; lmms-eval calls this, so that it is there."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="dvlm", simple_class_path="dvlm.evaluation.lmms_model.DvlmModel")
