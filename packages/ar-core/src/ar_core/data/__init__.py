"""Text data: files to documents, documents to rows, rows to the infinite sample stream of a run."""

from .sample import Sample, SampleSource
from .tasks import Task, task, tasks

__all__ = ["Sample", "SampleSource", "Task", "task", "tasks"]
