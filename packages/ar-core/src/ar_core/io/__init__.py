"""Checkpoint files: atomic writing, checked reading, key maps between published layouts and ours, strict loading."""

from .atomic import atomic_directory, atomic_file, sync, sync_tree
from .containers import read_weights, unwrap
from .key_map import KeyMap
from .lock import lock_file
from .pickles import read_pickle
from .safetensors_file import read_header, read_tensors, save_tensors, write_tensors
from .sharded import read_checkpoint
from .strict import load_strict

__all__ = [
    "KeyMap",
    "atomic_directory",
    "atomic_file",
    "load_strict",
    "lock_file",
    "read_checkpoint",
    "read_header",
    "read_pickle",
    "read_tensors",
    "read_weights",
    "save_tensors",
    "sync",
    "sync_tree",
    "unwrap",
    "write_tensors",
]
