"""The objective: parity with the published code, and what must hold exactly."""

import math
from dataclasses import replace

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.corruption.position_dependent import MaskDraw
from ar_core.errors import DataError
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, block_causal, causal
from ar_core.training import Ranks, TrainConfig, TrainStep
from ar_core.training.optimizers import build_turns
from ar_core.training.step import OptimizerStep
from dvlm.assembled import AssembledVL
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.diffusionvl.noise import BlockNoise
from dvlm.diffusionvl.objective import MASKED, DiffusionVLObjective
from dvlm.qwen_vl import QwenVL
from dvlm.towers import ConnectorConfig, ScratchTower, TowerConfig, build_tower
from tiny_vision_language import EOS, MASK, TEXT, VOCAB, assembled, qwen2_5_vl, qwen3_vl
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

CONFIG = DiffusionVLConfig(diffusion_block_size=4, mask_id=MASK)


class Recorded:
    """Draws that were recorded, one a sample."""

    def __init__(self, draws: list[MaskDraw]) -> None:
        self.draws = list(draws)

    def draw(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> MaskDraw:
        return self.draws.pop(0)


def total(model, objective, batch, seed: int = 0) -> Tensor:
    prepared = objective.prepare(batch, SampleRng(seed))
    return objective.sums({"model": model}, prepared)[MASKED] / prepared.weights[MASKED]


def gradients(model, objective, batch) -> dict[str, Tensor]:
    model.zero_grad()
    total(model, objective, batch).backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.golden
@pytest.mark.parametrize("prune", [False, True])
def test_loss_logits_and_gradients_of_the_published_code(recorded, prune):
    """Published parity, with and without the positions that cannot matter; and oracle 8."""
    weights = recorded("text_model")
    config = Qwen2Config(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False, bos_token_id=1, eos_token_id=121,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )  # fmt: skip
    language = Qwen2ForCausalLM(config).eval()
    language.load_state_dict(weights)
    tower = build_tower(TowerConfig(scratch=ScratchTower(hidden=8, heads=2, layers=1)))
    model = AssembledVL(language, tower, ConnectorConfig())
    cases = recorded("train_forward")
    for name in sorted({key.split(".")[0] for key in cases}):
        case = {key.split(".")[1]: value for key, value in cases.items() if key.split(".")[0] == name}
        size, valid = int(case["cfg"][0]), case["attention_mask"].bool()
        batch, draws = [], []
        for row in range(2):
            kept = valid[row]
            ids, labels = case["input_ids"][row][kept], case["labels"][row][kept]
            batch.append({"index": row, "tokens": ids.tolist(), "labels": labels.tolist(), "images": []})
            draws.append(MaskDraw(case["move_indices"][row][kept].bool(), 1 / case["loss_scale"][row][kept].abs()))
        settings = DiffusionVLConfig(
            diffusion_block_size=size, mask_id=120, align_eos=False, prune=prune, hide_following=False
        )
        objective = DiffusionVLObjective(settings, 120, 121, noise=Recorded(draws))  # type: ignore[arg-type]
        prepared = objective.prepare(batch, SampleRng(0))
        model.zero_grad()
        caught: list[Tensor] = []
        handle = language.model.register_forward_hook(
            lambda m, i, output, to=caught: to.append(output.last_hidden_state)
        )
        loss = objective.sums({"model": model}, prepared)[MASKED] / 2
        handle.remove()
        loss.backward()
        rows, width = prepared.tensors["rows"], prepared.tensors["ids"].shape[1]
        logits = language.lm_head(caught[0].flatten(0, 1)[rows])
        places = prepared.tensors["position"].flatten()[rows]
        torch.testing.assert_close(logits, case["logits"][rows // width, places], rtol=0, atol=1e-4)
        torch.testing.assert_close(loss, case["loss"][0], rtol=0, atol=1e-4)
        torch.testing.assert_close(
            language.model.layers[0].self_attn.q_proj.weight.grad, case["grad_q0"], rtol=0, atol=1e-5
        )
        table = language.model.embed_tokens.weight.grad
        torch.testing.assert_close(table[120], case["grad_embed_mask_row"], rtol=0, atol=1e-5)
        looked_up = torch.equal(weights["model.embed_tokens.weight"][case["input_ids"]], case["inputs_embeds"])
        if looked_up:
            expected = torch.zeros(128, 32).index_add(0, case["input_ids"][valid], case["grad_inputs_embeds"][valid])
            expected[120] = case["grad_embed_mask_row"]
            torch.testing.assert_close(table, expected, rtol=0, atol=1e-5)


def test_pruned_positions_change_neither_loss_nor_gradients(model, sample):
    """Oracle 8, on every kind of model, pictures and three-part positions included: fewer positions, the same loss."""
    batch = [sample(model, 0), sample(model, 1, answer=3, pictures=2), sample(model, 2, pictures=0, before=9)]
    for clean in ("block", "token"):
        config = replace(CONFIG, clean=clean, mrope=model.takes_mrope)
        whole = DiffusionVLObjective(replace(config, prune=False), MASK, EOS)
        pruned = DiffusionVLObjective(config, MASK, EOS)
        assert (
            pruned.prepare(batch, SampleRng(0)).tensors["ids"].shape
            < whole.prepare(batch, SampleRng(0)).tensors["ids"].shape
        )
        loss = total(model, whole, batch)
        assert loss > 0
        torch.testing.assert_close(total(model, pruned, batch), loss, rtol=1e-9, atol=1e-9)
        expected, found = gradients(model, whole, batch), gradients(model, pruned, batch)
        assert expected.keys() == found.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-9, msg=name)


def test_batches_and_padding_change_nothing(model, sample):
    """Oracle 9: rows of different lengths and images, alone or together; loss and gradients."""
    objective = DiffusionVLObjective(CONFIG, MASK, EOS)
    batch = [sample(model, 0, answer=14), sample(model, 1, answer=2, pictures=2), sample(model, 2, pictures=0)]
    together = total(model, objective, batch)
    alone = torch.stack([total(model, objective, [one]) for one in batch]).mean()
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    found = gradients(model, objective, batch)
    parts = [gradients(model, objective, [one]) for one in batch]
    # Models of transformers normalise in float32, whatever their dtype.
    for name, gradient in found.items():
        expected = sum(part.get(name, torch.zeros_like(gradient)) for part in parts) / len(batch)
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5, msg=name)


def test_a_head_of_zeros_pays_the_entropy_of_the_vocabulary():
    """Oracle 7: the mean over 4,000 draws is ln V within three standard errors."""
    blocks = torch.arange(16) // 4
    maskable = torch.ones(16, dtype=torch.bool)
    maskable[:5] = False
    for strata in ("supervised_shuffled", "iid", "flat_index"):
        noise = BlockNoise(strata)
        losses = []
        for index in range(4000):
            draw = noise.draw(maskable, blocks, SampleRng(0).row(index, "mask"))
            losses.append(float((1 / draw.level[draw.hidden]).sum()) / 11 * math.log(VOCAB))
        drawn = torch.tensor(losses)
        assert abs(drawn.mean() - math.log(VOCAB)) < 3 * drawn.std() / 4000**0.5, strata


def test_weights_are_those_of_the_loss(sample):
    """Oracle 7's other half: a head of zeros, through the model."""
    model = assembled()
    with torch.no_grad():
        model.backbone.projection.weight.zero_()
    prepared = DiffusionVLObjective(CONFIG, MASK, EOS).prepare([sample(model, 0)], SampleRng(0))
    found = DiffusionVLObjective(CONFIG, MASK, EOS).sums({"model": model}, prepared)[MASKED]
    expected = prepared.tensors["weights"].sum().item() * math.log(VOCAB)
    assert found.item() == pytest.approx(expected, rel=1e-6)


class Nothing:
    """No token is masked."""

    def draw(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> MaskDraw:
        return MaskDraw(torch.zeros_like(maskable), torch.ones(len(maskable)))


@pytest.mark.parametrize("pictures", [0, 1])
def test_nothing_masked_gives_a_loss_of_zero_and_gradients_of_zero(model, sample, pictures):
    """Oracle 21: for every parameter, also of a tower whose tokens were all left out, or that had nothing to read."""
    objective = DiffusionVLObjective(CONFIG, MASK, EOS)
    objective.noise = Nothing()  # type: ignore[assignment]
    prepared = objective.prepare([sample(model, 0, pictures=pictures, before=5)], SampleRng(0))
    objective.sums({"model": model}, prepared)[MASKED].backward()
    unreached = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    if pictures:
        # No forward pass reads the final norm of a tower that is cut before it.
        norm = {f"vision_tower.encoder.post_layernorm.{part}" for part in ("weight", "bias")}
        assert unreached == (norm if isinstance(model, AssembledVL) else set())
    config = TrainConfig(steps=1, batch_size=1)
    module = TrainStep(objective, {"model": model})
    turns = build_turns(objective, module.models, config)
    report = OptimizerStep(module, objective, turns, config, Ranks())([prepared], 0)
    assert (report.loss, report.grad_norm) == (0, {"main": 0})
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_three_part_positions_reach_the_model(sample):
    model = QwenVL(qwen2_5_vl())
    batch = [sample(model, 0)]
    plain = total(model, DiffusionVLObjective(CONFIG, MASK, EOS), batch)
    parts = total(model, DiffusionVLObjective(replace(CONFIG, mrope=True), MASK, EOS), batch)
    assert not torch.allclose(plain, parts)


def test_plain_positions_make_the_decoder_of_qwen2_5_vl_that_of_qwen2():
    """Oracle 17 and backbone oracle 1: the same tensors, difference 0."""
    theirs = qwen2_5_vl()
    eps = theirs.config.text_config.rms_norm_eps
    rope = {"rope_type": "default", "rope_theta": 1e6}
    twin = Qwen2ForCausalLM(Qwen2Config(**TEXT, tie_word_embeddings=False, rope_parameters=rope, rms_norm_eps=eps))
    twin.double().eval()
    twin.model.load_state_dict(theirs.model.language_model.state_dict())
    ids = torch.randint(250, (2, 12), generator=torch.Generator().manual_seed(0))
    tokens = Tokens(block=torch.arange(12) // 4, position=torch.arange(12))
    states = [
        HFBackbone(one).hidden(
            ids, positions=torch.arange(12).expand(2, -1), mask=Mask.self_attention(block_causal(), tokens)
        )
        for one in (QwenVL(theirs).language, twin)
    ]
    assert torch.equal(*states)


def test_a_causal_pass_over_text_and_image_equals_transformers(model, sample):
    """The embedding of images, deepstack included: the whole model against transformers' own forward pass."""
    if isinstance(model, AssembledVL):
        pytest.skip("there is no model of transformers to compare with")
    from dvlm.inputs import expand

    one = sample(model, 0)
    layout = one["images"][0].layout
    found = expand(one["tokens"], None, [layout], mrope=True)
    features = model.image_features(one["images"][0].pixels, [layout])
    embeds, more = model.embed(found.ids[None], found.image_rows[None], features)
    mask = Mask.self_attention(causal(), Tokens(position=torch.arange(len(found))))
    hidden = model.backbone.hidden(None, embeds=embeds, positions=found.positions[:, None], mask=mask, more=more)
    theirs = model.base_language
    ids = found.ids.clamp(min=0)
    theirs.config.image_token_id = 290
    ids[found.image_rows >= 0] = 290
    expected = theirs(
        input_ids=ids[None], pixel_values=one["images"][0].pixels, image_grid_thw=torch.tensor([[1, *layout.patches]]),
        mm_token_type_ids=(found.image_rows >= 0).int()[None], use_cache=False,
    ).logits  # fmt: skip
    torch.testing.assert_close(model.backbone.head(hidden), expected, rtol=1e-6, atol=1e-6)


def test_rows_or_supervised_tokens_normalise():
    """Rows of 4 and 12 supervised tokens: 1 / (t n_b) over 2 rows, or 1 / t over 16 tokens."""
    batch = [
        {"index": index, "tokens": list(range(count)), "labels": list(range(count)), "images": []}
        for index, count in enumerate((4, 12))
    ]
    rows, tokens = (
        DiffusionVLObjective(replace(CONFIG, normalisation=by), MASK, EOS).prepare(batch, SampleRng(0))
        for by in ("rows", "supervised")
    )
    assert (rows.weights[MASKED], tokens.weights[MASKED]) == (2, 16)
    counts = torch.tensor([4.0, 12.0])[rows.tensors["rows"] // rows.tensors["ids"].shape[1]]
    assert set(counts.tolist()) == {4, 12}
    torch.testing.assert_close(rows.tensors["weights"] * counts, tokens.tensors["weights"])
    assert (tokens.tensors["weights"] >= 1).all()


@pytest.mark.parametrize(("align", "longest", "length"), [(True, None, 12), (True, 8, 8), (False, None, 11)])
def test_samples_are_cut_and_then_filled_up(align, longest, length):
    tokens = list(range(11))
    objective = DiffusionVLObjective(replace(CONFIG, align_eos=align), MASK, EOS, max_length=longest)
    prepared = objective.prepare([{"index": 0, "tokens": tokens, "labels": tokens, "images": []}], SampleRng(0))
    assert (prepared.meta["tokens"], prepared.meta["supervised"]) == (length, length)


def test_mergers_of_deepstack_features_count_as_the_connector():
    model = QwenVL(qwen3_vl())
    model.train_only(["connector"])
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("deepstack_merger_list" in name for name in learning)
    assert all("merger" in name for name in learning)
    assert {id(parameter) for parameter in model.connector.parameters()} == {
        id(parameter) for parameter in model.parameters() if parameter.requires_grad
    }


def test_block_sizes_follow_the_schedule():
    config = replace(CONFIG, block_size_schedule=((2, 2), (5, 8)))
    assert [config.block_size_at(index) for index in (0, 1, 2, 4, 5, 99)] == [4, 4, 2, 2, 8, 8]
    assert (config.largest_block_size, config.final_block_size) == (8, 8)
    tokens = list(range(5))
    batch = [{"index": index, "tokens": tokens, "labels": tokens, "images": []} for index in (0, 2, 5)]
    blocks = DiffusionVLObjective(replace(config, prune=False), MASK, EOS).prepare(batch, SampleRng(0)).tensors["block"]
    assert [int(row.max()) + 1 for row in blocks] == [2, 4, 1]


def test_supervision_on_the_mask_is_refused():
    objective = DiffusionVLObjective(CONFIG, MASK, EOS)
    with pytest.raises(DataError, match="sample 7 is supervised on the mask token"):
        objective.prepare([{"index": 7, "tokens": [1, MASK], "labels": [-100, MASK], "images": []}], SampleRng(0))
