"""Which token was fixed in which forward pass, played in a terminal."""

import time
from collections.abc import Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .replay import Replay, Scene

__all__ = ["frame", "play", "transcript"]

TINTS = ("cyan", "green", "yellow", "magenta", "red", "blue")
SIDE_BY_SIDE = 100
"""Columns of a terminal from which replays stand beside each other."""


def play(scenes: Sequence[Scene], console: Console, *, speed: float) -> None:
    """Show all scenes, one after the other; on what is no terminal, write them as :func:`transcript` does.

    Args:
        scenes: what to show.
        console: where.
        speed: passes a second, > 0.
    """
    if not console.is_terminal:
        for line in transcript(scenes):
            console.print(line, soft_wrap=True)
        return
    for scene in scenes:
        last = max(len(replay.passes) for replay in scene.replays)
        with Live(frame(scene, 0, console.width), console=console, auto_refresh=False) as live:
            for step in range(1, last + 1):
                time.sleep(1 / speed)
                live.update(frame(scene, step, console.width), refresh=True)


def frame(scene: Scene, step: int, width: int) -> Group:
    """A scene after so many passes.

    Tokens fixed by the current pass are inverted, those of earlier ones tinted by their pass, others are dots.

    Args:
        scene: prompt and replays.
        step: passes done, in all replays at once.
        width: of the terminal, in characters.
    """
    panes = [_pane(replay, step) for replay in scene.replays]
    table = Table.grid(padding=(0, 1), expand=True)
    across = len(panes) if width >= SIDE_BY_SIDE else 1
    for _ in range(across):
        table.add_column(ratio=1)
    for start in range(0, len(panes), across):
        table.add_row(*panes[start : start + across])
    return Group(Text(scene.prompt, style="dim", overflow="ellipsis", no_wrap=True), table)


def _pane(replay: Replay, step: int) -> Panel:
    fixed = {position: number for number, one in enumerate(replay.passes, start=1) for position in one.positions}
    text = Text()
    for position, token in enumerate(replay.tokens):
        when = fixed.get(position, len(replay.passes) + 1)
        if when > step:
            text.append("".join("·" if one.isprintable() else one for one in token), "dim")
        else:
            text.append(token, "reverse bold" if when == step else TINTS[when % len(TINTS)])
    done = min(step, len(replay.passes))
    known = sum(when <= done for when in fixed.values())
    phase = replay.passes[done - 1].phase if done else "not begun"
    state = phase if done == step else "finished"
    return Panel(
        text,
        title=f"{replay.name} · pass {done}/{len(replay.passes)} · {state}",
        subtitle=f"{known}/{len(replay.tokens)} tokens" + (f", {known / done:.2f} a pass" if done else ""),
        title_align="left",
        subtitle_align="left",
        border_style="bright_black" if done < step else "none",
    )


def transcript(scenes: Sequence[Scene]) -> Iterator[str]:
    """The same in lines: what each pass of each replay fixed."""
    for scene in scenes:
        yield f"prompt: {scene.prompt!r}"
        for replay in scene.replays:
            total = len(replay.passes)
            yield f"{replay.name}: {len(replay.tokens)} tokens in {total} passes"
            for number, one in enumerate(replay.passes, start=1):
                shown = "".join(replay.tokens[at] for at in sorted(one.positions))
                sure = [f"{value:.2f}" for value in one.confidences]
                told = ", ".join(f"{at}" for at in sorted(one.positions)) or "none"
                end = f" (confidence {' '.join(sure)})" if sure else ""
                yield f"  {number:>{len(str(total))}} {one.phase}: positions {told}: {shown!r}{end}"
