"""Checkpoints in the layouts that serving engines load: what each loader needs, and whether a folder has it. Imports no torch."""

from .engines import ENGINES, SDAR_MASK_ID, Architecture, Engine, architecture, engine, served
from .export import export_checkpoint
from .settings import taken
from .tensors import expected_tensors
from .verify import verify_export

__all__ = [
    "ENGINES",
    "SDAR_MASK_ID",
    "Architecture",
    "Engine",
    "architecture",
    "engine",
    "expected_tensors",
    "export_checkpoint",
    "served",
    "taken",
    "verify_export",
]
