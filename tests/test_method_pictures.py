"""Drawings on the pages of methods are those that the code makes."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import torch
from ar_core.block_diffusion import block_diffusion_layout, block_diffusion_mask, block_grid
from ar_core.corruption import MaskDraw, PositionDependent, hide
from ar_core.masks import Mask, Tokens, noise_aware_causal
from dlm_text.diffuspec.path_search import search
from dlm_text.diffuspec.prompt_proxy import PromptProxy
from dlm_text.diffuspec.pruning import Candidates, prune
from dlm_text.diffuspec.tree import build_trees
from dlm_text.jacobi_forcing.config import JacobiForcingConfig, NoiseSchedule
from dlm_text.jacobi_forcing.noise import scheduled_ratios
from dlm_text.jacobi_forcing.packing import pack
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory
from dvlm.diffusionvl.objective import lay_out
from dvlm.inputs import expand
from torch import Tensor

DOCS = Path(__file__).resolve().parents[1] / "docs" / "methods"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def drawing(mask: Mask, ids: dict[str, list[str]]) -> str:
    """Ids above the columns, and a row a query."""
    seen = mask.dense().reshape(-1, len(next(iter(ids.values()))))
    lines = [f"{name:<10}{' '.join(values)}" for name, values in ids.items()]
    return "\n".join([*lines, *(" " * 10 + " ".join("#" if one else "." for one in row) for row in seen.tolist())])


def texts(numbers: Tensor) -> list[str]:
    return [str(number) for number in numbers.flatten().tolist()]


def test_complementary_views_over_one_clean_row():
    layout = block_diffusion_layout(block_grid(4, 2), num_views=2)
    row, hidden = torch.arange(4)[None], torch.tensor([[False, True, False, True]])
    ids = layout.sequence([hide(row, view, mask_id=4) for view in (hidden, ~hidden)], row)
    head = {name: texts(layout.tokens[name]) for name in ("stream", "block")}
    head["token"] = ["abcdM"[one] for one in ids.flatten().tolist()]
    assert f"```text\n{drawing(block_diffusion_mask(layout.tokens), head)}\n```" in page("fast_dllm_v2")


def test_noised_and_clean_row():
    layout = block_diffusion_layout(block_grid(4, 2), num_views=1)
    head = {name: texts(layout.tokens[name]) for name in ("stream", "block")}
    drawn = drawing(block_diffusion_mask(layout.tokens), head)
    assert all(f"```text\n{drawn}\n```" in page(name) for name in ("efficient_dlm", "diffusionvl"))


def test_what_pruning_leaves():
    sample = expand(range(4), range(4), [])
    draw = MaskDraw(torch.tensor([False, False, True, True]), torch.ones(4))
    row = lay_out(sample, block_grid(4, 2), draw, 4, prune=True)
    tokens = Tokens(stream=row.stream, block=row.block, position=row.position)
    head = {name: texts(tokens[name]) for name in ("stream", "block")}
    assert f"```text\n{drawing(block_diffusion_mask(tokens), head)}\n```" in page("diffusionvl")


def test_how_often_positions_are_hidden():
    places, size, blocks = [0, 8, 16, 24, 32, 40, 48, 56, 63], 64, 4000
    lines = re.search(r"```text\n(position  0 .*?)\n```", page("efficient_dlm"), re.DOTALL)[1].splitlines()
    assert lines[0].split() == ["position", *map(str, places)]
    everything = torch.ones(size * blocks, dtype=torch.bool)
    of_block = torch.arange(blocks).repeat_interleave(size)
    for line, ratio in zip(lines[1:], (None, 0.25, 0.1, 0.05), strict=True):
        assert line[:10].strip() == ("uniform" if ratio is None else f"λ = {ratio}")
        hidden = PositionDependent(size, ratio)(everything, of_block, torch.Generator().manual_seed(0))
        shares = hidden.view(blocks, size).float().mean(0)[places]
        torch.testing.assert_close(shares, torch.tensor([float(one) for one in line[10:].split()]), rtol=0, atol=0.03)


def test_packed_trajectory_and_its_schedule():
    clean = torch.tensor([[3, 4], [5, 6]])
    trajectory = Trajectory(torch.arange(3), clean, tuple(clean[:, None]))
    packed = pack(trajectory, torch.zeros_like(clean), JacobiForcingConfig(), stop_ids=set(), pad_id=9)
    tokens = Tokens(stream=packed.stream, block=packed.block, position=packed.position)
    head = {name: texts(tokens[name]) for name in ("stream", "block", "position")}
    head["block"] = ["p" if block == "-1" else block for block in head["block"]]
    drawn = drawing(Mask.self_attention(noise_aware_causal(JacobiForcingConfig().mask_window), tokens), head)
    assert f"```text\n{drawn}\n```" in page("jacobi_forcing")
    ratios = scheduled_ratios(NoiseSchedule(window=4)).tolist() * 2
    rows = {"block": [str(block) for block in range(8)], "noise": [f"{ratio:.2f}" for ratio in ratios]}
    shown = "\n".join(f"{name:<10}" + "".join(f"{value:<6}" for value in row).rstrip() for name, row in rows.items())
    assert f"```text\n{shown}\n```" in page("jacobi_forcing")


WORDS = ["the", "cat", "dog", "sat", "ran", "on", "a", "mat"]
TEXT = [WORDS.index(word) for word in ["the", "dog", "ran", "on", "the", "mat", "the"]]
LATTICE = [
    {"cat": 0.45, "dog": 0.40, "mat": 0.15},
    {"sat": 0.55, "ran": 0.45},
    {"on": 0.90, "a": 0.10},
    {"a": 0.50, "the": 0.45, "cat": 0.05},
]


def candidates() -> Candidates:
    log_probs = torch.full((1, len(LATTICE), len(WORDS)), -torch.inf)
    for position, law in enumerate(LATTICE):
        for word, probability in law.items():
            log_probs[0, position, WORDS.index(word)] = torch.tensor(probability).log()
    return prune(log_probs, [len(LATTICE)], [], mass=0.8, max_candidates=15)


def test_lattice_its_path_and_its_tree():
    found, proxy = candidates(), PromptProxy(len(WORDS))

    def path(weight: float) -> list[str]:
        best = search(found, proxy, [TEXT], beam=3, drafter_weight=weight)
        return [WORDS[token] for token in best.tokens[0, : best.lengths[0]].tolist()]

    kept = []
    for position, law in enumerate(LATTICE):
        valid = {WORDS[one] for one in found.ids[0, position][found.valid[0, position]].tolist()}
        kept.append(" ".join(word for word in law if word in valid))
    laws = [[f"{word:<3} {probability:.2f}" for word, probability in law.items()] for law in LATTICE]
    rows = {"position": ["1", "2", "3", "4"]}
    for number in range(3):
        rows["lattice" if not number else " " * number] = [law[number] if number < len(law) else "" for law in laws]
    rows |= {"candidates, τ = 0.8": kept, "path, λ = 1": path(1.0), "path, λ = 0.5": path(0.5)}
    drawn = "\n".join((f"{name:<23}" + "".join(f"{one:<12}" for one in row)).rstrip() for name, row in rows.items())
    assert f"```text\n{drawn}\n```" in page("diffuspec")

    ((tokens, parents, _),) = build_trees(found, proxy, [TEXT], nodes=6, drafter_weight=0.5)
    words = [WORDS[token] for token in tokens]
    rows = {
        "node": [str(number) for number in range(6)],
        "token": words,
        "behind": ["–" if parent < 0 else words[parent] for parent in parents],
    }
    drawn = "\n".join((f"{name:<10}" + "".join(f"{one:<6}" for one in row)).rstrip() for name, row in rows.items())
    assert f"```text\n{drawn}\n```" in page("diffuspec")


def test_pairs_of_a_step_are_printed_as_shown():
    code, shown = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", page("cca"), re.DOTALL).groups()
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, "cca.md", "exec"), {})
    assert out.getvalue() == shown
