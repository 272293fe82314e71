"""Answers held against references: accuracy of answers, metrics of captions, and what decoding cost. Imports no torch."""

from ar_core.registry import Command

__all__ = ["EVAL_VLM"]

EVAL_VLM = Command(
    name="eval-vlm",
    summary="Measure answers to questions about images: VQA accuracy or caption metrics, with passes and tokens per pass",
    run="dvlm.evaluation.eval_vlm_command:evaluate",
    options="dvlm.evaluation.eval_vlm_command:EvalVlmOptions",
    examples=(
        "ar-decode eval-vlm model=./converted input=vqa.jsonl output=report.json batch_size=8",
        "ar-decode eval-vlm model=Qwen/Qwen2.5-VL-3B-Instruct method=ar input=vqa.jsonl output=ar.json",
        "ar-decode eval-vlm model=./converted input=vqa.jsonl output=report.json fit=native cut=first_line "
        "decoding.commit=separate decoding.whole_last_block=true",
        "ar-decode eval-vlm model=./converted input=captions.jsonl metric=captions max_new_tokens=512 output=report.json",
    ),
    fields={
        "output": "the report, which holds the same",
        "questions, metrics": "how many, and the figures by name",
        "settings, decoding": "model, method and settings; passes and tokens per forward",
        "environment": "command, date, commit, device, versions",
    },
)
