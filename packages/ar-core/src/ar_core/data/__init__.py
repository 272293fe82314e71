"""Text data: files to documents, documents to rows, rows to the infinite sample stream of a run."""

from .build import build_source
from .chat import chat_document
from .config import TextDataConfig
from .document import Document
from .order import epoch_order
from .packing import Row, pack, pack_reference, pack_whole, pad_to_blocks
from .prompts import prompt_encoder
from .records import Record, held_out, read_records
from .sample import PADDING_DOCUMENT, Sample, SampleSource, stack_rows
from .source import IGNORED, StoredSource, StreamedSource
from .tasks import Task, find_task, task_names

__all__ = [
    "IGNORED",
    "PADDING_DOCUMENT",
    "Document",
    "Record",
    "Row",
    "Sample",
    "SampleSource",
    "StoredSource",
    "StreamedSource",
    "Task",
    "TextDataConfig",
    "build_source",
    "chat_document",
    "epoch_order",
    "find_task",
    "held_out",
    "pack",
    "pack_reference",
    "pack_whole",
    "pad_to_blocks",
    "prompt_encoder",
    "read_records",
    "stack_rows",
    "task_names",
]
