import json

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import save_tensors
from ar_vision.backbones.infinity.config import InfinityConfig
from ar_vision.backbones.infinity.loading import from_published, to_published
from ar_vision.backbones.infinity.model import Infinity, draw_null_text
from ar_vision.checkpoint import load_checkpoint, save_checkpoint
from ar_vision.convert import convert


def _same(left, right):
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("chunks", [1, 3])
def test_both_layouts_load(tiny, chunks):
    weights = to_published(tiny, chunks)
    assert any(name.startswith("block_chunks.2.module.0.") for name in weights) is (chunks == 3)
    weights |= {"lvl_1L": torch.arange(3), "attn_bias_for_masking": torch.zeros(1)}
    loaded = from_published(weights, schedules=tiny.config.schedules, text_encoder="hashed")
    assert _same(loaded, tiny)
    assert loaded.config == InfinityConfig(**{**vars(tiny.config), "hidden": 64})


def test_several_blocks_in_a_chunk(tiny):
    model = Infinity(InfinityConfig(**{**vars(tiny.config), "depth": 4}))
    model.initialize(torch.Generator().manual_seed(0))
    weights = to_published(model, 2)
    assert "block_chunks.1.module.1.ca.mat_q.bias" in weights
    assert _same(from_published(weights), model)
    with pytest.raises(CheckpointError, match="4 blocks do not divide into 3 chunks"):
        to_published(model, 3)


@pytest.mark.parametrize(("chunks", "name"), [(1, "blocks.1.sa.q_bias"), (3, "block_chunks.1.module.0.sa.q_bias")])
def test_a_missing_or_surplus_key_is_named(tiny, chunks, name):
    weights = to_published(tiny, chunks)
    with pytest.raises(CheckpointError, match="surplus"):
        from_published({**weights, name.replace("q_bias", "surplus"): torch.zeros(1)})
    del weights[name]
    with pytest.raises(CheckpointError, match=rf"lacks {name}"):
        from_published(weights)


def test_a_missing_key_that_tells_a_size_is_named(tiny):
    weights = to_published(tiny)
    del weights["word_embed.weight"]
    with pytest.raises(CheckpointError, match=r"word_embed\.weight"):
        from_published(weights)


def test_a_bias_of_keys_that_is_not_zero_is_refused(tiny):
    weights = to_published(tiny)
    weights["blocks.2.ca.zero_k_bias"] = torch.ones(32)
    with pytest.raises(CheckpointError, match=r"blocks\.2\.ca\.zero_k_bias"):
        from_published(weights)


def test_the_unconditional_text_is_cut_off_or_completed(tiny):
    weights = to_published(tiny)
    cut = from_published(weights, text_length=4)
    assert torch.equal(cut.null_text, tiny.null_text[:4])
    longer = from_published(weights, text_length=9)
    assert torch.equal(longer.null_text[:6], tiny.null_text)
    fresh = torch.empty(9, 24)
    draw_null_text(fresh)
    assert torch.equal(longer.null_text[6:], fresh[6:])


def test_published_weights_of_16_bits_stay_so(tiny, tmp_path):
    save_tensors(tmp_path / "half.safetensors", {name: t.bfloat16() for name, t in to_published(tiny).items()})
    convert("infinity", tmp_path / "half.safetensors", tmp_path / "model")
    loaded = load_checkpoint(tmp_path / "model").model
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.bfloat16}
    assert torch.equal(loaded.word.weight, tiny.word.weight.bfloat16())


def test_a_checkpoint_of_ours(tiny, tmp_path):
    save_checkpoint(tmp_path / "model", tiny, tokenizer="0123456789abcdef", provenance={"recipe": "infinity"})
    loaded = load_checkpoint(tmp_path / "model", "generator")
    assert _same(loaded.model, tiny)
    assert loaded.model.config == tiny.config
    assert loaded.tokenizer == "0123456789abcdef"


def test_patchified_and_plain_models_have_the_same_parameters():
    sizes = {"depth": 1, "width": 16, "heads": 2, "text_width": 8, "text_length": 4}
    patchified, plain = (
        Infinity(InfinityConfig(bits=16, patchify=True, **sizes)),
        Infinity(InfinityConfig(bits=16, **sizes)),
    )
    shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (patchified, plain)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("width", "hidden"), [(768, 3072), (1152, 4608), (2080, 8192), (3360, 13312), (3584, 14336)])
def test_the_feed_forward_rounds_halves_to_even(width, hidden):
    assert InfinityConfig(width=width, heads=4).feed_forward == hidden


@pytest.mark.parametrize(
    ("values", "part"),
    [({"width": 100, "heads": 8}, "multiple of 32"), ({"bits": 6, "patchify": True}, "multiple of 4"),
     ({"schedules": ()}, "schedules is empty"), ({"depth": 0}, "depth is 0"), ({"pool_heads": 5}, "5 pooling heads do not divide"),
     ({"schedules": (tuple((n, n) for n in range(1, 17)),)}, "a list of 16 scales"), ({"text_encoder": "clip"}, "t5 or hashed")],
)  # fmt: skip
def test_configs_out_of_range(values, part):
    with pytest.raises(ConfigError, match=part):
        InfinityConfig(**values)


def test_published_files_convert(tiny, tmp_path):
    weights = to_published(tiny, 3)
    flat = {
        "gpt_fsdp": weights,
        "gpt_ema_fsdp": {name: tensor + 1 for name, tensor in weights.items() if "zero" not in name},
    }
    torch.save({"trainer": {**flat, "config": "text"}, "epoch": 3}, tmp_path / "training.pth")
    own = {"schedules": [list(map(list, sizes)) for sizes in tiny.config.schedules], "text_encoder": "hashed"}
    convert("infinity", tmp_path / "training.pth", tmp_path / "trained", settings=own)
    trained = load_checkpoint(tmp_path / "trained").model
    assert _same(trained, tiny)
    assert trained.config == tiny.config
    for name, wrong in (
        ("schedules", [1, 2]),
        ("schedules", [[[1, 1], [2]]]),
        ("patchify", "perhaps"),
        ("text_length", 2.5),
    ):
        with pytest.raises(ConfigError, match=name):
            convert("infinity", tmp_path / "training.pth", tmp_path / "wrong", settings={name: wrong})
    convert("infinity", tmp_path / "training.pth", tmp_path / "averaged", entry="trainer.gpt_ema_fsdp")
    assert torch.equal(load_checkpoint(tmp_path / "averaged").model.start, tiny.start + 1)

    shards = tmp_path / "shards"
    shards.mkdir()
    names = sorted(weights)
    parts = {"a.safetensors": names[:40], "b.safetensors": names[40:]}
    for file, held in parts.items():
        save_tensors(shards / file, {name: weights[name] for name in held})
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    convert("infinity", shards, tmp_path / "sharded")
    assert _same(load_checkpoint(tmp_path / "sharded").model, tiny)
    (shards / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"b\.safetensors' is not beside it"):
        convert("infinity", shards, tmp_path / "partial")
