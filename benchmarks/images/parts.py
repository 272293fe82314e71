"""What is trained, in which order, by which recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ar_core.errors import DataError

__all__ = ["PARTS", "Folders", "Part", "part"]


@dataclass(frozen=True)
class Folders:
    """Where things lie.

    Attributes:
        runs: what is trained and encoded.
        cifar10: of ``python -m benchmarks.cifar10 prepare``: train.parquet and test.parquet.
        staged: ``AR_DATA_DIR``.
        seed: of the runs.
    """

    runs: Path
    cifar10: Path
    staged: Path
    seed: int = 0

    @property
    def captioned(self) -> Path:
        """Records of the captioned photographs."""
        return self.staged / "image_text" / "coco_cc" / "metadata.jsonl"

    @property
    def emoji(self) -> Path:
        """The emoji with their names."""
        return self.staged / "image_text" / "emoji64.parquet"

    @property
    def kodak(self) -> Path:
        """The 24 Kodak photographs."""
        return self.staged / "images" / "kodak256"

    def of(self, name: str) -> Path:
        """The folder of a part's run."""
        return self.runs / f"seed{self.seed}" / name

    def model(self, name: str) -> Path:
        """The checkpoint of a part: that of the best evaluation where one was kept, else the last."""
        best = self.of(name) / "best"
        return best if best.is_dir() else self.of(name) / "final"


@dataclass(frozen=True)
class Part:
    """One run of a recipe.

    Attributes:
        name: of its folder.
        recipe: what runs.
        config: a config that ships with it.
        needs: parts that must be there before.
        overrides: from the folders to ``key=value`` entries.
        tokenizer: the part that trains the tokenizer of a generator.
        data: what it is trained and measured on; ``photographs`` and ``emoji`` are those of `Folders.staged`, with captions.
    """

    name: str
    recipe: str
    config: str
    needs: tuple[str, ...] = ()
    overrides: Callable[[Folders], list[str]] = field(default=lambda folders: [])
    tokenizer: str | None = None
    data: Literal["cifar10", "photographs", "emoji"] = "cifar10"

    @property
    def captioned(self) -> bool:
        """Whether its pictures have captions."""
        return self.data != "cifar10"


def _pictures(folders: Folders) -> list[str]:
    return [
        f"data.path={folders.cifar10 / 'train.parquet'}",
        f"evaluation.data.path={folders.cifar10 / 'test.parquet'}",
    ]


def _codes(tokenizer: str, scales: str | None, data: str = "cifar10") -> Callable[[Folders], list[str]]:
    def overrides(folders: Folders) -> list[str]:
        path = folders.emoji if data == "emoji" else folders.cifar10 / "train.parquet"
        chosen = [f"tokenizer={folders.model(tokenizer)}", f"data.path={path}"]
        return chosen if scales is None else [*chosen, f"method.scales={scales}"]

    return overrides


def _generator(codes: str, tokenizer: str, where: str = "data.path") -> Callable[[Folders], list[str]]:
    return lambda folders: [f"tokenizer={folders.model(tokenizer)}", f"{where}={folders.of(codes)}"]


def _captioned(folders: Folders) -> list[str]:
    return [f"data.path={folders.captioned}"]


PARTS: Mapping[str, Part] = {
    entry.name: entry
    for entry in (
        Part("var_tokenizer", "image_tokenizer", "cifar10", overrides=_pictures),
        Part("vq_tokenizer", "image_tokenizer", "cifar10_flexvar", overrides=_pictures),
        Part("var_codes", "image_codes", "cifar10", ("var_tokenizer",), _codes("var_tokenizer", "[1, 2, 3, 4, 6, 8]")),
        Part(
            "side_codes",
            "image_codes",
            "cifar10",
            ("vq_tokenizer",),
            _codes("vq_tokenizer", "[1, 2, 3, 4, 5, 6, 7, 8]"),
        ),
        Part("grid_codes", "image_codes", "cifar10", ("vq_tokenizer",), _codes("vq_tokenizer", None)),
        Part("var", "var", "cifar10", ("var_codes",), _generator("var_codes", "var_tokenizer"), "var_tokenizer"),
        Part(
            "flexvar", "flexvar", "cifar10", ("side_codes",), _generator("side_codes", "vq_tokenizer"), "vq_tokenizer"
        ),
        Part(
            "llamagen",
            "llamagen",
            "cifar10",
            ("grid_codes",),
            _generator("grid_codes", "vq_tokenizer", "data.codes.path"),
            "vq_tokenizer",
        ),
        Part(
            "bsq_tokenizer",
            "image_tokenizer",
            "photographs128",
            overrides=lambda folders: [*_captioned(folders), f"evaluation.data.path={folders.kodak}"],
            data="photographs",
        ),
        Part(
            "infinity",
            "infinity",
            "photographs128",
            ("bsq_tokenizer",),
            lambda folders: [*_captioned(folders), f"companions.tokenizer={folders.model('bsq_tokenizer')}"],
            "bsq_tokenizer",
            data="photographs",
        ),
        Part(
            "emoji_tokenizer",
            "image_tokenizer",
            "emoji",
            overrides=lambda folders: [f"data.path={folders.emoji}"],
            data="emoji",
        ),
        Part(
            "emoji_codes",
            "image_codes",
            "emoji",
            ("emoji_tokenizer",),
            _codes("emoji_tokenizer", None, "emoji"),
            data="emoji",
        ),
        Part(
            "emoji_llamagen",
            "llamagen",
            "emoji",
            ("emoji_codes",),
            _generator("emoji_codes", "emoji_tokenizer", "data.codes.path"),
            "emoji_tokenizer",
            data="emoji",
        ),
    )
}


def part(name: str) -> Part:
    """The part of that name.

    Raises:
        DataError: there is none.
    """
    if name not in PARTS:
        raise DataError(f"there is no part {name!r}: give one of {', '.join(PARTS)}")
    return PARTS[name]
