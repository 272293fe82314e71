"""Self-contained HTML that replays which token was fixed in which forward pass."""

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from ar_core.errors import DataError

if TYPE_CHECKING:
    from ar_core.decoding import Decoded

__all__ = ["Pass", "Replay", "Scene", "fragment", "pieces", "render", "replay_of"]


@dataclass(frozen=True)
class Pass:
    """One forward pass of one row.

    Attributes:
        phase: what the pass was for (prefill, step, verify, denoise, commit).
        positions: generated positions it fixed, 0 = first generated token; empty for a pass that only stores.
        confidences: the decoder's confidence in each, or nothing.
    """

    phase: str
    positions: tuple[int, ...]
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True)
class Replay:
    """One method's generation of one prompt."""

    name: str
    """Of the method."""
    tokens: tuple[str, ...]
    """The generated tokens as text."""
    passes: tuple[Pass, ...]
    """In order."""


@dataclass(frozen=True)
class Scene:
    """One prompt and the methods shown beside each other."""

    title: str
    """Its heading."""
    prompt: str
    """As text."""
    replays: tuple[Replay, ...]
    """One of each method."""

    def _repr_html_(self) -> str:
        return fragment([self], element_id=f"replay-{id(self):x}")


def pieces(decode: Callable[[list[int]], str], ids: Sequence[int]) -> tuple[str, ...]:
    """The text that each token adds, so that the pieces joined are the decoded text.

    A token that ends inside a character adds nothing; the token that completes the character adds it.
    """
    shown, texts = "", []
    for end in range(1, len(ids) + 1):
        text = decode(list(ids[:end]))
        if end < len(ids) and text.endswith("\ufffd"):
            texts.append("")
            continue
        texts.append(text[len(shown) :])
        shown = text
    return tuple(texts)


def replay_of(name: str, decoded: "Decoded", decode: Callable[[list[int]], str]) -> Replay:
    """The replay of a prompt that was decoded alone, with ``trace=True``.

    Args:
        name: what the pane is called.
        decoded: output of any decoder.
        decode: ids to text.

    Raises:
        DataError: the output has no trace, or more than one row, whose passes could not be told apart.
    """
    if decoded.trace is None or len(decoded.tokens) != 1:
        raise DataError(
            f"a replay was asked for of {len(decoded.tokens)} rows {'without' if decoded.trace is None else 'with'} a "
            "trace; decode one prompt with trace=True."
        )
    tokens = decoded.tokens[0]
    entries = {entry["pass"]: entry for entry in decoded.trace.to_list()}
    passes = []
    for number in range(decoded.stats.nfe):
        entry = entries.get(number)
        if entry is None:
            passes.append(Pass("stores only", ()))
            continue
        # A stop token is fixed like any other, but is no part of the output.
        shown = [(at, sure) for at, sure in zip(entry["positions"], entry["confidences"]) if at < len(tokens)]
        passes.append(Pass(entry["phase"], tuple(at for at, _ in shown), tuple(sure for _, sure in shown)))
    return Replay(name, pieces(decode, tokens), tuple(passes))


def fragment(
    scenes: Sequence[Scene], *, element_id: str = "replay", speed: float = 4.0, whole_page: bool = False
) -> str:
    """A ``<section>`` to put into any page: styles, data and script inside, nothing loaded from elsewhere.

    Args:
        scenes: at least one; with several, the reader picks.
        element_id: unique in the page.
        speed: passes a second, at first; the reader changes it.
        whole_page: keys work wherever the page has its focus; else inside the section.

    Raises:
        DataError: no scene was given.
    """
    if not scenes:
        raise DataError(
            "a replay was asked for without a scene, but at least one is needed; pass one prompt and its traces."
        )
    data = json.dumps([asdict(scene) for scene in scenes], ensure_ascii=False).replace("<", "\\u003c")
    return _template("replay.html").substitute(
        id=html.escape(element_id), data=data, speed=f"{speed:g}", keys="page" if whole_page else "section"
    )


def render(
    scenes: Sequence[Scene], *, title: str = "Decoding, pass by pass", subtitle: str = "", speed: float = 4.0
) -> str:
    """A whole HTML page around :func:`fragment`, with a table of passes; its content security policy forbids any request.

    Args:
        scenes, speed: see `fragment`.
        title: its heading.
        subtitle: a line below; what was decoded by what.

    Raises:
        DataError: no scene was given.
    """
    return _template("replay_page.html").substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        replay=fragment(scenes, speed=speed, whole_page=True),
        rows="\n".join(_row(scene, replay) for scene in scenes for replay in scene.replays),
    )


def _row(scene: Scene, replay: Replay) -> str:
    tokens, passes = len(replay.tokens), len(replay.passes)
    cells = (replay.name, str(tokens), str(passes), f"{tokens / passes:.2f}" if passes else "")
    figures = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{html.escape(scene.title)}</th>{figures}</tr>'


def _template(name: str) -> Template:
    return Template(files("ar_decode").joinpath(name).read_text(encoding="utf-8"))
