"""The fuzzing command: inputs follow from seed and number, every kind of fault is noticed, valid files are accepted."""

import os
import socket
import subprocess
import sys
import time
from random import Random

import pytest
from ar_core.errors import ArError, DataError

VALID = {"a.json": b'{"a": [1, {"b": "x"}], "c": null}', "b.safetensors": b"", "c.yaml": b"a: 1\nb: {c: 2}\n"}


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"fuzz.{name}")


def test_an_input_is_a_function_of_seed_and_number(module):
    mutated = module("mutations.mutate").mutated
    made = [mutated([VALID], Random(f"0/{number}")) for number in range(60)]
    assert made == [mutated([VALID], Random(f"0/{number}")) for number in range(60)]
    assert sum(one != VALID for one in made) > 40
    assert len({repr(one) for one in made}) > 40


def test_every_format_is_changed_in_its_own_way(module):
    formats = module("mutations.mutate").FORMATS
    names = {name for suffix in formats for name in [f"x{suffix}"]}
    for name in sorted(names - {"x.png"}):
        found = {
            module("mutations.mutate")._changed(name, data, Random(number), b"")
            for number in range(40)
            for data in (b"", b"{}\n", bytes(99))
        }
        assert len(found) > 10, name


def _run(kind, folder):
    """What a loader with that fault would do."""
    if kind == "raised":
        raise KeyError("weight")
    if kind == "wording":
        # Not by way of ArError's own text.
        raise type("Loud", (ArError,), {"__str__": lambda self: "two\nlines"})
    if kind == "memory":
        bytearray(3 << 30)
    if kind == "caught":
        try:
            bytearray(3 << 30)
        except MemoryError as error:
            raise DataError("it is too large: give less") from error
    if kind == "executed":
        subprocess.run(["true"], check=True)
    if kind == "connected":
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
    if kind == "evaluated":
        eval("__import__('os').getpid() or 'ar_fuzz_canary'")
    if kind == "escaped":
        (folder.parent / "outside.safetensors").read_bytes()
    if kind == "wrote":
        (folder.parents[1] / "elsewhere").write_text("x")
    if kind == "hung":
        while True:
            pass
    if kind == "crashed":
        os.abort()
    if kind == "refused":
        raise DataError("it is damaged: fetch it again")


PLANTED = {
    "raised": "raised",
    "wording": "wording",
    "memory": "memory",
    "caught": "memory",
    "executed": "executed",
    "connected": "executed",
    "evaluated": "executed",
    "escaped": "executed",
    "wrote": "executed",
    "hung": "hung",
    "crashed": "crashed",
    "refused": "refused",
    "accepted": "accepted",
}


def test_every_kind_of_fault_is_noticed(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module("campaign"), "LIMIT_S", 0.5)

    def read(folder):
        number = (folder / "a.json").read_bytes()
        if number != b"[]":
            _run(list(PLANTED)[int(number)], folder)

    monkeypatch.setattr(
        module("worker"), "hostile_input", lambda loader, inputs, seed, number: {"a.json": str(number).encode()}
    )
    loader = module("loader").Loader(
        "planted", lambda: iter([lambda folder: (folder / "a.json").write_bytes(b"[]")]), read
    )
    told = []
    campaign = module("campaign").fuzzed(loader, 0, len(PLANTED), tmp_path / "room", told.append)
    assert [(fault["number"], fault["kind"]) for fault in told] == [
        (number, kind) for number, kind in enumerate(PLANTED.values()) if kind not in ("refused", "accepted")
    ]
    row = campaign.row()
    assert (row["inputs"], row["accepted"], row["refused"], row["executed"], row["memory"]) == (
        len(PLANTED),
        1,
        1,
        5,
        2,
    )
    assert (tmp_path / "room" / "faults" / "0000010" / "a.json").read_bytes() == b"10"
    assert (tmp_path / "elsewhere").exists()


def test_what_is_slow_because_it_is_traced_is_read_again(module, tmp_path, monkeypatch):
    """Looking for new lines takes a multiple of the time: neither what ends late nor what is ended counts as a hang then."""
    monkeypatch.setattr(module("campaign"), "LIMIT_S", 0.5)
    monkeypatch.setattr(module("judge"), "LIMIT_S", 0.5)

    def read(folder):
        name = (folder / "a.json").read_bytes()
        since = time.process_time()
        while (
            name != b"[]" and sys.gettrace() is not None and time.process_time() - since < (60 if name == b"1" else 0.7)
        ):
            pass

    monkeypatch.setattr(
        module("worker"), "hostile_input", lambda loader, inputs, seed, number: {"a.json": str(number).encode()}
    )
    loader = module("loader").Loader(
        "traced", lambda: iter([lambda folder: (folder / "a.json").write_bytes(b"[]")]), read
    )
    told = []
    row = module("campaign").fuzzed(loader, 0, 4, tmp_path / "room", told.append).row()
    assert (row["inputs"], row["accepted"], told) == (4, 4, [])


def test_the_table_sums_all_loaders(module):
    row = module("campaign").Campaign()
    row.add({"number": 0, "kind": "accepted", "seconds": 0.25, "lines": 7})
    row.add({"number": 1, "kind": "raised", "seconds": 0.5, "detail": "x"})
    text = module("rendering").markdown_table({"rows": [{"name": "a", **row.row()}, {"name": "b", **row.row()}]})
    assert text.splitlines()[-1] == "| all | 4 | 2 | 0 | 2 | 0 | 0 | 0 | 0 | 0 | 0.50 | 14 |"


MODULES = [
    "checkpoints",
    "records",
    "runs",
    "images",
    "collections",
    "stages",
    "texts",
    "apps",
    "conversations",
    "image_models",
    "language_models",
    "vision_language_models",
]


@pytest.mark.parametrize("name", MODULES)
def test_valid_files_are_accepted(module, tmp_path, name):
    inventory = module("loaders.inventory")
    assert list(inventory.MODULES) == MODULES
    found = inventory.loaders_of(name)
    assert tuple(one.name for one in found) == inventory.MODULES[name]
    for loader in found:
        for number, write in enumerate(loader.seeds()):
            folder = tmp_path / loader.name / str(number)
            folder.mkdir(parents=True)
            write(folder)
            loader.read(folder)
