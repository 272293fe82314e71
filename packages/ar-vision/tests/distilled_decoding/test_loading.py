"""Published students, in every wrapping in which they come."""

import argparse

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import converters
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.convert import convert
from ar_vision.distilled_decoding import llamagen_loading, var_loading
from ar_vision.distilled_decoding.llamagen_student import LlamaGenStudent
from ar_vision.distilled_decoding.student_config import LlamaGenStudentConfig, NoiseDataEmbedding, VarStudentConfig
from ar_vision.distilled_decoding.var_student import VarStudent

KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])


def published(student):
    return (var_loading if student.kind == "var_dd" else llamagen_loading).to_published(student)


def settings(student):
    """What weights do not tell."""
    own = {"timesteps": list(student.config.timesteps), "split": student.config.split}
    return own if student.kind == "var_dd" else {**own, "grid": 4, "heads": 2}


def wrapped(kind, flat, how):
    if how == "flat":
        return flat
    if how == "compiled":
        return {f"_orig_mod.{name}": one for name, one in flat.items()}
    if how == "training":
        stale = {
            name: one + 1 if name.endswith(("embed.bias", "embeddings.bias")) else one for name, one in flat.items()
        }
        weights = {"ema_parameters": flat, "var_wo_ddp": stale} if kind == "var" else {"ema": flat, "model": stale}
        inner = {"config": argparse.Namespace(depth=2), **weights}
        return {"epoch": 3, "args": argparse.Namespace(lr=1.0), **({"trainer": inner} if kind == "var" else inner)}
    return {"ema": flat} if how == "ema" else {"model": flat}


@KINDS
@pytest.mark.parametrize("how", ["flat", "compiled", "model", "ema", "training"])
def test_every_container(make_teacher, make_student, tmp_path, kind, how):
    teacher = make_teacher(kind)
    student = make_student(teacher)
    flat = published(student)
    torch.save(wrapped(kind, flat, how), tmp_path / "weights.pt")
    save_checkpoint(tmp_path / "tokenizer", teacher.tokenizer)
    line = convert(
        f"{kind}_dd",
        tmp_path / "weights.pt",
        tmp_path / "out",
        tokenizer=tmp_path / "tokenizer",
        settings=settings(student),
    )
    assert line.startswith(f"{kind}_dd with ")
    loaded = load_checkpoint(tmp_path / "out", "generator")
    averaged = "trainer.ema_parameters" if kind == "var" else "ema"
    assert loaded.provenance["entry"] == {"model": "model", "ema": "ema", "training": averaged}.get(how)
    assert loaded.tokenizer == fingerprint(teacher.tokenizer)
    assert loaded.model.config == student.config
    assert all(torch.equal(one, loaded.model.state_dict()[name]) for name, one in student.state_dict().items())
    back = published(loaded.model)
    assert all(torch.equal(back[name], one) for name, one in flat.items())


@KINDS
def test_trained_weights_beside_averaged_ones_are_taken_where_they_are_named(
    make_teacher, make_student, tmp_path, kind
):
    student = make_student(make_teacher(kind))
    torch.save(wrapped(kind, published(student), "training"), tmp_path / "weights.pt")
    entry = "trainer.var_wo_ddp" if kind == "var" else "model"
    line = convert(f"{kind}_dd", tmp_path / "weights.pt", tmp_path / "out", entry=entry, settings=settings(student))
    assert f"parameters under '{entry}' written to" in line
    name = "word_embed.bias" if kind == "var" else "codes.bias"
    loaded = load_checkpoint(tmp_path / "out")
    assert loaded.provenance["entry"] == entry
    torch.testing.assert_close(loaded.model.state_dict()[name], student.state_dict()[name] + 1)


@KINDS
def test_missing_renamed_and_foreign_keys_are_named(make_teacher, make_student, kind):
    student = make_student(make_teacher(kind))
    module = var_loading if kind == "var" else llamagen_loading
    more = {} if kind == "var" else {"grid": 4, "heads": 2}
    flat = published(student)
    for name in ("n_d_embed.weight", "final_layer_conti.linear.bias", "final_layer_conti.scale_shift_table"):
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            module.from_published({key: one for key, one in flat.items() if key != name}, **more)
    with pytest.raises(CheckpointError, match="something"):
        module.from_published({**flat, "something.else": torch.zeros(1)}, **more)
    wrong = {**flat, "final_layer_conti.linear.bias": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"final_layer_conti\.linear\.bias"):
        module.from_published(wrong, **more)


def test_a_var_is_no_student_of_one(make_teacher):
    from ar_vision.backbones.var.loading import to_published

    with pytest.raises(CheckpointError):
        var_loading.from_published(to_published(make_teacher("var").model))


def test_scales_are_read_off_levels(make_teacher, make_student):
    flat = published(make_student(make_teacher("var")))
    assert flat["lvl_1L"].tolist() == [[0, 1, *[2] * 4, *[3] * 9, *[4] * 16]]
    assert var_loading.from_published(flat).config.scales == (1, 2, 3, 4)
    without = {name: one for name, one in flat.items() if name != "lvl_1L"}
    with pytest.raises(CheckpointError, match="no published schedule has 4 scales and 30 positions behind the class"):
        var_loading.from_published(without)
    with pytest.raises(CheckpointError, match="are not the 4 squares"):
        var_loading.from_published({**flat, "lvl_1L": flat["lvl_1L"].roll(1, 1)})


@pytest.mark.parametrize(("depth", "parameters", "split"), [(16, 327e6, 5), (20, 635e6, 4), (24, 1.09e9, 4)])
def test_published_sizes_of_var_students(depth, parameters, split):
    """Counts of the paper's models; settings that the weights do not tell are those of the published code."""
    shape = {"vocab_size": 4096, "code_dim": 32, "depth": depth, "width": 64 * depth, "heads": depth}
    with torch.device("meta"):
        student = VarStudent(VarStudentConfig(**shape))
    count = sum(one.numel() for one in student.parameters())
    assert count == pytest.approx(parameters, rel=0.01)
    weights = sum(one.numel() for name, one in student.named_parameters() if "layerwise" in name)
    assert weights == (depth + 1) * ((64 * depth) ** 2 + 64 * depth)
    assert student.positions.shape == (1, 681, 64 * depth)
    assert var_loading._SPLITS[depth] == (split, split)


@pytest.mark.parametrize(("size", "parameters", "split"), [("B", 98.3e6, 80), ("L", 326e6, 130)])
def test_published_sizes_of_llamagen_students(size, parameters, split):
    with torch.device("meta"):
        student = LlamaGenStudent(LlamaGenStudentConfig.of_size(size))
    assert sum(one.numel() for one in student.parameters()) == pytest.approx(parameters, rel=0.01)
    flat = {
        name: torch.empty_like(one, device="meta")
        for name, one in llamagen_loading.KEYS.to_published(student.state_dict()).items()
    }
    assert flat["tok_embeddings.weight"].shape == (student.config.dim, 8)
    assert {"n_d_embed.weight", "final_layer_conti.scale_shift_table", "tok_embeddings.bias"} <= flat.keys()
    assert not any("layerwise" in name for name in flat)
    assert llamagen_loading._SPLITS[size] == split


def test_what_weights_of_a_llamagen_do_not_tell(make_teacher, make_student):
    student = make_student(make_teacher("llamagen"))
    flat = published(student)
    with pytest.raises(ConfigError, match="heads is needed"):
        llamagen_loading.from_published(flat, grid=4)
    found = llamagen_loading.from_published(flat, grid=4, heads=2)
    assert (found.config.timesteps, found.config.split) == ((0,), 16)
    with pytest.raises(CheckpointError, match="split is 17"):
        llamagen_loading.from_published(flat, grid=4, heads=2, split=17)
    layered = make_student(make_teacher("llamagen"), noise_data_embed=NoiseDataEmbedding(True, True))
    assert llamagen_loading.from_published(published(layered), grid=4, heads=2).config.noise_data_embed.layerwise


def test_converters_are_announced():
    assert {"var_dd", "llamagen_dd"} <= converters().keys()
