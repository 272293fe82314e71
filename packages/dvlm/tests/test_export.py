"""Qwen2.5-VL exported for engines and held against their loaders; what they would compute otherwise is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ar_core.errors import CheckpointError, UnsupportedModelError
from ar_core.serving import ENGINES, export_checkpoint, verify_export
from dvlm.chat.config import ChatConfig
from dvlm.data.shapes import shape_picture
from dvlm.images.config import ImageConfig
from dvlm.layouts.save import save_vision_language
from dvlm.qwen_vl import QwenVL
from dvlm.settings import Diffusion, Settings
from PIL import Image
from tiny_vision_language import MASK, assembled, qwen2_5_vl, qwen3_vl
from transformers import AutoModelForImageTextToText
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

QWEN = Settings(
    ChatConfig(vision_markers=True, break_after_image=False),
    ImageConfig(fit="native", min_pixels=3136, max_pixels=50176),
    mrope=True,
)
"""As Qwen2.5-VL was released."""


@pytest.mark.parametrize("settings", [QWEN, None], ids=["trained", "base of the hub"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("engine", ENGINES)
def test_autoregressive_models_are_served(
    engine: str, tied: bool, settings: Settings | None, tokenizer: Any, tmp_path: Path
) -> None:
    model = QwenVL(qwen2_5_vl(tied=tied))
    save_vision_language(model, tmp_path / "final", settings, tokenizer=tokenizer)
    export_checkpoint(engine, tmp_path / "final", tmp_path / "served")
    loader, _ = verify_export(tmp_path / "served", engine)
    assert loader.name == "Qwen2_5_VLForConditionalGeneration"
    assert "dvlm" not in json.loads((tmp_path / "served" / "config.json").read_text())
    exported, report = AutoModelForImageTextToText.from_pretrained(tmp_path / "served", output_loading_info=True)
    assert not any(report.values())
    for name, value in model.language.state_dict().items():
        assert torch.equal(exported.state_dict()[name], value), name


def test_pictures_are_fitted_by_transformers_as_in_training(tokenizer: Any, tmp_path: Path) -> None:
    model = QwenVL(qwen2_5_vl())
    save_vision_language(model, tmp_path / "final", QWEN, tokenizer=tokenizer)
    export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")
    theirs = Qwen2VLImageProcessorPil.from_pretrained(tmp_path / "served")
    ours = model.processor(QWEN.images)
    for number, size in enumerate([(300, 200), (20, 31), (64, 640)]):
        pixels = Image.fromarray(shape_picture(number)).resize(size)
        found = theirs(pixels, return_tensors="pt")
        expected = ours(np.asarray(pixels))
        assert torch.allclose(found["pixel_values"], expected.pixels, atol=1e-5)
        assert tuple(found["image_grid_thw"][0].tolist()) == (1, *expected.layout.patches)


def test_what_a_base_of_the_hub_has_beside_its_weights_is_copied(tokenizer: Any, tmp_path: Path) -> None:
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "final", None, tokenizer=tokenizer)
    held = {"preprocessor_config.json": '{"max_pixels": 7}', "chat_template.json": '{"chat_template": "x"}'}
    for name, text in held.items():
        (tmp_path / "final" / name).write_text(text)
    export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")
    assert {name: (tmp_path / "served" / name).read_text() for name in held} == held
    (tmp_path / "final" / "chat_template.json").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"chat_template.json is no text in UTF-8"):
        export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")


REFUSED = {
    "diffusion": (replace(QWEN, diffusion=Diffusion(MASK)), "it denoises blocks"),
    "flat positions": (replace(QWEN, mrope=False), "positions of image tokens count one by one"),
    "square pictures": (replace(QWEN, images=ImageConfig()), "pictures are fitted as 'square'"),
    "bare images": (replace(QWEN, chat=ChatConfig(break_after_image=False)), "turns are not those of Qwen-VL's"),
    "breaks": (replace(QWEN, chat=ChatConfig(vision_markers=True)), "turns are not those of Qwen-VL's"),
    "plain turns": (replace(QWEN, chat=replace(QWEN.chat, form="plain")), "turns are not those of Qwen-VL's"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_engines_would_compute_otherwise_is_refused(name: str, tokenizer: Any, tmp_path: Path) -> None:
    settings, message = REFUSED[name]
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "final", settings, tokenizer=tokenizer)
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        export_checkpoint("sglang", tmp_path / "final", tmp_path / "served")
    assert "sglang 0.5.23 serves LlamaForCausalLM" in str(caught.value)
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize("layout", ["published", "converter"])
def test_published_diffusion_layouts_are_refused(layout: Any, tokenizer: Any, tmp_path: Path) -> None:
    settings = Settings(images=ImageConfig(fit="native"), diffusion=Diffusion(MASK))
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "final", settings, tokenizer=tokenizer, layout=layout)
    with pytest.raises(UnsupportedModelError, match="it denoises blocks"):
        export_checkpoint("vllm", tmp_path / "final", tmp_path / "served")


def test_other_towers_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    save_vision_language(assembled(), tmp_path / "assembled", Settings(), tokenizer=tokenizer)
    with pytest.raises(
        UnsupportedModelError, match=r"put together with a tower, which no loader .* give its folder language/"
    ):
        export_checkpoint("vllm", tmp_path / "assembled", tmp_path / "served")
    save_vision_language(QwenVL(qwen3_vl()), tmp_path / "qwen3", QWEN, tokenizer=tokenizer)
    with pytest.raises(UnsupportedModelError, match=r"\['Qwen3VLForConditionalGeneration'\] are none whose loader"):
        export_checkpoint("vllm", tmp_path / "qwen3", tmp_path / "served")


def test_the_language_model_of_an_assembled_one_is_served_alone(tokenizer: Any, tmp_path: Path) -> None:
    save_vision_language(assembled(), tmp_path / "assembled", Settings(), tokenizer=tokenizer)
    loader, _ = verify_export(tmp_path / "assembled" / "language", "vllm")
    assert loader.name == "LlamaForCausalLM"
