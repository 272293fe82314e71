"""SmolLM2-135M-Instruct as verifier: converted whole and cut, on its own answers; and its cut as a model that assists."""

from pathlib import Path

from ar_decode.session import load_session

from benchmarks.data import text_folder
from benchmarks.recipes import FINAL, run_to_end

from .answers import answered, training_prompts, training_record, write_answers
from .trained import Trained, fit_in_domain, write_jsonl

__all__ = ["ASSISTANT", "CUT", "MODEL", "paths", "train"]

MODEL = "smollm2-135m-instruct"
CUT = 10
"""Layers of the small drafter; the verifier has thirty."""
PROMPTS = 600
ANSWER_TOKENS = 96
BATCH = 16

COMMON = (
    "model.dtype=float32",
    "~data.fields",
    "data.chat_template=false",
    "data.append_eos=false",
    "data.seq_len=384",
    "train.batch_size=2",
    "train.checkpoint_every_seconds=60",
    "train.eval_every=75",
    "evaluation.rows=4",
)
"""Entries of the configs of this model: the verifier's answers as they are, in rows that two of them fill."""
BUDGETS = {
    "full": ("model.lora.rank=32", "model.lora.alpha=64", "train.steps=75", "train.warmup_steps=5", "train.lr=3e-4"),
    "cut": ("~model.lora", f"model.layers={CUT}", "train.steps=150", "train.warmup_steps=10", "train.lr=3e-4"),
}
"""What fits twenty minutes of one core each. Adapters keep what the verifier knows; a cut has to learn anew what its last
layer says to the head, so that all of its weights are trained."""
ASSISTANT = ("~model.lora", f"model.layers={CUT}", "train.steps=450", "train.warmup_steps=10", "train.lr=3e-4")
"""The same cut on the same answers, autoregressively, for as many minutes as the small drafter: what Hugging Face's assisted
generation drafts with."""


def paths(runs: Path) -> Trained:
    """Where its parts are.

    Args:
        runs: folder of all runs.
    """
    home = runs / "diffuspec" / "smollm2_135m"
    return Trained(
        name="smollm2_135m",
        verifier=MODEL,
        drafters={name: home / name / FINAL for name in BUDGETS},
        layout="fast_dllm_v2",
        proxy=home / "proxy.safetensors",
        command="python -m benchmarks.diffuspec train smollm2_135m",
    )


def train(runs: Path, *, prompts: int = PROMPTS, overrides: tuple[str, ...] = ()) -> bool:
    """Let the verifier answer training prompts, convert it on them and train an assistant; continues what was interrupted.

    Args:
        runs: folder of all runs.
        prompts: how many are answered.
        overrides: further ``key=value`` entries of all runs.

    Returns:
        Whether all of it is there; a signal may have stopped one of the runs.
    """
    found = paths(runs)
    home = found.proxy.parent
    answers, records = home / "answers.jsonl", home / "records.jsonl"
    session = load_session(MODEL, dtype="float32")
    write_answers(
        session, training_prompts(text_folder(), prompts), answers, max_new_tokens=ANSWER_TOKENS, batch_size=BATCH
    )
    texts = answered(answers)
    write_jsonl(records, (training_record(session.tokenizer, text) for text in texts))
    end = [session.tokenizer.eos_token_id]
    fit_in_domain(
        (text["tokens"] + end * (text["finish"] == "stop_id") for text in texts),
        found.proxy,
        vocab_size=session.backbone.vocab_size,
    )
    del session
    for name, budget in BUDGETS.items():
        given = (*COMMON, f"data.path={records}", *budget, *overrides)
        if run_to_end("fast_dllm_v2", "smollm2_135m", home / name, given) is None:
            return False
    given = (*COMMON, f"data.path={records}", *ASSISTANT, *overrides)
    return run_to_end("autoregressive", "smollm2_135m_finetune", home / "assistant", given) is not None
