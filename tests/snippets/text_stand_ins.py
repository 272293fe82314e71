"""Stand-ins for language models, for vision-language models, and for what both are asked."""

import gzip
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .pages import ROOT

__all__ = ["TEXT_STAND_INS", "Builder", "lines", "pictures_in", "shipped"]

Builder = Callable[[Any, Path], None]
"""Takes the stand-ins made so far, and where this one belongs."""


def shipped(path: str) -> Builder:
    """What the repository holds, by its path there."""
    return lambda home, target: target.symlink_to(ROOT / path)


def lines(*records: object) -> Builder:
    """A file of JSON Lines."""

    def build(home: Any, target: Path) -> None:
        target.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")

    return build


def _zipped(*records: object) -> Builder:
    def build(home: Any, target: Path) -> None:
        with gzip.open(target, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)

    return build


def _tests(path: str) -> Any:
    """A module of the tests of a package, which build models too."""
    spec = importlib.util.spec_from_file_location(f"of_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _byte_level(*, converted: bool) -> Builder:
    """A byte-level Llama with a chat template, converted to blocks of 8 or not."""

    def build(home: Any, target: Path) -> None:
        _tests("apps/decode/tests/conftest.py").save_checkpoint(target, chat=True, converted=converted, context=4096)

    return build


def _efficient_dlm_of_qwen3(home: Any, target: Path) -> None:
    """An Efficient-DLM on Qwen3 with rows enough for the mask token of SDAR."""
    module = _tests("packages/dlm-text/tests/test_export.py")
    module.save("efficient_dlm", "qwen3", target, rows=module.LARGE)


def _vision_language(home: Any, target: Path) -> None:
    """A tiny Llama with a tiny tower, converted to blocks of 4."""
    from dvlm.chat.byte_tokenizer import byte_tokenizer
    from dvlm.chat.config import ChatConfig
    from dvlm.images.config import ImageConfig
    from dvlm.layouts.save import save_vision_language
    from dvlm.settings import Diffusion, Settings
    from tiny_vision_language import MASK, assembled

    settings = Settings(ChatConfig(system=None), ImageConfig(fit="stretch", max_images=3), diffusion=Diffusion(MASK, 4))
    save_vision_language(assembled().float(), target, settings, tokenizer=byte_tokenizer())


def _published_vision_language(home: Any, target: Path) -> None:
    """A tiny Qwen2.5-VL as DiffusionVL was published."""
    from dvlm.chat.byte_tokenizer import byte_tokenizer
    from dvlm.layouts.save import save_vision_language
    from dvlm.qwen_vl import QwenVL
    from dvlm.settings import Diffusion, Settings
    from tiny_vision_language import MASK, qwen2_5_vl

    settings = Settings(diffusion=Diffusion(MASK, 8))
    save_vision_language(QwenVL(qwen2_5_vl().float()), target, settings, tokenizer=byte_tokenizer(), layout="published")


def _qwen_vl(home: Any, target: Path) -> None:
    """A tiny Qwen2.5-VL as transformers saves it, with a tokenizer that has its marks around images."""
    from dvlm.chat.byte_tokenizer import byte_tokenizer
    from tiny_vision_language import qwen2_5_vl

    words = byte_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|vision_start|>", "<|vision_end|>"]})
    qwen2_5_vl().float().save_pretrained(target)
    words.save_pretrained(target)


def pictures_in(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Make a folder of coloured patches."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.png")


def _folder(count: int, size: tuple[int, int]) -> Builder:
    """Coloured patches."""
    return lambda home, target: pictures_in(target, count, size)


def _picture(kind: str, size: tuple[int, int]) -> Builder:
    def build(home: Any, target: Path) -> None:
        from PIL import Image

        with Image.open(home.of("pictures") / "0.png") as image:
            image.resize(size).save(target, kind)

    return build


def _captioned(home: Any, target: Path) -> None:
    """A folder like that of the captioned photographs."""
    pictures_in(target, 8, (160, 144))
    lines(*({"file_name": f"{n}.png", "captions": [f"patches {n}", "colours"]} for n in range(8)))(
        home, target / "metadata.jsonl"
    )


def _long_captions(home: Any, target: Path) -> None:
    places = sorted(home.of("small_pictures").iterdir())
    lines(*({"image_path": str(place), "long_caption": "coloured patches"} for place in places))(home, target)


def _proxy(home: Any, target: Path) -> None:
    """Trigrams of the corpus."""
    from ar_core.config import from_dict
    from ar_core.registry import commands, resolve

    command = commands()["fit-proxy"]
    given = {"corpus": str(home.of("corpus.jsonl.gz")), "model": str(home.of("chat_model")), "output": str(target)}
    resolve(command.run)(from_dict(resolve(command.options), {**given, "fields": ["question", "answer"]}))


def _hybrid(home: Any, target: Path) -> None:
    """An Efficient-DLM of a recipe's smallest size that still decodes token by token."""
    from ar_core.registry import recipe
    from ar_core.training import run_recipe

    from benchmarks.tiny_runs import run_config

    losses = ("method.clean=token", "method.ar_weight=1", "method.diffusion_weight=0.3")
    run_recipe(recipe("efficient_dlm"), run_config("efficient_dlm", home.home, home.home / "hybrid_run", losses))
    target.symlink_to(home.home / "hybrid_run" / "final")


SUM = {"question": "Tom has 3 pens and buys 4. How many has he?", "answer": "3 + 4 = 7\n#### 7"}
CHOICE = {"question": "What is wet?", "choices": {"text": ["stone", "water"], "label": ["A", "B"]}, "answerKey": "B"}
TEST = "def check(candidate):\n    assert candidate(2) == 1\n"
HALF = {
    "task_id": "Half/0",
    "prompt": 'def half(x):\n    """Half of x."""\n',
    "entry_point": "half",
    "canonical_solution": "    return x / 2\n",
    "test": TEST,
}
CHAT = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello. How are you?"}]}

TEXT_STAND_INS: dict[str, Builder] = {
    "chat_model": _byte_level(converted=True),
    "plain_model": _byte_level(converted=False),
    "efficient_dlm_of_qwen3": _efficient_dlm_of_qwen3,
    "weights": shipped("apps/quickstart/src/ar_quickstart/weights"),
    "task_model": shipped("apps/quickstart/src/ar_quickstart/weights/ar"),
    "efficient_dlm": shipped("apps/quickstart/src/ar_quickstart/weights/efficient_dlm"),
    "prompts.jsonl": lines({"prompt": "One two three,"}, {"prompt": "Why?"}),
    "spec_bench.jsonl": lines(
        *({"question_id": n, "category": one, "turns": ["One?", "Two?"]} for n, one in enumerate(("math", "rag")))
    ),
    "gsm8k.jsonl": lines(SUM),
    "corpus.jsonl.gz": _zipped(SUM, SUM, SUM, SUM),
    "humaneval.jsonl": lines(HALF),
    "choices.jsonl": lines(CHOICE),
    "chats.jsonl": lines(*[CHAT] * 8),
    "vision_language": _vision_language,
    "published_vision_language": _published_vision_language,
    "qwen_vl": _qwen_vl,
    "pictures": _folder(2, (48, 40)),
    "small_pictures": _folder(3, (16, 16)),
    "held_out": _folder(2, (64, 64)),
    "picture.png": _picture("PNG", (48, 40)),
    "picture.jpg": _picture("JPEG", (48, 40)),
    "small.jpg": _picture("JPEG", (8, 8)),
    "captioned": _captioned,
    "photographs.jsonl": _long_captions,
    "proxy.safetensors": _proxy,
    "hybrid": _hybrid,
    "questions.jsonl": lines(
        {"id": "a", "image": "cat.png", "prompt": "What is this?", "answer": "a cat"},
        {"id": "b", "prompt": "Is water wet?", "answers": ["yes", "very"]},
    ),
    "conversations.jsonl": lines(
        *(
            {
                "id": str(n),
                "image": "cat.png",
                "conversations": [
                    {"from": "human", "value": "<image>\nWhat is this?"},
                    {"from": "gpt", "value": "a cat"},
                ],
            }
            for n in range(6)
        )
    ),
}
