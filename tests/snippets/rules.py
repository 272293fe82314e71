"""What happens with each command of the pages: the first rule that matches it holds, and without one it is executed as it is written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RULES", "Rule", "rule_of"]


@dataclass(frozen=True)
class Rule:
    """What happens with some commands.

    Attributes:
        command: expression that a command begins with, its words as a shell would quote them.
        page: expression that is found in the path of the page.
        more: words that are put behind it, so that it ends in seconds; of options and of entries of a config the last one holds.
        reason: why it is not executed but resolved only.
    """

    command: str
    page: str = ""
    more: Sequence[str] = ()
    reason: str | None = None

    def holds(self, page: str, text: str) -> bool:
        """Whether it is about this command on this page."""
        return re.search(self.page, page) is not None and re.match(self.command, text) is not None


STEPS = (
    "train.steps=2",
    "train.warmup_steps=1",
    "train.batch_size=4",
    "train.micro_batch_size=2",
    "train.num_workers=0",
    "train.eval_every=2",
    "train.device=cpu",
)
ROWS, IMAGES = "evaluation.rows=2", "evaluation.images=4"
"""What is evaluated behind the second step."""
SMALL_LANGUAGE_MODEL = (
    "model.path=null",
    "model.scratch={hidden: 16, layers: 1, heads: 2, kv_heads: 1, intermediate: 32, context: 128}",
    "data={kind: task, task: arithmetic, count: 20, seq_len: 64, packing: whole}",
    "method.mask_token=<mask>",
)
"""In the place of SmolLM2-135M and its data."""
HUB = "a base model or data of the hub; two steps of every config are in apps/train/tests/test_shipped_configs.py"
PUBLISHED = "weights and data of published size; the tests of the package train every recipe"
TRAINS = r"(ar-train (run|fit)|tune run) (\S*/recipes/)?"
OF_TEXT = "(autoregressive|efficient_dlm|fast_dllm_v2|jacobi_forcing|vl_autoregressive|diffusionvl)"

RULES: tuple[Rule, ...] = (
    # Environments.
    Rule(
        r"pip |python3? -m pip |uv |python3? -m uv ",
        reason="tests/test_install.py installs; names and extras are checked",
    ),
    Rule(r"source ", reason="of a shell; these tests run in such an environment already"),
    Rule(r"npm |git (?!commit|push)", reason="a download"),
    Rule(r"git (commit|push)", reason="a commit or a push of this checkout; tests/test_release.py makes its own"),
    Rule(r"pytest", reason="these tests themselves"),
    Rule(r"ar-quickstart --fast", more=("--problems", "2", "--live-steps", "2")),
    Rule(r"ar-quickstart", reason="minutes; both acts are in the tests of ar-quickstart"),
    # Benchmarks.
    Rule(r"python -m benchmarks\.(fuzz list|crashes jobs)"),
    Rule(
        r"python -m benchmarks\.",
        reason="hours, on data that is not here; the tests of each benchmark run it at tiny size",
    ),
    # Engines, clusters, downloads.
    Rule(
        r"vllm |python -m sglang",
        reason="an engine that is not installed; tests/test_serving_page.py holds its launch line",
    ),
    Rule(r"torchrun |srun ", reason="several machines; two processes of one are in tests/test_invariance.py"),
    Rule(r".* --ray ", reason="a cluster takes a minute to start; the tests of ar-train and ar-decode run on one"),
    Rule(
        r"python -m ar_decode\.harness",
        reason="downloads its tasks; apps/decode/tests/test_harness.py runs it on its own",
    ),
    # Training, and data made for it. Tutorials are short as they are written.
    Rule(r"ar-train run", page="docs/tutorials"),
    Rule(
        r"ar-train (run|fit) \S+ (--nproc 8 )?--config (qwen|imagenet|smollm2_135m |llamagen_vq16|8b|2b|125m)",
        reason=HUB,
        page="(dlm|vl|jacobi|scale_out)",
    ),
    Rule(
        r"ar-train plan \S+ .*--config (qwen2_5_1_5b|qwen2_5_7b_qlora) --hardware h100( data\.path=\S+)?$", reason=HUB
    ),
    Rule(
        r"ar-train plan fast_dllm_v2 --config qwen2_5_7b_qlora .*model.scratch",
        reason="a minute and a half of one core; the tests of ar_core.planning",
    ),
    Rule(r"ar-train plan var --config imagenet", reason=PUBLISHED),
    Rule(r"ar-train (run|fit) \S+ --config (qwen|imagenet|llamagen_vq16|8b|2b|125m|alpaca)", reason=PUBLISHED),
    Rule(
        r"ar-train run \S+ --config mine\.yaml .*--nproc 2", more=(*SMALL_LANGUAGE_MODEL, *STEPS, ROWS, "--nproc", "1")
    ),
    Rule(
        r"ar-train fit \S+ --config mine\.yaml",
        more=(*SMALL_LANGUAGE_MODEL, *STEPS, ROWS, "--resume", "never", "train.checkpoint_dir=runs/fit"),
    ),
    Rule(
        r"ar-train run fast_dllm_v2 --config smollm2_135m model\.layers=10",
        more=("model.layers=1", "model.dtype=float32", "data.held_out=0", *STEPS, "train.eval_every=null"),
    ),
    Rule(
        r"ar-train run infinity --nproc 8 --config tiny",
        reason="eight processes; tests/test_invariance.py shards with two",
    ),
    Rule(TRAINS + "image_tokenizer --config tiny", more=(*STEPS, IMAGES, "method.adversarial_start_step=1")),
    Rule(TRAINS + "image_codes --config tiny", more=("data.count=24", "stage.device=cpu")),
    Rule(TRAINS + "image_codes"),
    Rule(TRAINS + "(cca_log_probs)", more=("train.steps=2", "train.batch_size=4", "stage.device=cpu")),
    Rule(TRAINS + "noise_code_pairs", more=("method.count=6", "method.batch_size=6", "stage.device=cpu")),
    Rule(TRAINS + "glotok_teacher", more=("data.count=24", "method.clusters=2", "stage.device=cpu")),
    Rule(
        TRAINS + "jacobi_trajectories",
        more=("data.count=8", "method.max_new_tokens=16", "method.batch_size=4", "stage.device=cpu"),
    ),
    Rule(
        TRAINS + "jacobi_forcing --config task",
        more=(*STEPS, ROWS, "evaluation.prompts=2", "trajectories.held_out=0.25"),
    ),
    Rule(TRAINS + "distilled_decoding --config", more=(*STEPS, IMAGES, "data.held_out=0.4")),
    Rule(TRAINS + OF_TEXT + r"(\.py)? --config (tiny|task)", more=(*STEPS, ROWS)),
    Rule(TRAINS + r"\w+(\.py)? --config", more=(*STEPS, IMAGES)),
    # Weights whose published size is what tells their shape.
    Rule(
        r"ar-train convert llamagen_dd",
        reason="400 MB of weights; packages/ar-vision/tests/distilled_decoding/test_loading.py",
    ),
    Rule(
        r"ar-train convert nsarm",
        reason="weights of 8 billion parameters; the tests of ar_vision.nsarm load small ones",
    ),
    # Decoding.
    Rule(r"ar-decode eval ./converted humaneval", more=("--data", "humaneval.jsonl", "-n", "8")),
    Rule(r"ar-decode eval .* exact_answers", page="docs/evaluation", more=("--limit", "1")),
    Rule(r"ar-decode (text|trace|bench|eval) (?!runs/tiny/)", page="^(?!docs/tutorials)", more=("-n", "8")),
    Rule(r"ar-decode vlm ", page="^(?!docs/tutorials)", more=("max_new_tokens=4",)),
    Rule(r"ar-decode eval-vlm ", page="^(?!docs/tutorials)", more=("max_new_tokens=4",)),
    Rule(
        r"ar-decode eval-image .*inception-v3",
        reason="a network of 24 million weights; the tests of ar_vision.evaluation run it",
    ),
)


def rule_of(page: str, text: str) -> Rule:
    """The rule of a command."""
    return next((rule for rule in RULES if rule.holds(page, text)), Rule(""))
