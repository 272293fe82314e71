"""Checkpoint files: atomic writing, checked reading, key maps between published layouts and ours, strict loading."""

from .arrays import array_header, read_array, read_array_file
from .atomic import (
    atomic_directory,
    atomic_file,
    joined_directory,
    require_kept,
    require_replaceable,
    sync,
    sync_tree,
)
from .built import built_on_meta, require_modest
from .containers import read_entry, read_weights, unwrap
from .key_map import KeyMap
from .lock import lock_file
from .pickles import read_pickle
from .safetensors_file import read_header, read_tensors, save_tensors, write_tensors
from .sharded import read_checkpoint
from .strict import load_strict, require_fit

__all__ = [
    "KeyMap",
    "array_header",
    "atomic_directory",
    "atomic_file",
    "built_on_meta",
    "joined_directory",
    "load_strict",
    "lock_file",
    "read_array",
    "read_array_file",
    "read_checkpoint",
    "read_entry",
    "read_header",
    "read_pickle",
    "read_tensors",
    "read_weights",
    "require_fit",
    "require_kept",
    "require_modest",
    "require_replaceable",
    "save_tensors",
    "sync",
    "sync_tree",
    "unwrap",
    "write_tensors",
]
