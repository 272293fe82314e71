"""Which stand-ins lie where, for the commands that name them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PLACES", "Place"]


@dataclass(frozen=True)
class Place:
    """What lies in the scratch folder of a page for some blocks.

    Attributes:
        named: expression that is found in the command, or in the code.
        holds: paths in the scratch folder, and the stand-ins, or paths in them, that lie there.
        page: expression that is found in the path of the page.
    """

    named: str
    holds: Mapping[str, str]
    page: str = ""


def _named(path: str, stand_in: str, page: str = "") -> Place:
    """Where the very path is named."""
    return Place(rf"(?<![\w/.-]){re.escape(path)}(?![\w-])", {path.removeprefix("./"): stand_in}, page)


NSARM, ECM, CCA, SAR = ("methods/nsarm", "methods/ecm", "methods/cca", "methods/sar")
CIFAR10 = {"runs/cifar10_var/best": "example_var", "runs/cifar10_tokenizer/final": "example_var_tokenizer"}

PLACES: tuple[Place, ...] = (
    # Language models, and what they are asked. The first that names a path has it.
    _named("./converted", "efficient_dlm", "methods/efficient_dlm"),
    _named("./hybrid", "hybrid"),
    _named("apps/quickstart/src/ar_quickstart/weights", "weights"),
    _named("packages/ar-vision/examples", "examples"),
    *(_named(name, "chat_model") for name in ("MODEL", "PATH", "./model", "./converted", "./base")),
    _named("./efficient_dlm_4b", "efficient_dlm_of_qwen3"),
    Place("out/final", {"out/final": "plain_model"}),
    _named("prompts.jsonl", "prompts.jsonl"),
    _named("spec_bench.jsonl", "spec_bench.jsonl"),
    _named("gsm8k_test.jsonl", "gsm8k.jsonl"),
    _named("arc.jsonl", "choices.jsonl"),
    _named("train.jsonl.gz", "corpus.jsonl.gz"),
    _named("my_chats.jsonl", "chats.jsonl"),
    Place("humaneval", {"humaneval.jsonl": "humaneval.jsonl"}),
    Place("proxy=proxy.safetensors", {"proxy.safetensors": "proxy.safetensors"}),
    Place(
        "runs/task_base|(jacobi_trajectories|efficient_dlm|fast_dllm_v2) --config task",
        {"runs/task_base/final": "task_model"},
    ),
    # Vision-language models.
    _named("my_folder", "vision_language", "diffusionvl|dvlm"),
    _named("Qwen/Qwen2.5-VL-3B-Instruct", "qwen_vl"),
    _named("hustvl/DiffusionVL-Qwen2.5VL-3B", "published_vision_language"),
    *(_named(name, "picture.png") for name in ("cat.png", "a.png", "b.png", "photograph.png")),
    _named("questions.jsonl", "questions.jsonl"),
    _named("vqa.jsonl", "questions.jsonl"),
    _named("captions.jsonl", "questions.jsonl"),
    Place(r"(questions|vqa|captions)\.jsonl", {"cat.png": "picture.png"}),
    # Image models.
    *(_named(name, "example_infinity", NSARM) for name in ("INFINITY",)),
    *(_named(name, "example_bsq_tokenizer", NSARM) for name in ("TOKENIZER", "BSQ")),
    _named("NSARM", "nsarm", f"{NSARM}|docs/index"),
    _named("./nsarm", "nsarm_of_hashed_words", "ar-vision/README"),
    _named("./bsq", "example_bsq_tokenizer", "ar-vision/README"),
    _named("TOKENIZER", "example_vq_tokenizer", SAR),
    _named("FLEXVAR", "example_flexvar", SAR),
    _named("CODES", "side_codes", SAR),
    *(_named(name, "example_var", f"{CCA}|{ECM}|distilled|docs/index") for name in ("VAR",)),
    _named("VAR", "imagenet_var"),
    *(_named(name, "example_var_tokenizer") for name in ("VAE", "TOKENIZER")),
    _named("CODES", "var_codes"),
    _named("LLAMAGEN", "llamagen_of_texts"),
    _named("VQ", "example_vq_tokenizer"),
    _named("INFINITY", "infinity"),
    _named("BSQ", "example_bsq_tokenizer"),
    _named("flan-t5-xl", "t5"),
    _named("STUDENT", "student"),
    *(_named(name, name) for name in ("ecm_canny", "ecm_depth")),
    _named("CIFAR10", "cifar10"),
    _named("DIR", "cifar10"),
    Place(r"\bDATA\b|emoji|photographs128|image_tokenizer --config cifar10", {"DATA": "data"}),
    Place(r"(glotok\w*|image_codes|far) --config cifar10", {"CIFAR10": "cifar10", "DATA": "data"}),
    Place(
        "emoji_llamagen",
        {
            "runs/emoji_tokenizer/final": "emoji/tokenizer/final",
            "runs/emoji_codes": "emoji/codes",
            "runs/emoji_llamagen/best": "emoji/llamagen/best",
        },
        "distilled",
    ),
    Place("cifar10_var(?!_cca)", {**CIFAR10, "runs/cifar10_var_codes": "var_codes"}, "distilled"),
    _named("vae_ch160v4096z32.pth", "published_var_tokenizer.pth"),
    _named("var_d16.pth", "published_var.pth"),
    _named("./vae", "converted_tokenizer", f"{ECM}|distilled"),
    _named("./var_d16", "converted_var", ECM),
    _named("car_canny_d16.pth", "published_car.pth"),
    _named("VAR-DD/var-d16.pth", "published_var_student.pth"),
    _named("TRAIN", "held_out", ECM),
    _named("PHOTOS", "pictures"),
    _named("DPT_FOLDER", "depth_detector"),
    _named("cat.jpg", "picture.jpg"),
    _named("small.jpg", "small.jpg"),
    _named("photographs.jsonl", "photographs.jsonl"),
    _named("held_out", "held_out", NSARM),
    *(_named(name, "lpips.safetensors") for name in ("LPIPS", "alex.safetensors")),
    _named("resnet20.safetensors", "resnet20.safetensors"),
    _named("samples.npz", "samples.npz"),
    _named("test.npz", "test.npz"),
    _named("train.npz", "train.npz"),
)
