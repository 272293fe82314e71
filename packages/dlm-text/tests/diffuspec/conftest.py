"""Tiny random verifiers and drafters; a drafter whose lattice is given."""

from collections.abc import Callable, Sequence

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.hf import HFBackbone, StaticBackbone
from ar_core.sampling import Sampler
from dlm_text.diffuspec.drafter import Drafter
from dlm_text.diffuspec.layout import DraftLayout
from dlm_text.diffuspec.vocabulary import Vocabulary
from transformers import Qwen2Config, Qwen2ForCausalLM

V = 40
MASK = V - 1
STOPS = frozenset({7, 8})
PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6, 5, 3], [5]]


def tiny_qwen(seed: int, context: int = 96) -> Qwen2ForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Qwen2Config(
            vocab_size=V,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            initializer_range=0.3,
            tie_word_embeddings=False,
        )
        return Qwen2ForCausalLM(config).double().eval()


class LatticeDrafter:
    """In place of a model: log-probabilities as a function of row, context and length."""

    backbone = type("Device", (), {"device": torch.device("cpu"), "context_length": 10**6})()
    forwards = tokens = 0

    def __init__(self, rule: Callable[[int, Sequence[int], int], torch.Tensor]) -> None:
        self.rule = rule
        self.asked: list[list[int]] = []

    def begin(self, prompts):
        self.prompts = [list(prompt) for prompt in prompts]

    def room(self, committed):
        return self.backbone.context_length

    def lattice(self, rows, contexts, lengths):
        self.asked.append(list(lengths))
        logits = [self.rule(*asked) for asked in zip(rows, contexts, lengths)]
        width = max(lengths)
        padded = [torch.nn.functional.pad(one, (0, 0, 0, width - len(one))) for one in logits]
        return torch.stack(padded).log_softmax(-1)


@pytest.fixture(scope="session")
def verifier() -> HFBackbone:
    return HFBackbone(tiny_qwen(0))


@pytest.fixture(scope="session")
def drafter_model() -> HFBackbone:
    return HFBackbone(tiny_qwen(1))


@pytest.fixture(scope="session")
def fixed_models() -> tuple[StaticBackbone, StaticBackbone]:
    """The verifier and the drafter in passes of fixed shapes."""
    return StaticBackbone(tiny_qwen(0), "eager"), StaticBackbone(tiny_qwen(1), "eager")


@pytest.fixture
def make_drafter(drafter_model) -> Callable[..., Drafter]:
    """A random drafter: `make_drafter(cache="prefix", steps=2, shift=True, attention="block_causal", ...)`."""

    def make(
        *, shift=True, attention="bidirectional", block_size=None, model: HFBackbone = drafter_model, **settings
    ) -> Drafter:
        own = {name: settings.pop(name) for name in ("clean",) if name in settings}
        layout = DraftLayout(mask_id=MASK, shift=shift, attention=attention, block_size=block_size, **own)
        return Drafter(model, layout, Vocabulary.same(V, V, forbidden={MASK}), **settings)

    return make


@pytest.fixture
def greedy(verifier) -> Callable[..., list[list[int]]]:
    """What the verifier decodes one token at a time."""

    def run(max_new_tokens: int = 24, stop_ids=STOPS, prompts=PROMPTS) -> list[list[int]]:
        return autoregressive(verifier, prompts, stop=StopRule(stop_ids, max_new_tokens), sampler=Sampler()).tokens

    return run
