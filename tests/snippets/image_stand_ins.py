"""Stand-ins for image models, in our layout and as published, and for collections of pictures."""

import io
from pathlib import Path
from typing import Any

from .text_stand_ins import Builder, pictures_in, shipped

__all__ = ["IMAGE_STAND_INS"]

EXAMPLES = ("var", "var_tokenizer", "flexvar", "vq_tokenizer", "llamagen", "infinity", "bsq_tokenizer")
"""Trained models that lie in the repository."""
WIDE = {"depth": 2, "width": 64, "heads": 1, "num_classes": 1000, "scales": (1, 2, 4)}
"""Published weights tell the width of a head, 64, and nothing of their number."""


def _initialized(model: Any, spread: float = 0.1) -> Any:
    """A model whose weights all matter."""
    import torch

    generator = torch.Generator().manual_seed(0)
    model.initialize(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=spread)
    return model


def _paired(tokenizer: str) -> tuple[Any, str]:
    """A tokenizer of the examples, and its fingerprint."""
    from ar_vision.checkpoint import fingerprint, load_checkpoint

    from .pages import ROOT

    model = load_checkpoint(ROOT / "packages" / "ar-vision" / "examples" / tokenizer, "tokenizer").model
    return model, fingerprint(model)


def _imagenet_var(home: Any, target: Path) -> None:
    """A VAR of the thousand classes, for the tokenizer of the examples."""
    from ar_vision.backbones.var.config import VarConfig
    from ar_vision.backbones.var.model import Var
    from ar_vision.checkpoint import save_checkpoint

    tokenizer, mark = _paired("var_tokenizer")
    shape = {**WIDE, "scales": (1, 2, 3, 4, 6, 8), "vocab_size": 512, "code_dim": tokenizer.code_dim}
    save_checkpoint(target, _initialized(Var(VarConfig(**shape))), tokenizer=mark)


def _llamagen_of_texts(home: Any, target: Path) -> None:
    from ar_vision.backbones.llamagen.config import LlamaGenConfig
    from ar_vision.backbones.llamagen.model import LlamaGen
    from ar_vision.checkpoint import save_checkpoint

    shape: dict[str, Any] = {"layers": 1, "heads": 2, "dim": 16, "vocab_size": 1024, "grid": 8}
    texts: dict[str, Any] = {"condition": "text", "text_encoder": "t5", "text_dim": 24, "text_tokens": 12}
    model = _initialized(LlamaGen(LlamaGenConfig(**shape, **texts)))
    save_checkpoint(target, model, tokenizer=_paired("vq_tokenizer")[1])


def _infinity(home: Any, target: Path) -> None:
    """An Infinity with the published schedules, which takes its texts from a T5."""
    from ar_vision.backbones.infinity.config import InfinityConfig
    from ar_vision.backbones.infinity.model import Infinity
    from ar_vision.checkpoint import save_checkpoint

    shape: dict[str, Any] = {"depth": 1, "width": 32, "heads": 4, "hidden": 64, "bits": 24, "text_width": 24}
    model = _initialized(Infinity(InfinityConfig(**shape, text_length=8, pool_heads=2)))
    save_checkpoint(target, model, tokenizer=_paired("bsq_tokenizer")[1])


def _nsarm(text_encoder: str) -> Builder:
    def build(home: Any, target: Path) -> None:
        from ar_core.config import from_dict
        from ar_vision.checkpoint import save_checkpoint
        from ar_vision.nsarm.config import NsarmModelConfig
        from ar_vision.nsarm.model import Nsarm

        side = [[[1, 1], [2, 2], [4, 4], [8, 8], [16, 16]]]
        shape = {"channels": 24, "grid": 4, "sizes": [1, 2], "widths": [8, 8], "layers": [1, 1], "heads": [2, 2]}
        transformer = {
            "depth": 1, "width": 32, "heads": 4, "hidden": 64, "bits": 24, "text_width": 24, "text_length": 8, "pool_heads": 2,
            "text_encoder": text_encoder, "schedules": side,
        }  # fmt: skip
        config = from_dict(NsarmModelConfig, {"map": {**shape, "stem": [6, 6]}, "transformer": transformer})
        mark, told = _paired("bsq_tokenizer")[1], {"prompt": "a photograph"}
        save_checkpoint(target, _initialized(Nsarm(config)), tokenizer=mark, provenance=told)

    return build


def _t5(home: Any, target: Path) -> None:
    import tokenizers
    import torch
    import transformers

    words = ["<pad>", "</s>", "<unk>", "a", "red", "bus", "cat", "on", "chair"]
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(target)
    config = transformers.T5Config(vocab_size=len(words), d_model=24, d_kv=8, d_ff=32, num_layers=1, num_heads=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.T5EncoderModel(config).save_pretrained(target)


def _published_tokenizer() -> Any:
    """A multi-scale tokenizer whose shape published weights tell: 32 channels a level, for its norms."""
    from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
    from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
    from ar_vision.tokenizers.var_vqvae.model import VarTokenizer

    layout = AutoencoderConfig(channels=32, channel_multipliers=(1, 1), latent_channels=8)
    return _initialized(VarTokenizer(VarTokenizerConfig(autoencoder=layout, vocab_size=24)), 0.02)


def _saved(content: Any, target: Path) -> None:
    import torch

    torch.save(content, target)


def _published_var_tokenizer(home: Any, target: Path) -> None:
    from ar_vision.tokenizers.var_vqvae.loading import to_published

    _saved(to_published(_published_tokenizer()), target)


def _var_of_published() -> Any:
    from ar_vision.backbones.var.config import VarConfig
    from ar_vision.backbones.var.model import Var

    return _initialized(Var(VarConfig(**WIDE, vocab_size=24, code_dim=8)))


def _published_var(home: Any, target: Path) -> None:
    from ar_vision.backbones.var.loading import to_published

    _saved(to_published(_var_of_published()), target)


def _converted_tokenizer(home: Any, target: Path) -> None:
    from ar_vision.checkpoint import save_checkpoint

    save_checkpoint(target, _published_tokenizer())


def _converted_var(home: Any, target: Path) -> None:
    from ar_vision.checkpoint import fingerprint, save_checkpoint

    save_checkpoint(target, _var_of_published(), tokenizer=fingerprint(_published_tokenizer()))


def _published_car(home: Any, target: Path) -> None:
    import torch
    from ar_vision.ecm.baselines.car import CarControl
    from ar_vision.ecm.baselines.car_loading import to_published
    from ar_vision.ecm.baselines.config import CarConfig

    base = _var_of_published()
    car = CarControl(CarConfig(channels=(4,) * 7), base.config, 256)
    car.initialize(torch.Generator().manual_seed(0), base)
    _saved(to_published(car), target)


def _published_var_student(home: Any, target: Path) -> None:
    from ar_vision.distilled_decoding.student_config import VarStudentConfig
    from ar_vision.distilled_decoding.var_loading import to_published
    from ar_vision.distilled_decoding.var_student import VarStudent

    student = VarStudent(VarStudentConfig(**WIDE, vocab_size=24, code_dim=8, split=3))
    _saved({"trainer": {"ema_parameters": to_published(_initialized(student))}}, target)


def _png(pixels: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _cifar10(home: Any, target: Path) -> None:
    """100 training and 80 test pictures of noise, as ``python -m benchmarks.cifar10 prepare`` leaves them."""
    import numpy as np

    from benchmarks.cifar10.prepare import _write

    draw = np.random.default_rng(0)
    target.mkdir()
    for split, count in (("train", 100), ("test", 80)):
        pixels = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        _write(target / split, pixels, np.arange(count) % 10)


def _codes(tokenizer: str, *overrides: str) -> Builder:
    """What the recipe ``image_codes`` makes of those pictures."""

    def build(home: Any, target: Path) -> None:
        from ar_core.registry import recipe
        from ar_core.training import read_run_config, run_recipe

        from .pages import ROOT

        made = [
            f"tokenizer={ROOT / 'packages' / 'ar-vision' / 'examples' / tokenizer}",
            f"data.path={home.of('cifar10') / 'train.parquet'}",
            f"stage.directory={target}",
            "stage.device=cpu",
            *overrides,
        ]
        run_recipe(recipe("image_codes"), read_run_config(recipe("image_codes"), "cifar10", made))

    return build


def _data(home: Any, target: Path) -> None:
    """The folder that AR_DATA_DIR names: few pictures of every collection that a shipped config reads."""
    import numpy as np
    import pyarrow
    import pyarrow.parquet

    (target / "images").mkdir(parents=True)
    for split in ("train", "test"):
        (target / "images" / f"cifar10_{split}.parquet").symlink_to(home.of("cifar10") / f"{split}.parquet")
    pictures_in(target / "images" / "kodak256", 4, (256, 256))
    (target / "image_text").mkdir()
    (target / "models" / "lpips_alex").mkdir(parents=True)
    (target / "models" / "lpips_alex" / "model.safetensors").symlink_to(home.of("lpips.safetensors"))
    (target / "models" / "cifar10_resnet").mkdir()
    (target / "models" / "cifar10_resnet" / "resnet20.safetensors").symlink_to(home.of("resnet20.safetensors"))
    (target / "image_text" / "coco_cc").symlink_to(home.of("captioned"))
    draw = np.random.default_rng(1)
    pictures = [_png(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(40)]
    names = [f"{colour} {what} {n}" for n in range(10) for colour in ("red", "green") for what in ("heart", "flag")]
    table = pyarrow.table({"image": pictures, "caption": names})
    pyarrow.parquet.write_table(table, target / "image_text" / "emoji64.parquet")


def _emoji(home: Any, target: Path) -> None:
    """Tokenizer, codes and generator of emoji, from two steps of their configs."""
    import os
    from unittest import mock

    from ar_core.registry import recipe
    from ar_core.training import read_run_config, run_recipe

    from .rules import IMAGES, STEPS

    made = {
        "image_tokenizer": [f"train.checkpoint_dir={target / 'tokenizer'}", *STEPS, IMAGES],
        "image_codes": [f"tokenizer={target / 'tokenizer' / 'final'}", f"stage.directory={target / 'codes'}"],
        "llamagen": [
            f"tokenizer={target / 'tokenizer' / 'final'}",
            f"data.codes.path={target / 'codes'}",
            f"train.checkpoint_dir={target / 'llamagen'}",
            *STEPS,
            IMAGES,
        ],
    }
    with mock.patch.dict(os.environ, AR_DATA_DIR=str(home.of("data"))):
        for name, overrides in made.items():
            run_recipe(recipe(name), read_run_config(recipe(name), "emoji", overrides))


def _resnet20(home: Any, target: Path) -> None:
    from ar_core.io import write_tensors
    from ar_vision.evaluation.features.resnet20 import ResNet20

    state = ResNet20().state_dict()
    write_tensors(target, {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")})


def _samples(count: int, seed: int) -> Builder:
    """Pictures with labels, as ``ar-decode image`` writes them."""

    def build(home: Any, target: Path) -> None:
        import numpy as np

        pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        with target.open("wb") as file:
            np.savez(file, arr_0=pixels, labels=np.arange(count) % 10)

    return build


def _lpips(home: Any, target: Path) -> None:
    from ar_core.io import write_tensors
    from ar_vision.tokenizers.training.lpips import Lpips

    write_tensors(target, Lpips().state_dict())


def _depth_detector(home: Any, target: Path) -> None:
    import torch
    import transformers

    shape = {
        "depths": [1] * 4,
        "hidden_sizes": [8] * 4,
        "num_attention_heads": [1] * 4,
        "decoder_hidden_size": 8,
        "sr_ratios": [1] * 4,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.GLPNForDepthEstimation(transformers.GLPNConfig(**shape)).save_pretrained(target)


def _ecm(kind: str) -> Builder:
    """Adapters of the VAR of the examples, untrained."""

    def build(home: Any, target: Path) -> None:
        import torch
        from ar_vision.checkpoint import fingerprint, load_checkpoint
        from ar_vision.ecm.checkpoint import save_controller
        from ar_vision.ecm.config import EcmConfig, EncoderConfig
        from ar_vision.ecm.controls.config import ControlConfig
        from ar_vision.ecm.model import Ecm

        from .pages import ROOT

        base: Any = load_checkpoint(ROOT / "packages" / "ar-vision" / "examples" / "var", "generator").model
        encoder = EncoderConfig(patch=4, depth=1, width=16, heads=2)
        ecm = Ecm(EcmConfig(encoder=encoder, n_adapters=2, ffn_ratio=1), base.config, 32, 1)
        ecm.initialize(torch.Generator().manual_seed(0), base)
        save_controller(target, ecm, (ControlConfig(kind=kind),), base=fingerprint(base))  # type: ignore[arg-type]

    return build


def _student(home: Any, target: Path) -> None:
    """A student of the VAR of the examples, as it is before training."""
    from ar_vision.checkpoint import load_checkpoint, save_checkpoint
    from ar_vision.distilled_decoding.initialisation import build_student

    from .pages import ROOT

    tokenizer, mark = _paired("var_tokenizer")
    teacher = load_checkpoint(ROOT / "packages" / "ar-vision" / "examples" / "var", "generator").model
    save_checkpoint(target, build_student(teacher, tokenizer, timesteps=(0, 5), split=6), tokenizer=mark)


IMAGE_STAND_INS: dict[str, Builder] = {
    **{f"example_{name}": shipped(f"packages/ar-vision/examples/{name}") for name in EXAMPLES},
    "examples": shipped("packages/ar-vision/examples"),
    "imagenet_var": _imagenet_var,
    "llamagen_of_texts": _llamagen_of_texts,
    "infinity": _infinity,
    "nsarm": _nsarm("t5"),
    "nsarm_of_hashed_words": _nsarm("hashed"),
    "t5": _t5,
    "published_var_tokenizer.pth": _published_var_tokenizer,
    "published_var.pth": _published_var,
    "converted_tokenizer": _converted_tokenizer,
    "converted_var": _converted_var,
    "published_car.pth": _published_car,
    "published_var_student.pth": _published_var_student,
    "cifar10": _cifar10,
    "var_codes": _codes("var_tokenizer", "method.scales=[1, 2, 3, 4, 6, 8]"),
    "side_codes": _codes("vq_tokenizer", "method.scales=[1, 2, 3, 4, 5, 6, 7, 8]"),
    "data": _data,
    "emoji": _emoji,
    "resnet20.safetensors": _resnet20,
    "lpips.safetensors": _lpips,
    "depth_detector": _depth_detector,
    "student": _student,
    "ecm_canny": _ecm("canny"),
    "ecm_depth": _ecm("depth"),
    "samples.npz": _samples(460, 2),
    "test.npz": _samples(460, 3),
    "train.npz": _samples(460, 4),
}
