"""Making pairs a second time, to see that they are what their header says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random

from ar_core.command_result import CommandResult
from ar_core.config import expand_path, from_dict, require_positive
from ar_core.corruption import SampleRng
from ar_core.data.progress import track
from ar_core.errors import DataError
from ar_core.training.device import choose_device

from .config import NoiseCodePairsConfig
from .draw import draw_pairs, label_and_seed
from .stage import teacher_of
from .store import PairStore

__all__ = ["Verified", "VerifyPairsConfig", "verify", "verify_pairs"]


@dataclass(frozen=True, kw_only=True)
class VerifyPairsConfig:
    """Which pairs are made again.

    Raises:
        ConfigError: a value is out of range.
    """

    pairs: str
    """Folder that the recipe `noise_code_pairs` filled."""
    teacher: str
    """Checkpoint folder of the teacher."""
    tokenizer: str
    """Checkpoint folder of its tokenizer."""
    text_encoder: str | None = None
    """Folder, or hub name, of the T5 whose features a teacher of texts takes; null where it takes hashed words."""
    rows: int = 64
    """How many pairs, drawn at random; each is made in the batch that it was made in."""
    seed: int = 0
    """Of that choice."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; auto takes CUDA if there is one. On another kind of device than the pairs were made on, logits are
    rounded otherwise: the share of other codes is told, and nothing is refused."""

    def __post_init__(self) -> None:
        require_positive(self, "rows")


@dataclass(frozen=True)
class Verified:
    """What came of it.

    Attributes:
        rows: pairs that were made again.
        different: those with another code, in the order of their numbers.
        codes: all codes that were compared.
        different_codes: those that differ; one that does changes what comes after it.
        same_device: whether they were made on this kind of device.
    """

    rows: int
    different: tuple[int, ...]
    codes: int
    different_codes: int
    same_device: bool


def verify_pairs(config: VerifyPairsConfig) -> CommandResult:
    """Make pairs again, compare, and say what came of it.

    Raises:
        DataError: pairs differ on the kind of device that they were made on, or belong to another teacher; names the first.
        CheckpointError: teacher or tokenizer cannot be loaded.
    """
    found = verify(config)
    if found.different and found.same_device:
        raise DataError(
            f"{len(found.different)} of {found.rows} pairs of {config.pairs!r} come out otherwise, the first being pair "
            f"{found.different[0]}: the data are damaged, or torch or the number of its threads is another; make them anew"
        )
    if found.same_device:
        return CommandResult(f"{found.rows} pairs made again, all {found.codes:,} codes as stored", asdict(found))
    share = found.different_codes / found.codes
    return CommandResult(
        f"{found.rows} pairs made again on another kind of device: {len(found.different)} with other codes, {share:.3%} of "
        f"{found.codes:,} codes",
        asdict(found),
    )


def verify(config: VerifyPairsConfig) -> Verified:
    """Make pairs again and compare; raises as :func:`verify_pairs` does, but for pairs that differ."""
    store = PairStore(expand_path(config.pairs))
    header = store.header
    method = from_dict(NoiseCodePairsConfig, header["method"], "method")
    teacher, prints = teacher_of(
        config.teacher,
        config.tokenizer,
        method.decoding,
        config.device,
        texts=store.texts,
        text_encoder=config.text_encoder,
    )
    for name, print_ in prints.items():
        if header[name] != print_:
            raise DataError(
                f"the pairs in {config.pairs!r} were made with the {name} {header[name]} and {print_} was given: give the one that "
                "made them"
            )
    rng, rows = SampleRng(method.seed), min(config.rows, len(store))
    chosen = sorted(Random(config.seed).sample(range(len(store)), rows))
    different, wrong = set[int](), 0
    batches = _batches(chosen, len(store), header["chunk_size"], method.batch_size)
    for batch in track(batches, "batches of pairs", len(batches)):
        drawn = [label_and_seed(rng, number, teacher.conditions) for number in batch]
        labels, seeds = [list(one) for one in zip(*drawn, strict=True)]
        codes, _ = draw_pairs(teacher, labels, seeds, method.solver)
        for place, number in enumerate(batch):
            if number not in chosen:
                continue
            same = store.labels[number] == labels[place] and store.seeds[number] == seeds[place]
            apart = int((codes[place].cpu() != store.codes(number)).sum())
            wrong += apart
            if apart or not same:
                different.add(number)
    same_device = choose_device(config.device).type == header["device"]
    return Verified(rows, tuple(sorted(different)), rows * teacher.units.total, wrong, same_device)


def _batches(chosen: Sequence[int], count: int, chunk_size: int, batch_size: int) -> list[range]:
    """The batches that the chosen pairs were made in: those of a chunk begin with its first pair."""
    found = {}
    for number in chosen:
        chunk = number // chunk_size * chunk_size
        first = chunk + (number - chunk) // batch_size * batch_size
        found[first] = range(first, min(first + batch_size, chunk + chunk_size, count))
    return list(found.values())
