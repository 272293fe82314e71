"""Strict configuration: plain mappings in, typed frozen dataclasses out. Imports no torch."""

from .build import from_dict, require_types, text_fields, to_dict
from .described import DescribedField, DescribedSection, described
from .free import FREE
from .nearest import did_you_mean
from .overrides import apply_overrides
from .paths import expand_path
from .positive import require_positive
from .share import require_share
from .unread import refuse_unread
from .yaml_file import load_yaml, parse_yaml

__all__ = [
    "FREE",
    "DescribedField",
    "DescribedSection",
    "apply_overrides",
    "described",
    "did_you_mean",
    "expand_path",
    "from_dict",
    "load_yaml",
    "parse_yaml",
    "refuse_unread",
    "require_positive",
    "require_share",
    "require_types",
    "text_fields",
    "to_dict",
]
