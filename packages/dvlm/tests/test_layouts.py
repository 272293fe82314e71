"""Every layout is read and written without loss, and what is incomplete is refused by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.hf import LoraConfig, cast_weights
from ar_core.io import read_checkpoint, save_tensors
from dvlm.assembled import AssembledVL
from dvlm.build import mask_row
from dvlm.images.config import ImageConfig
from dvlm.layouts.converter import convert
from dvlm.layouts.load import load_vision_language
from dvlm.layouts.save import save_vision_language
from dvlm.layouts.stage1 import load_connector, save_connector
from dvlm.qwen_vl import QwenVL
from dvlm.settings import Diffusion, Settings
from dvlm.towers import Connector, ConnectorConfig, ScratchTower, TowerConfig, build_tower
from tiny_vision_language import assembled, edit_config, qwen2_5_vl, qwen3_vl, route2

SETTINGS = Settings(images=ImageConfig(fit="square", min_pixels=3136), diffusion=Diffusion(mask_id=299, block_size=4))


def same(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layout", ["published", "converter"])
def test_hub_to_published_and_back(tmp_path: Path, tied: bool, layout):
    """Oracle 18 and backbone oracle 2: keys and tensors stay; a tied head is not written and comes back tied."""
    qwen2_5_vl(tied=tied).save_pretrained(tmp_path / "hub")
    hub = read_checkpoint(tmp_path / "hub")
    assert any(name.startswith("visual.blocks.0.") for name in hub)
    loaded = load_vision_language(tmp_path / "hub")
    assert loaded.settings is None
    save_vision_language(loaded.model, tmp_path / "there", SETTINGS, layout=layout)
    if layout == "published":
        tensors = read_checkpoint(tmp_path / "there")
        assert "model.vision_tower.vision_tower.blocks.0.attn.qkv.weight" in tensors
        assert "model.mm_projector.merger.ln_q.weight" in tensors
        assert ("lm_head.weight" in tensors) != tied
        config = json.loads((tmp_path / "there" / "config.json").read_text())
        assert (config["model_type"], config["bd3lm_block_size"], config["hidden_size"]) == (
            "diffusionvl_qwenvl",
            4,
            32,
        )
    back = load_vision_language(tmp_path / "there")
    assert back.settings == SETTINGS
    head = back.model.base_language.lm_head.weight
    assert (head is back.model.base_language.get_input_embeddings().weight) == tied
    save_vision_language(back.model, tmp_path / "again", None)
    same(read_checkpoint(tmp_path / "again"), hub)


def test_published_configs_without_our_field(tmp_path):
    """Text fields lie flat; the image token may be null; M is the published row, which this tiny table lacks."""
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "there", SETTINGS, layout="published")
    path = tmp_path / "there" / "config.json"
    config = json.loads(path.read_text())
    for name in ("dvlm", "text_config"):
        config.pop(name)
    path.write_text(json.dumps({**config, "image_token_id": None, "mm_vision_tower": "/private/path", "freeze_mm": 1}))
    loaded = load_vision_language(tmp_path / "there")
    assert loaded.settings.diffusion == Diffusion(299, 4)
    assert not hasattr(loaded.model.base_language.config.text_config, "freeze_mm")
    assert (loaded.settings.images.fit, loaded.settings.images.min_pixels) == ("square", 3136)
    config.pop("mask_token_id")
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"masks with id 151671 and embeds only 300 tokens"):
        load_vision_language(tmp_path / "there")


def test_fields_of_other_types_are_refused(tmp_path):
    """Transformers' validation raises an error that is none of Python's."""
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "there", SETTINGS, layout="published")
    path = tmp_path / "there" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "vision_config": {**config["vision_config"], "depth": [0]}}))
    with pytest.raises(CheckpointError, match=r"cannot be read \(.*depth"):
        load_vision_language(tmp_path / "there")


def test_keys_that_are_missing_or_unknown_are_named(tmp_path):
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "there", SETTINGS, layout="published")
    tensors = read_checkpoint(tmp_path / "there")
    tensors["model.vision_tower.vision_tower.extra"] = tensors.pop("model.norm.weight")
    save_tensors(tmp_path / "there" / "model.safetensors", tensors)
    with pytest.raises(CheckpointError, match=r"lacks .*norm.weight.*extra"):
        load_vision_language(tmp_path / "there")
    with pytest.raises(CheckpointError, match=r"config.json cannot be read"):
        load_vision_language(tmp_path)


def test_own_layout_of_route_1(tmp_path, tokenizer):
    model = QwenVL(qwen3_vl())
    save_vision_language(model, tmp_path / "own", SETTINGS, tokenizer=tokenizer)
    loaded = load_vision_language(tmp_path / "own")
    assert loaded.settings == SETTINGS
    assert loaded.tokenizer is not None
    same(dict(loaded.model.state_dict()), dict(model.state_dict()))
    with pytest.raises(ConfigError, match=r"exists for Qwen2.5-VL alone"):
        save_vision_language(model, tmp_path / "other", SETTINGS, layout="published")


def test_adapters_are_merged(tmp_path):
    model = QwenVL(qwen2_5_vl())
    model.adapt(LoraConfig(rank=2, alpha=4), seed=0)
    model.train_only(["connector", "language"])
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning
    assert all("lora_" in name or ".merger." in name for name in learning)
    assert not any("lora_" in name and "visual" in name for name in learning)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)
    save_vision_language(model, tmp_path / "own", SETTINGS)
    plain = load_vision_language(tmp_path / "own").model
    ids = torch.arange(6)[None]
    for one in (model, plain):
        one.eval()
    states = [one.backbone.hidden(ids, positions=ids, mask=None) for one in (model, plain)]
    torch.testing.assert_close(states[0], states[1], rtol=1e-9, atol=1e-9)


def test_own_layout_of_route_2(tmp_path, tokenizer):
    model = assembled(newline=True)
    save_vision_language(model, tmp_path / "own", SETTINGS, tokenizer=tokenizer)
    loaded = load_vision_language(tmp_path / "own")
    assert loaded.settings == SETTINGS
    same(dict(loaded.model.state_dict()), dict(model.state_dict()))
    image = loaded.model.processor(SETTINGS.images)(torch.zeros(9, 7, 3, dtype=torch.uint8).numpy())
    pixels = image.pixels.double()
    assert torch.equal(
        loaded.model.double().image_features(pixels, [image.layout]).rows,
        model.image_features(pixels, [image.layout]).rows,
    )


@pytest.mark.parametrize("newline", [False, True])
def test_published_layout_of_route_2(tmp_path, newline):
    """Oracle 18 for layout (e): one encoder layer fewer, features without the final norm."""
    model = route2(newline=newline)
    save_vision_language(model, tmp_path / "there", SETTINGS, layout="published")
    tensors = read_checkpoint(tmp_path / "there")
    assert "model.vision_tower.vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight" in tensors
    assert not any("encoder.layers.2." in name for name in tensors)
    assert ("model.image_newline" in tensors) == newline
    assert {"model.mm_projector.0.weight", "model.mm_projector.2.bias", "lm_head.weight"} <= tensors.keys()
    back = load_vision_language(tmp_path / "there")
    same(dict(back.model.state_dict()), dict(model.state_dict()))
    image = model.processor(ImageConfig(fit="anyres" if newline else "square"))(
        torch.zeros(9, 70, 3, dtype=torch.uint8).numpy()
    )
    rows = [one.image_features(image.pixels, [image.layout]).rows for one in (model, back.model)]
    assert torch.equal(rows[0], rows[1])
    assert len(rows[0]) == image.layout.tokens
    save_vision_language(back.model, tmp_path / "again", SETTINGS, layout="published")
    same(read_checkpoint(tmp_path / "again"), tensors)


def test_heads_of_a_tower_must_be_known(tmp_path):
    save_vision_language(route2(), tmp_path / "there", SETTINGS, layout="published")
    path = tmp_path / "there" / "config.json"
    config = json.loads(path.read_text())
    config.pop("vision_config")
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"vision tower has width 16 and its config no vision_config"):
        load_vision_language(tmp_path / "there")


def test_dropping_layers_gives_the_features_before_the_last():
    scratch = ScratchTower(side=16, patch=8, hidden=16, layers=3, heads=2)
    whole = build_tower(TowerConfig(scratch=scratch)).eval()
    cut = build_tower(TowerConfig(scratch=scratch, drop_layers=1, final_norm=False)).eval()
    crops = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    caught = []
    whole.encoder.encoder.layers[1].register_forward_hook(
        lambda m, i, output: caught.append(output[0] if isinstance(output, tuple) else output)
    )
    whole(crops)
    assert torch.equal(cut(crops), caught[0])
    assert cut(crops).shape == (2, cut.features**2, cut.width)
    with pytest.raises(ConfigError, match=r"drop_layers is 3 and the tower has 3 layers"):
        build_tower(TowerConfig(scratch=scratch, drop_layers=3))


def test_stage_1_connectors(tmp_path):
    """Published pickles of tensors, and ours; the newline vector stays fresh where stage 1 has none."""
    model, other = assembled(newline=True), assembled(newline=True)
    with torch.no_grad():
        for parameter in model.connector.parameters():
            parameter.add_(1)
    save_connector(model, tmp_path / "mm_projector.bin")
    load_connector(other, tmp_path)
    same(dict(other.connector.state_dict()), dict(model.connector.state_dict()))
    save_vision_language(model, tmp_path / "run", Settings())
    fresh = assembled()
    load_connector(fresh, tmp_path / "run")
    same(dict(fresh.connector.state_dict()), dict(model.connector.state_dict()))
    with pytest.raises(CheckpointError, match=r"holds none of mm_projector.bin"):
        load_connector(other, tmp_path / "run" / "tower")
    torch.save({"mm_projector.0.weight": torch.zeros(2, 2)}, tmp_path / "mm_projector.bin")
    with pytest.raises(CheckpointError, match=r"lacks"):
        load_connector(other, tmp_path)


def test_rows_for_the_mask(tokenizer):
    model = assembled()
    assert mask_row(model, tokenizer, mask_id=299, mask_token=None) == 299
    assert mask_row(model, tokenizer, mask_id=None, mask_token="<mask>") == tokenizer.get_vocab()["<mask>"]
    with pytest.raises(ConfigError, match=r"method.mask_id is 300, and the model embeds only 300 tokens"):
        mask_row(model, tokenizer, mask_id=300, mask_token=None)
    with pytest.raises(ConfigError, match=r"the tokenizer has '<mask>' there"):
        mask_row(model, tokenizer, mask_id=tokenizer.get_vocab()["<mask>"], mask_token=None)


def test_connectors_have_published_names():
    assert sorted(Connector(ConnectorConfig(depth=2), 3, 4).state_dict()) == [
        "0.bias",
        "0.weight",
        "2.bias",
        "2.weight",
    ]


def test_the_converter_goes_from_any_layout_to_another(tmp_path):
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "a", SETTINGS, layout="published")
    said = convert("diffusionvl", tmp_path / "a", tmp_path / "b", settings={"layout": "converter"})
    assert said.endswith("in the layout converter")
    assert load_vision_language(tmp_path / "b").settings == SETTINGS
    with pytest.raises(ConfigError, match="layout is 'other'"):
        convert("diffusionvl", tmp_path / "a", tmp_path / "c", settings={"layout": "other"})
    with pytest.raises(ConfigError, match="'width' was given"):
        convert("diffusionvl", tmp_path / "a", tmp_path / "c", settings={"width": 3})


@pytest.mark.parametrize("route", [1, 2])
def test_published_configs_say_the_rotary_base_where_their_code_looks(tmp_path, route):
    """transformers 4.55 reads `rope_theta` and `rope_scaling` alone, and takes its own base where they are missing."""
    model = QwenVL(qwen2_5_vl()) if route == 1 else route2()
    text = model.base_language.config.get_text_config()
    save_vision_language(model, tmp_path / "there", SETTINGS, layout="published")
    config = json.loads((tmp_path / "there" / "config.json").read_text())
    for fields in (config, *([config["text_config"]] if route == 1 else [])):
        assert "rope_parameters" not in fields
        assert fields["rope_theta"] == (1e6 if route == 1 else 5e5)
        assert fields["rope_scaling"] == (
            {"type": "mrope", "rope_type": "default", "mrope_section": [1, 1, 2]} if route == 1 else None
        )
    edit_config(tmp_path / "there", dvlm=None, text_config=None)
    back = load_vision_language(tmp_path / "there").model.base_language.config.get_text_config()
    for name in ("rope_theta", "mrope_section"):
        assert back.rope_parameters.get(name) == text.rope_parameters.get(name)


def test_half_precision_leaves_rotary_frequencies_whole(tmp_path):
    model = route2()
    exact = model.language.model.rotary_emb.inv_freq.clone()
    cast_weights(model, torch.bfloat16)
    save_vision_language(model, tmp_path / "published", SETTINGS, layout="published")
    save_vision_language(route2(), tmp_path / "own", SETTINGS)
    for folder, dtype in (("published", None), ("own", torch.bfloat16)):
        back = load_vision_language(tmp_path / folder, dtype=dtype).model
        assert {parameter.dtype for parameter in back.parameters()} == {torch.bfloat16}
        assert torch.equal(back.language.model.rotary_emb.inv_freq, exact)


def test_a_tied_head_of_route_2_is_not_written_and_comes_back_tied(tmp_path):
    """Oracle 18 for layout (e)."""
    save_vision_language(route2(tied=True), tmp_path / "there", SETTINGS, layout="published")
    assert "lm_head.weight" not in read_checkpoint(tmp_path / "there")
    language = load_vision_language(tmp_path / "there").model.language
    assert language.lm_head.weight is language.model.embed_tokens.weight


def test_checkpoints_are_known_by_what_they_hold(tmp_path):
    """Names of classes of hub releases were never seen, nor what the converter calls its model."""
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "converter", SETTINGS, layout="converter")
    edit_config(tmp_path / "converter", model_type="qwen2_5_vl", architectures=["Qwen2_5_VLForConditionalGeneration"])
    assert isinstance(load_vision_language(tmp_path / "converter").model, QwenVL)
    save_vision_language(route2(), tmp_path / "release", SETTINGS, layout="published")
    edit_config(
        tmp_path / "release", model_type="other", architectures=["DiffusionVL_Qwen2_5_ForConditionalGeneration"]
    )
    assert isinstance(load_vision_language(tmp_path / "release").model, AssembledVL)


def test_a_flat_flag_ties_the_head_whatever_a_nested_one_says(tmp_path):
    save_vision_language(QwenVL(qwen2_5_vl(tied=True)), tmp_path / "there", SETTINGS, layout="published")
    nested = json.loads((tmp_path / "there" / "config.json").read_text())["text_config"]
    edit_config(tmp_path / "there", tie_word_embeddings=True, text_config={**nested, "tie_word_embeddings": False})
    base = load_vision_language(tmp_path / "there").model.base_language
    assert base.lm_head.weight is base.get_input_embeddings().weight


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(SETTINGS, mrope=True), "three-part positions"),
        (replace(SETTINGS, diffusion=Diffusion(299, 4, "token")), "a token-causal clean half"),
    ],
)
def test_what_the_published_code_does_not_do_is_not_written_for_it(tmp_path, settings, message):
    for model, layout in ((QwenVL(qwen2_5_vl()), "converter"), (route2(), "published")):
        with pytest.raises(ConfigError, match=f"was trained with {message}, which the layout '{layout}' cannot say"):
            save_vision_language(model, tmp_path / "there", settings, layout=layout)


def test_own_layouts_that_lack_a_part_are_refused(tmp_path):
    save_vision_language(assembled(), tmp_path / "own", SETTINGS)
    (tmp_path / "own" / "dvlm.json").write_text('{"tower": {}}')
    with pytest.raises(CheckpointError, match=r"dvlm.json lacks connector, settings: copy it again"):
        load_vision_language(tmp_path / "own")
