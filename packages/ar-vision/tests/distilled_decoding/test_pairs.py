"""Pairs of noise and codes: what they are a function of, how they are stored, resumed, verified and read."""

import json
import pickle
import random
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError, DataError, ResumeError
from ar_core.io import read_header, read_tensors, write_tensors
from ar_core.registry import commands, recipe, resolve
from ar_core.training import finished_chunks, run_recipe
from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition
from ar_vision.backbones.llamagen.decode import generate as generate_codes
from ar_vision.backbones.var.decode import VarDecoding, generate
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.flow_pick import FlowPick
from ar_vision.distilled_decoding.noise import noise_of
from ar_vision.distilled_decoding.pairs.config import NoiseCodePairsConfig, PairDataConfig
from ar_vision.distilled_decoding.pairs.draw import draw_pairs, label_and_seed
from ar_vision.distilled_decoding.pairs.store import PairStore, build_pair_source
from ar_vision.distilled_decoding.pairs.verify import VerifyPairsConfig, verify, verify_pairs

KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])
HERE = Path(__file__).parent


# What a pair is.


@KINDS
def test_oracle_12_at_temperature_0_pairs_are_greedy_generation(make_teacher, kind):
    """One-hot laws: every noise vector flows to the code that generation chooses, token for token."""
    teacher = make_teacher(kind, guidance=2.0, temperature=0.0)
    codes, _ = draw_pairs(teacher, [1, 3, 0], [4, 5, 6], FlowSolver())
    if kind == "var":
        greedy = generate(teacher.model, teacher.tokenizer, [1, 3, 0], VarDecoding(guidance=2.0, temperature=0.0))
        expected = torch.cat(greedy.codes, dim=1)
    else:
        options = LlamaGenOptions(guidance=2.0, temperature=0.0)
        expected = generate_codes(teacher.model, class_condition(teacher.model, [1, 3, 0]), options).codes
    assert torch.equal(codes, expected)
    # And the flow itself, where next to all of the law is on one code.
    cold = make_teacher(kind, guidance=2.0, temperature=1e-3)
    assert torch.equal(draw_pairs(cold, [1, 3, 0], [4, 5, 6], FlowSolver())[0], expected)


@KINDS
def test_oracle_13_pairs_are_a_function_of_label_and_seed_whatever_the_batch(make_teacher, kind):
    teacher = make_teacher(kind, guidance=2.0, top_p=0.9)
    labels, seeds = [1, 3, 0, 1, 4, 2, 2], [10, 11, 12, 13, 14, 2**62, 0]
    whole, _ = draw_pairs(teacher, labels, seeds, FlowSolver())
    again, _ = draw_pairs(teacher, labels, seeds, FlowSolver())
    assert torch.equal(again, whole)
    alone = [draw_pairs(teacher, [label], [seed], FlowSolver())[0] for label, seed in zip(labels, seeds, strict=True)]
    assert torch.equal(torch.cat(alone), whole)
    turned, _ = draw_pairs(teacher, labels[::-1], seeds[::-1], FlowSolver())
    assert torch.equal(turned.flip(0), whole)
    assert len(whole.unique(dim=0)) == 7


@KINDS
def test_codes_are_distributed_as_the_teacher_samples_them(make_teacher, kind):
    """Over many noises: the first unit's law, which depends on nothing but the class, after guidance and filters."""
    teacher = make_teacher(kind, guidance=1.5, top_k=8)
    rows = 3000
    seen = []

    def pick(unit, logits, generators):
        seen.append(logits)
        return logits.argmax(-1)

    teacher.draw([2], pick, stop=1)
    p = teacher.sampler.filtered(seen[0])[0, 0].softmax(-1)
    assert int((p > 0).sum()) == 8
    noise = noise_of(range(rows), teacher.units.total, teacher.codebook.shape[1])
    flow = FlowPick(noise, teacher.units, teacher.sampler, teacher.codebook, FlowSolver())
    codes, _ = teacher.draw([2] * rows, flow, stop=1)
    shares = torch.bincount(codes[:, 0], minlength=24) / rows
    assert ((shares - p).abs() <= 4 * (p * (1 - p) / rows).sqrt()).all()


@KINDS
def test_noise_of_a_token_decides_it_and_nothing_before_it(make_teacher, kind):
    teacher = make_teacher(kind)
    noise = noise_of([1, 2], teacher.units.total, teacher.codebook.shape[1])

    def codes(noise):
        return teacher.draw([1, 2], FlowPick(noise, teacher.units, teacher.sampler, teacher.codebook, FlowSolver()))[0]

    before, token = codes(noise), teacher.units.tokens(2)
    for scale in (3.0, -3.0):
        moved = noise.clone()
        moved[:, token] = scale
        after = codes(moved)
        assert torch.equal(after[:, :token], before[:, :token])
        same = teacher.units.part(2)
        assert torch.equal(after[:, token + 1 : same.stop], before[:, token + 1 : same.stop]), "others of its unit"


# The stage.


@KINDS
def test_the_header_says_what_made_them(pairs, folders, kind):
    overrides = [
        "method.decoding={guidance: 2.0, top_k: 9}",
        "method.solver={kind: heun, steps: 30}",
        "method.checked=2",
    ]
    store = PairStore(pairs(kind, *overrides))
    header, where = store.header, folders(kind)
    assert header["recipe"] == "noise_code_pairs"
    assert header["kind"] == kind
    assert {"teacher", "tokenizer", "rng", "device", "made_by", "schedule", "vocab_size", "code_dim"} <= header.keys()
    assert header["tokenizer"] == load_checkpoint(where.teacher).tokenizer
    assert header["decoding"]["guidance"] == 2.0
    assert header["decoding"]["top_k"] == 9
    assert header["method"]["solver"] == {"kind": "heun", "steps": 30, "tolerance": 1e-4, "closed_forms": True}
    assert len(store) == 24
    chunk = finished_chunks(Path(str(pairs(kind, *overrides))))[1][0]
    assert {name: one["dtype"] for name, one in read_header(chunk).items() if name != "__metadata__"} == {
        "label": "I16",
        "seed": "I64",
        "codes": "I16",
    }
    counts = json.loads(read_header(chunk)["__metadata__"]["counts"])
    units = 4 if kind == "var" else 16
    assert counts["pairs"] == 8
    # Two draws of every unit, but for those that have one token less.
    assert units <= counts["checked"] <= 8 * units
    assert 0.8 * counts["checked"] <= counts["agreeing"] <= counts["checked"]
    assert counts["evaluations"] > 0


def test_labels_are_even_and_seeds_distinct():
    drawn = [label_and_seed(SampleRng(0), number, 10) for number in range(20_000)]
    counts = torch.bincount(torch.tensor([label for label, _ in drawn]), minlength=10)
    assert ((counts - 2000).abs() < 4 * (2000 * 0.9) ** 0.5).all()
    assert len({seed for _, seed in drawn}) == 20_000
    other = [label_and_seed(SampleRng(1), number, 10) for number in range(100)]
    assert not {seed for _, seed in other} & {seed for _, seed in drawn}


@KINDS
def test_shards_in_any_order_leave_the_files_of_one_run(pairs, folders, pairs_config, tmp_path, kind):
    whole = pairs(kind)
    for shard in ("3/3", "1/3", "2/3"):
        config = pairs_config(folders(kind), tmp_path / "shards", f"stage.shard={shard}")
        result = run_recipe(recipe("noise_code_pairs"), config)
        assert (result.made, result.counts["pairs"]) == (1, 8)
    assert files(tmp_path / "shards") == files(whole)


def test_another_teacher_setting_or_solver_is_not_continued(pairs, folders, pairs_config, tmp_path):
    directory = pairs("var")
    for change, named in (
        ("method.decoding={guidance: 3.0}", "decoding"),
        ("method.solver={tolerance: 0.01}", "solver"),
        ("method.seed=1", "seed"),
        ("method.batch_size=8", "batch_size"),
    ):
        with pytest.raises(ResumeError, match=named):
            run_recipe(recipe("noise_code_pairs"), pairs_config(folders("var"), directory, change))
    where = folders("var")
    loaded = load_checkpoint(where.teacher)
    with torch.no_grad():
        loaded.model.head.linear.bias.add_(0.1)
    save_checkpoint(where.teacher, loaded.model, tokenizer=loaded.tokenizer)
    with pytest.raises(ResumeError, match="teacher"):
        run_recipe(recipe("noise_code_pairs"), pairs_config(where, directory))


@KINDS
def test_a_stage_killed_at_random_moments_resumes_with_equal_counts_and_hashes(kills, make_teacher, tmp_path, kind):
    teacher = make_teacher(kind)
    save_checkpoint(tmp_path / "tokenizer", teacher.tokenizer)
    save_checkpoint(tmp_path / "teacher", teacher.model, tokenizer=fingerprint(teacher.tokenizer))
    moments = random.Random(3)
    with kills.Runs(HERE / "killed_stage.py", "run", home=str(tmp_path)) as runs:
        seconds = runs.uninterrupted(tmp_path / "whole")
        hits = 0
        for case in range(2):
            directory = tmp_path / f"killed{case}"
            for _ in range(3):
                hits += runs.killed_after(directory, moments.uniform(0.1, 0.6) * seconds)
            runs.uninterrupted(directory)
            assert hashes(directory) == hashes(tmp_path / "whole")
            store = PairStore(directory)
            assert len(store) == len(set(store.seeds.tolist())) == 8
        boundary = 1
        while runs.killed_at(tmp_path / f"at{boundary}", boundary):
            runs.uninterrupted(tmp_path / f"at{boundary}")
            assert hashes(tmp_path / f"at{boundary}") == hashes(tmp_path / "whole")
            boundary += 17
    assert boundary > 20
    assert hits >= 2


def files(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if not path.name.startswith(".tmp-")}


def hashes(directory):
    """Digest and counts of every chunk."""
    return {
        path.name: (sha256(path.read_bytes()).hexdigest(), read_header(path)["__metadata__"]["counts"])
        for path in finished_chunks(directory)[1]
    }


# Verification.


def settings(pairs, where, **more):
    return VerifyPairsConfig(
        pairs=str(pairs), teacher=str(where.teacher), tokenizer=str(where.tokenizer), device="cpu", **more
    )


@KINDS
def test_pairs_that_are_made_again_are_the_same(pairs, folders, kind):
    directory = pairs(kind, "method.batch_size=5")
    config = settings(directory, folders(kind), rows=10)
    found = verify(config)
    tokens = 30 if kind == "var" else 16
    assert (found.rows, found.different, found.codes, found.different_codes) == (10, (), 10 * tokens, 0)
    assert found.same_device
    said = verify_pairs(config)
    assert said == f"10 pairs made again, all {10 * tokens} codes as stored"
    assert (said.data["rows"], said.data["different"], said.data["same_device"]) == (10, (), True)
    assert verify(settings(directory, folders(kind), rows=500)).rows == 24


@pytest.mark.parametrize("name", ["codes", "label", "seed"])
def test_a_changed_pair_is_found(pairs, folders, name):
    directory = pairs("llamagen")
    path = finished_chunks(directory)[1][1]
    tensors = {key: one.clone() for key, one in read_tensors(path).items()}
    tensors[name].view(-1)[5] = (tensors[name].view(-1)[5] + 1) % 5
    write_tensors(path, tensors, {"counts": "{}"})
    pair = 8 + (0 if name == "codes" else 5)
    assert verify(settings(directory, folders("llamagen"), rows=24)).different == (pair,)
    with pytest.raises(DataError, match=f"1 of 24 pairs of .* come out otherwise, the first being pair {pair}"):
        verify_pairs(settings(directory, folders("llamagen"), rows=24))


def test_pairs_of_another_kind_of_device_are_told_by_their_share(pairs, folders):
    directory = pairs("llamagen")
    record = json.loads((directory / "stage.json").read_text())
    record["identity"]["device"] = "cuda"
    (directory / "stage.json").write_text(json.dumps(record))
    path = finished_chunks(directory)[1][0]
    tensors = {key: one.clone() for key, one in read_tensors(path).items()}
    tensors["codes"][3, 7:] = (tensors["codes"][3, 7:] + 1) % 24
    write_tensors(path, tensors, {"counts": "{}"})
    line = verify_pairs(settings(directory, folders("llamagen"), rows=24))
    assert line == "24 pairs made again on another kind of device: 1 with other codes, 2.344% of 384 codes"


def test_another_teacher_cannot_verify(pairs, folders, tmp_path):
    directory, where = pairs("var"), folders("var")
    loaded = load_checkpoint(where.teacher)
    with torch.no_grad():
        loaded.model.head.linear.bias.add_(0.1)
    save_checkpoint(where.teacher, loaded.model, tokenizer=loaded.tokenizer)
    with pytest.raises(DataError, match="were made with the teacher"):
        verify_pairs(settings(directory, where))


def test_the_command_is_announced():
    command = commands()["verify-pairs"]
    assert resolve(command.run) is verify_pairs
    assert resolve(command.options) is VerifyPairsConfig


# Reading.


def source(directory, where, **more):
    loaded = load_checkpoint(where.teacher)
    names = {"teacher": fingerprint(loaded.model), "tokenizer": loaded.tokenizer, **more}
    held_out = names.pop("held_out", 0.25)
    return build_pair_source(PairDataConfig(str(directory), held_out=held_out), seed=3, **names)


def test_a_source_gives_every_pair_once_an_epoch_and_starts_anywhere(pairs, folders):
    directory, where = pairs("var"), folders("var")
    store = PairStore(directory)
    train, held_out = (source(directory, where, split=split) for split in ("train", "held_out"))
    assert len(train) + len(held_out) == 24
    assert len(held_out) > 0
    stream = train.open(0)
    samples = [next(stream) for _ in range(2 * len(train))]
    assert [one["index"] for one in samples] == list(range(2 * len(train)))
    epochs = samples[: len(train)], samples[len(train) :]
    assert (
        {one["seed"] for one in epochs[0]}
        == {one["seed"] for one in epochs[1]}
        == {int(store.seeds[n]) for n in train.chosen}
    )
    assert [one["seed"] for one in epochs[0]] != [one["seed"] for one in epochs[1]]
    later = next(train.open(5))
    assert later["seed"] == samples[5]["seed"]
    assert torch.equal(later["codes"], samples[5]["codes"])
    for one in samples[:5]:
        number = store.seeds.tolist().index(one["seed"])
        assert one["label"] == int(store.labels[number])
        assert torch.equal(one["codes"], store.codes(number))
    assert {one["seed"] for one in held_out.once()}.isdisjoint(one["seed"] for one in samples)
    first = PairDataConfig(str(directory), count=9)
    few = build_pair_source(first, seed=3, teacher=store.header["teacher"], tokenizer=store.header["tokenizer"])
    assert {one["seed"] for one in few.once()} == set(store.seeds[:9].tolist())
    copied = pickle.loads(pickle.dumps(store))
    assert torch.equal(copied.codes(13), store.codes(13))


def test_pairs_that_do_not_belong_are_refused(pairs, folders, tmp_path):
    directory, where = pairs("var"), folders("var")
    with pytest.raises(DataError, match=r"were made with the teacher .* and this run has the teacher other"):
        source(directory, where, teacher="other")
    with pytest.raises(DataError, match="were made with the tokenizer"):
        source(directory, where, tokenizer="other")
    with pytest.raises(ConfigError, match="nothing is held out"):
        source(directory, where, held_out=0.0, split="held_out")
    with pytest.raises(DataError, match="run the recipe first"):
        PairStore(tmp_path)
    record = json.loads((directory / "stage.json").read_text())
    for key, value, message in (
        ("rng", "mt19937", "its seeds give other noise here"),
        ("recipe", "image_codes", "pairs of noise and codes are needed"),
    ):
        changed = {**record, "identity": {**record["identity"], key: value}}
        (directory / "stage.json").write_text(json.dumps(changed))
        with pytest.raises(DataError, match=message):
            PairStore(directory)


def test_teachers_that_have_no_students_are_refused(
    folders, pairs_config, tmp_path, make_teacher, make_student, make_tokenizer
):
    where = folders("var")
    other = make_tokenizer("var")
    with torch.no_grad():
        other.codebook.weight.add_(1)
    save_checkpoint(tmp_path / "stranger", other)
    with pytest.raises(CheckpointError, match="was trained with the tokenizer"):
        run_recipe(
            recipe("noise_code_pairs"), pairs_config(where, tmp_path / "a", f"tokenizer={tmp_path / 'stranger'}")
        )
    teacher = make_teacher("llamagen")
    save_checkpoint(tmp_path / "student", make_student(teacher))
    config = pairs_config(folders("llamagen"), tmp_path / "b", f"teacher={tmp_path / 'student'}")
    with pytest.raises(CheckpointError, match="has students of var and llamagen"):
        run_recipe(recipe("noise_code_pairs"), config)
    with pytest.raises(ConfigError, match=r"unknown key 'decoding\.guidence'"):
        run_recipe(recipe("noise_code_pairs"), pairs_config(where, tmp_path / "c", "method.decoding={guidence: 2}"))
    with pytest.raises(CheckpointError, match="more_smooth"):
        run_recipe(
            recipe("noise_code_pairs"), pairs_config(where, tmp_path / "d", "method.decoding={more_smooth: true}")
        )


@pytest.mark.parametrize(
    ("settings_", "message"), [({"count": 0}, "count"), ({"batch_size": 0}, "batch_size"), ({"checked": -1}, "checked")]
)
def test_settings_that_are_none_are_refused(settings_, message):
    with pytest.raises(ConfigError, match=message):
        NoiseCodePairsConfig(**settings_)
    with pytest.raises(ConfigError, match="held_out"):
        PairDataConfig("somewhere", held_out=1.0)
