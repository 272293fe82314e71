"""Decoding with vision-language models, and the command for it."""

from ar_core.registry import Command

__all__ = ["VLM"]

VLM = Command(
    name="vlm",
    summary="Answer questions about images: one prompt, a file of prompts, or a chat",
    run="dvlm.decoding.vlm_command:answer",
    options="dvlm.decoding.vlm_command:VlmOptions",
    examples=(
        "ar-decode vlm model=./converted image=cat.png prompt='What is this?' stream=true",
        "ar-decode vlm model=./converted 'images=[a.png,b.png]' prompt='<image> and <image>: what differs?' json=true",
        "ar-decode vlm model=./converted prompt='Write a haiku.' decoding.strategy=dynamic decoding.threshold=0.8",
        "ar-decode vlm model=./converted input=questions.jsonl output=answers.jsonl batch_size=8",
        "ar-decode vlm model=Qwen/Qwen2.5-VL-3B-Instruct method=ar image=cat.png prompt='What is this?'",
        "ar-decode vlm model=./converted image=cat.png chat=true",
    ),
    fields={
        "output, tokens, finish": "of one prompt: the answer, its ids, and why it ended",
        "written, count": "of a file of questions: where the answers are, and how many",
        "settings": "model, method and all of its settings",
        "statistics": "passes, tokens per forward, tokens per second, time by phase",
    },
)
