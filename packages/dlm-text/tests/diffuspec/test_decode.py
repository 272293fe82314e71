"""The registered decoder: settings from the command line's side, a drafter loaded once, real weights."""

import json

import pytest
import torch
from ar_core.config import from_dict, to_dict
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import ConfigError, DataError
from ar_core.hf import HFBackbone, custom_generate, load_causal_lm
from ar_core.registry import commands, decoder, resolve
from ar_core.sampling import Sampler
from ar_core.verification import PassCost
from dlm_text.diffuspec import decode as module
from dlm_text.diffuspec.config import DiffuSpecConfig
from dlm_text.diffuspec.decode import build_proposer, generate, measure_costs
from dlm_text.diffuspec.goodput import Goodput

from .conftest import MASK, PROMPTS, STOPS, V, tiny_qwen


@pytest.fixture(autouse=True)
def _nothing_loaded():
    for one in (module._loaded, module._proxy, module._vocabulary, module._measured):
        one.cache_clear()


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "drafter"
    tiny_qwen(1).float().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "bd_size": 4, "mask_token_id": MASK}))
    return str(folder)


def run(backbone, config, n=24, **more):
    return generate(backbone, PROMPTS, config, stop=StopRule(STOPS, n), **more)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"drafter_layout": "dream", "drafter_cache": "prefix", "length_policy": "fixed", "draft_length": 5},
        {"drafter_block_size": 3, "proxy": "uniform", "steps": 2, "min_draft_length": 3},
        {"length_policy": "goodput", "drafter_cost": {"tokens": [1], "seconds": [0.01]}, "draft_length": 6},
        {"fallback": True, "eos_rule": "paper", "rounding": "floor", "bias_correction": True},
        {"tree_nodes": 10, "fallback": True},
    ],
)
def test_the_registered_decoder_is_lossless(verifier, greedy, source, settings):
    record = decoder("diffuspec")
    options = from_dict(resolve(record.options), {"drafter": source, **settings})
    assert from_dict(type(options), json.loads(json.dumps(to_dict(options)))) == options
    trace = []
    got = resolve(record.decode)(
        verifier,
        PROMPTS,
        options,
        stop=StopRule(STOPS, 24),
        sampler=Sampler(),
        seed=0,
        on_token=lambda row, tokens: trace.append((row, tokens)),
        trace=True,
    )
    assert got.tokens == greedy()
    assert [[t for row, ts in trace if row == number for t in ts] for number in range(3)] == got.tokens
    assert got.stats.drafter == {"forwards": got.drafting.forwards, "tokens": got.drafting.tokens}
    assert got.drafting.forwards > 0
    assert {"prefill", "verify", "draft", "search"} <= got.stats.seconds.keys()
    counted = got.drafting.to_dict()
    assert counted["committed_per_round"] == counted["accepted_draft_per_round"] + 1
    json.dumps(counted)


def test_drafts_are_drawn_only_where_tokens_are(verifier, source):
    """`marginal`: at a positive temperature a seed gives the same tokens again; greedy, there is nothing to draw."""
    config = DiffuSpecConfig(drafter=source, acceptance="marginal", draft_length=4, min_draft_length=2)
    with pytest.raises(ConfigError, match="acceptance is 'marginal' and the temperature 0"):
        run(verifier, config)
    warm = {"sampler": Sampler(temperature=0.8, top_k=20), "seed": 3}
    first = run(verifier, config, **warm)
    assert run(verifier, config, **warm).tokens == first.tokens
    assert first.tokens != run(verifier, DiffuSpecConfig(drafter=source, draft_length=4), **warm).tokens
    assert first.drafting.rounds > 0


def test_the_drafter_is_loaded_once(verifier, source, monkeypatch):
    calls = []
    load = module.load_drafter
    monkeypatch.setattr(module, "load_drafter", lambda *a, **k: calls.append(a) or load(*a, **k))
    config = DiffuSpecConfig(drafter=source)
    first = run(verifier, config)
    assert run(verifier, config).tokens == first.tokens
    assert len(calls) == 1


def test_published_constants_reach_the_controller(verifier, source):
    length = build_proposer(verifier, DiffuSpecConfig(drafter=source)).length
    length.begin(1)
    assert (length._minimum, length._maximum, length._growth, length._smoothing) == (20, 30, 10, 0.5)


def test_costs_decide_whether_a_draft_is_made(verifier, source):
    def length(seconds):
        cost = PassCost((1, 64), (seconds, seconds), context=8)
        config = DiffuSpecConfig(drafter=source, length_policy="goodput", draft_length=8, drafter_cost=cost)
        found = build_proposer(verifier, config).length
        found.begin(1)
        return found.next(0, 20)

    assert length(0.001) > 3
    assert length(100.0) == 0


def test_a_tree_is_paid_for_as_wide_as_it_may_be(verifier, source):
    costs = PassCost((1, 2, 3, 4, 8, 16, 33), (1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 33.0), context=8)

    def verifying(**settings):
        config = DiffuSpecConfig(
            drafter=source, length_policy="goodput", draft_length=8, pass_cost=costs, drafter_cost=costs, **settings
        )
        length = build_proposer(verifier, config).length
        assert isinstance(length, Goodput)
        return [length._verify_seconds(k) for k in range(5)]

    assert verifying() == [1, 2, 3, 4, 5]
    # 3 tokens at the first depth, 9 more at the second, then all that the tree may hold.
    assert verifying(tree_nodes=32, max_candidates=3) == [1, 4, 13, 33, 33]
    assert verifying(tree_nodes=2, max_candidates=3) == [1, 3, 3, 3, 3]


def test_measured_costs(verifier, source, monkeypatch):
    given = PassCost((1, 2), (1.0, 1.1), context=8), PassCost((1, 2), (0.1, 0.1), context=8)
    monkeypatch.setattr(module, "measure_costs", lambda *models: given)
    config = DiffuSpecConfig(drafter=source, length_policy="goodput", measure_costs=True)
    length = build_proposer(verifier, config).length
    assert isinstance(length, Goodput)
    assert length._verify_seconds(1) == 1.1


def test_what_is_timed(verifier, monkeypatch):
    """Both models in turn, over the widths that both can hold."""
    asked = {}

    def timed(models, **settings):
        asked.update(models=models, **settings)
        return {"verifier": "a", "drafter": "b"}

    monkeypatch.setattr(module, "measure_pass_costs", timed)
    drafter = HFBackbone(tiny_qwen(1))
    assert measure_costs(verifier, drafter) == ("a", "b")
    assert asked["models"] == {"verifier": verifier, "drafter": drafter}
    assert (asked["tokens"], asked["context"]) == ((1, 2, 4, 8, 16, 32, 64), 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "'drafter' is missing"),
        ({"drafter": ""}, "drafter is empty"),
        ({"drafter": "d", "mass": 1.5}, "mass is 1.5"),
        ({"drafter": "d", "beam": 0}, "beam is 0"),
        ({"drafter": "d", "smoothing": 0.0}, "smoothing is 0.0"),
        ({"drafter": "d", "growth": -1}, "growth is -1"),
        ({"drafter": "d", "draft_temperature": 0.0}, "draft_temperature is 0.0"),
        ({"drafter": "d", "acceptance": "marginal", "tree_nodes": 4}, "drafts that are drawn are chains"),
        ({"drafter": "d", "draft_length": 4, "min_draft_length": 5}, "min_draft_length is 5"),
        ({"drafter": "d", "eos_rule": "never"}, "none of"),
        ({"drafter": "d", "eos_probability": 0.9}, "eos_probability is 0.9, which eos_rule 'argmax' never uses"),
        ({"drafter": "d", "refresh": 3}, "refresh is 3, which drafter_cache 'auto' never uses"),
        (
            {"drafter": "d", "length_policy": "goodput", "growth": 4},
            "growth is 4, which length_policy 'goodput' never uses",
        ),
        (
            {"drafter": "d", "length_policy": "fixed", "min_draft_length": 2},
            "min_draft_length is 2, which length_policy 'fixed'",
        ),
        ({"drafter": "d", "measure_costs": True}, "measure_costs is True, which length_policy 'paper' never uses"),
        ({"drafter": "d", "draft_temperature": 3.0}, "draft_temperature is 3.0, which acceptance 'delta' never uses"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(DiffuSpecConfig, settings)


@pytest.mark.data
def test_stories_model_with_itself_as_a_drafter(stories260k, tmp_path):
    """Real weights, which were never trained to fill masks in: the drafts are bad, the output is not."""
    folder = tmp_path / "drafter"
    loaded = load_causal_lm(stories260k)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "mask_token_id": 0, "dlm_paradigm": "block_diff"}))
    backbone = HFBackbone(load_causal_lm(stories260k, dtype=torch.float64).model)
    prompts = [loaded.tokenizer(text)["input_ids"] for text in ("Once upon a time", "Tom and Lily went")]
    stop = StopRule(frozenset({2}), 40)
    expected = autoregressive(backbone, prompts, stop=stop, sampler=Sampler()).tokens
    options = DiffuSpecConfig.of_checkpoint(loaded.model.config, loaded.tokenizer)
    for settings in (
        {"drafter_layout": "dream", "drafter_cache": "prefix", "min_draft_length": 2, "draft_length": 8},
        {"drafter_block_size": 8, "draft_length": 6},
    ):
        got = generate(backbone, prompts, DiffuSpecConfig(drafter=str(folder), **options, **settings), stop=stop)
        assert got.tokens == expected
        assert got.drafting.rounds > 0


class TestFitProxy:
    """The command `ar-decode fit-proxy`."""

    def fit(self, tmp_path, lines, **settings):
        (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
        data = {"corpus": str(tmp_path / "corpus.jsonl"), "output": str(tmp_path / "p.safetensors"), **settings}
        record = commands()["fit-proxy"]
        return resolve(record.run)(from_dict(resolve(record.options), data))

    def test_ids(self, tmp_path, verifier, source, greedy):
        said = self.fit(tmp_path, [{"ids": ids} for ids in (*PROMPTS, [1, 5, 9])], vocab_size=V)
        assert said.startswith("14 tokens of 4 records, order 3")
        config = DiffuSpecConfig(drafter=source, proxy=str(tmp_path / "p.safetensors"))
        assert run(verifier, config).tokens == greedy()

    @pytest.mark.data
    def test_text(self, tmp_path, stories260k):
        lines = [{"question": "Tom has a cat.", "answer": "It is red."}] * 3
        self.fit(tmp_path, lines, model=str(stories260k), fields=["question", "answer"])
        proxy = module.load_proxy(str(tmp_path / "p.safetensors"), 512)
        tokenizer = load_causal_lm(stories260k).tokenizer
        ids = tokenizer("Tom has a cat.\nIt is red.")["input_ids"]
        scores = proxy.score(proxy.begin([ids])[:, None], torch.arange(512)[None])
        assert int(scores.argmax()) == tokenizer.eos_token_id

    @pytest.mark.parametrize(
        ("line", "settings", "message"),
        [
            ({"ids": [1, "2"]}, {"vocab_size": 5}, "line 1: the field 'ids'"),
            ({"body": "x"}, {"vocab_size": 5}, "neither 'ids' nor a text 'text'"),
            ({"text": "x"}, {"vocab_size": 5}, "no tokenizer was given"),
            ({"ids": [7]}, {"vocab_size": 5}, "the id 7"),
        ],
    )
    def test_bad_records(self, tmp_path, line, settings, message):
        with pytest.raises(DataError, match=message):
            self.fit(tmp_path, [line], **settings)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({}, "neither model nor vocab_size"),
            ({"vocab_size": 5, "order": 0}, "order is 0"),
            ({"vocab_size": 0}, "vocab_size is 0"),
            ({"vocab_size": 5, "output": "p.bin"}, r"must end in \.safetensors"),
        ],
    )
    def test_bad_settings(self, tmp_path, settings, message):
        with pytest.raises(ConfigError, match=message):
            self.fit(tmp_path, [{"ids": [1]}], **settings)


def test_through_hugging_face_generate(source):
    """`generate(custom_generate=...)` gives what plain `generate` gives, batch, stop ids and padding included."""
    plain, ours = tiny_qwen(0), tiny_qwen(0)
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in PROMPTS])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in PROMPTS])
    settings = {"attention_mask": mask, "max_new_tokens": 20, "eos_token_id": sorted(STOPS), "pad_token_id": 0}
    expected = plain.generate(ids, do_sample=False, **settings)
    seen = []
    config = DiffuSpecConfig(drafter=source)
    function = custom_generate(generate, config, on_decoded=seen.append)
    assert torch.equal(ours.generate(ids, custom_generate=function, do_sample=False, **settings), expected)
    assert seen[0].drafting.forwards > 0
    sampled = [
        ours.generate(ids, custom_generate=function, do_sample=True, top_k=5, temperature=0.8, seed=seed, **settings)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(sampled[0], sampled[1])
    assert not torch.equal(sampled[0], sampled[2])
