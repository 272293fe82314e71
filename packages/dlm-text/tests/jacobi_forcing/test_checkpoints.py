"""Oracle 18: the layouts in which published and own models come load strictly, and compute what transformers computes."""

import json

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.hf import HFBackbone, load_causal_lm, save_pretrained
from ar_core.masks import Mask, Tokens, causal


def logits(model, ids: torch.Tensor) -> torch.Tensor:
    backbone = HFBackbone(model)
    positions = torch.arange(ids.shape[1])
    mask = Mask.self_attention(causal(), Tokens(position=positions))
    return backbone.head(backbone.hidden(ids, positions=positions.expand_as(ids), mask=mask))


def write_bin(folder, model, *, parts: int) -> None:
    """The files that published trainers leave: pickled shards and, for several, their index."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = sorted(state)
    if parts == 1:
        torch.save(state, folder / "pytorch_model.bin")
        return
    index = {}
    for part in range(parts):
        file = f"pytorch_model-{part + 1:05d}-of-{parts:05d}.bin"
        chosen = names[part::parts]
        torch.save({name: state[name] for name in chosen}, folder / file)
        index |= dict.fromkeys(chosen, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


@pytest.mark.parametrize("layout", ["safetensors", "bin", "sharded bin"])
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@torch.no_grad()
def test_strict_loading_and_equal_logits(build_tiny, tmp_path, family: str, layout: str) -> None:
    model = build_tiny(family)
    ids = torch.randint(40, (2, 9), generator=torch.Generator().manual_seed(0))
    model.set_attn_implementation("eager")
    expected = model(input_ids=ids).logits
    save_pretrained(model, tmp_path / "model")
    if layout != "safetensors":
        (tmp_path / "model" / "model.safetensors").unlink()
        write_bin(tmp_path / "model", model, parts=3 if layout == "sharded bin" else 1)
    loaded = load_causal_lm(tmp_path / "model").model
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    torch.testing.assert_close(logits(loaded, ids), expected, rtol=0, atol=1e-5)


def test_a_missing_or_foreign_key_is_refused(build_tiny, tmp_path) -> None:
    model = build_tiny("qwen2")
    save_pretrained(model, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    state = dict(model.state_dict())
    state["model.layers.0.self_attn.extra.weight"] = state.pop("model.layers.1.self_attn.q_proj.bias")
    torch.save(state, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"(?s)q_proj\.bias.*extra\.weight"):
        load_causal_lm(tmp_path / "model")
