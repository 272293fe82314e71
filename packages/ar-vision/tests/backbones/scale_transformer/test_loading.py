"""Published weights of VAR and FlexVAR in their containers, whole and damaged."""

from argparse import Namespace

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import read_weights, save_tensors
from ar_core.registry import resolve
from ar_vision.backbones.flexvar import loading as flexvar
from ar_vision.backbones.var import loading as var
from ar_vision.checkpoint import load_checkpoint
from ar_vision.convert import convert
from ar_vision.families import family

SHAPES = {
    "var": ("var", {"depth": 3, "width": 48, "heads": 3, "num_classes": 7, "vocab_size": 40, "code_dim": 6}),
    "var, other scales": ("var", {"scales": (1, 3, 3, 5)}),
    "var, shared adaLN": ("var", {"shared_adaln": True}),
    "var, no l2 norm": ("var", {"l2_norm": False, "width": 128, "heads": 2}),
    "flexvar": ("flexvar", {"depth": 1, "ffn_ratio": 2}),
    "flexvar, larger map": ("flexvar", {"position_side": 32}),
}
LOADING = {"var": var, "flexvar": flexvar}


@pytest.fixture(params=SHAPES)
def published(request, make_var, make_flexvar):
    """Its kind, a model and its weights by published name."""
    kind, settings = SHAPES[request.param]
    model = (make_var if kind == "var" else make_flexvar)(**settings)
    return kind, model, LOADING[kind].to_published(model)


def told(model):
    """What weights tell of a config; drop-path, precision and FlexVAR's usual scales are no shapes."""
    fields = {name: value for name, value in vars(model.config).items() if name not in ("drop_path", "head_precision")}
    if model.kind == "flexvar":
        del fields["scales"]
    return fields


def test_the_shape_is_read_off_the_weights(published):
    kind, model, tensors = published
    loaded = LOADING[kind].from_published(tensors)
    assert told(loaded) == told(model)
    assert not loaded.training
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    back = LOADING[kind].to_published(loaded)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in back)


CONTAINERS = {
    "flat": lambda state: state,
    "training checkpoint": lambda state: {
        "epoch": 3,
        "iter": 17,
        "trainer": {"config": {"a": 1}, "var_wo_ddp": state, "vae_local": {"x": torch.ones(1)}, "var_opt": {"n": 1}},
        "args": Namespace(depth=2),
    },
    "trainer, flat": lambda state: {"epoch": 1, "iter": 2, "trainer": state, "args": {}},
    "model": lambda state: {"model": state},
    "module": lambda state: {"module": state},
    "compiled": lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
    "compiled inside": lambda state: {
        name.replace("blocks.0.", "blocks.0._orig_mod."): tensor for name, tensor in state.items()
    },
    "replicated": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_converted(published, tmp_path, container):
    kind, model, tensors = published
    torch.save(CONTAINERS[container](tensors), tmp_path / "weights.pth")
    convert(kind, tmp_path / "weights.pth", tmp_path / "converted")
    loaded = load_checkpoint(tmp_path / "converted", "generator")
    assert loaded.family.kind == kind
    assert told(loaded.model) == told(model)
    ours, theirs = model.state_dict(), loaded.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_safetensors_need_no_pickle(published, tmp_path):
    kind, model, tensors = published
    save_tensors(tmp_path / "weights.safetensors", tensors)
    loaded = resolve(family(kind).from_published)(read_weights(tmp_path / "weights.safetensors"))
    assert told(loaded) == told(model)


@pytest.mark.parametrize(
    "key",
    [
        "pos_start",
        "word_embed.bias",
        "blocks.0.attn.mat_qkv.weight",
        "blocks.0.ffn.fc2.bias",
        "head_nm.ada_lin.1.weight",
    ],
)
def test_missing_and_renamed_keys_are_named(published, key):
    kind, _, tensors = published
    without = {name: tensor for name, tensor in tensors.items() if name != key}
    with pytest.raises(CheckpointError, match=f"lacks {key.replace('.', chr(92) + '.')}"):
        LOADING[kind].from_published(without)
    with pytest.raises(CheckpointError, match=f"it has {key}_x, which the model does not know"):
        LOADING[kind].from_published({**without, f"{key}_x": tensors[key]})


@pytest.mark.parametrize("key", ["word_embed.weight", "head.weight", "class_emb.weight", "pos_1LC"])
def test_keys_that_tell_the_shape_are_named_too(published, key):
    kind, _, tensors = published
    with pytest.raises(CheckpointError, match=key):
        LOADING[kind].from_published({name: tensor for name, tensor in tensors.items() if name != key})
    with pytest.raises(CheckpointError, match=key):
        LOADING[kind].from_published({**tensors, key: tensors[key][0]})


def test_misshapen_keys_are_named(published):
    kind, _, tensors = published
    wrong = {**tensors, "blocks.0.attn.proj.bias": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"its shapes differ: blocks\.0\.attn\.proj\.bias \[3\] instead of"):
        LOADING[kind].from_published(wrong)


def test_mixed_adaptive_norms_are_refused(make_var):
    """Weights for 512 px loaded as if they were for 256 px, the error that users of published code meet."""
    tensors = var.to_published(make_var(shared_adaln=True))
    tensors["blocks.1.ada_lin.1.weight"] = torch.zeros(192, 32)
    with pytest.raises(CheckpointError, match=r"it has blocks\.1\.ada_lin\.1\.weight, which the model does not know"):
        var.from_published(tensors)
    del tensors["blocks.1.ada_lin.1.weight"], tensors["blocks.1.ada_gss"]
    with pytest.raises(CheckpointError, match=r"lacks blocks\.1\.ada_gss"):
        var.from_published(tensors)


def test_a_bias_of_keys_is_no_part_of_the_model(make_var):
    tensors = var.to_published(make_var())
    tensors["blocks.1.attn.zero_k_bias"][3] = 1
    with pytest.raises(CheckpointError, match="zero_k_bias' is not zero"):
        var.from_published(tensors)


def test_scales_come_from_the_scale_of_each_position(make_var):
    tensors = var.to_published(make_var(scales=(1, 2, 2, 4)))
    assert var.from_published(tensors).config.scales == (1, 2, 2, 4)
    tensors["lvl_1L"] = torch.tensor([[0, 1, 1, 1, 1, 2, 2, 2, 2, *[3] * 15, 4]])
    with pytest.raises(CheckpointError, match="'lvl_1L' has scales of"):
        var.from_published(tensors)
    del tensors["lvl_1L"]
    with pytest.raises(CheckpointError, match="no published schedule has 4 scales and 25 positions"):
        var.from_published(tensors)
    known = var.to_published(make_var(scales=(1, 2, 3, 4, 5, 6, 8, 10, 13, 16)))
    del known["lvl_1L"], known["attn_bias_for_masking"]
    assert var.from_published(known).config.scales[-1] == 16


def test_heads_that_weights_do_not_tell(make_var):
    tensors = var.to_published(make_var(l2_norm=False, width=128, heads=4))
    assert var.from_published(tensors).config.heads == 2
    assert var.from_published(tensors, heads=4).config.heads == 4


def test_each_kind_refuses_the_other(make_var, make_flexvar):
    with pytest.raises(CheckpointError, match="load it as a VAR"):
        flexvar.from_published(var.to_published(make_var()))
    with pytest.raises(CheckpointError, match=r"lvl_embed\.weight"):
        var.from_published(flexvar.to_published(make_flexvar()))
