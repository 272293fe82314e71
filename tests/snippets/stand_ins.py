"""Small things in the place of what pages name: checkpoints, data, pictures. Made once for all workers, when a page first asks for them."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from ar_core.io.lock import lock_file

from .image_stand_ins import IMAGE_STAND_INS
from .places import PLACES
from .text_stand_ins import TEXT_STAND_INS

__all__ = ["StandIns"]

BUILDERS: dict[str, Callable[["StandIns", Path], None]] = {**TEXT_STAND_INS, **IMAGE_STAND_INS}


class StandIns:
    """What has been made so far.

    Args:
        home: folder that all workers share.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def of(self, name: str) -> Path:
        """Where a stand-in is; it is made if no worker has made it yet."""
        done = self.home / f"{name}.done"
        if not done.exists():
            done.parent.mkdir(parents=True, exist_ok=True)
            with (self.home / f"{name}.lock").open("w") as lock:
                lock_file(lock, wait=True)
                if not done.exists():
                    BUILDERS[name](self, self.home / name)
                    done.touch()
        return self.home / name

    def place(self, page: str, text: str, folder: Path) -> None:
        """Copy everything that a block names, and that is not there, into the folder that it runs in.

        Pages write over what they name (``questions.jsonl``), so that a link would change it for the others.
        """
        for place in PLACES:
            if place.page and not re.search(place.page, page):
                continue
            if re.search(place.named, text):
                for where, name in place.holds.items():
                    target = folder / where
                    if not target.exists():
                        target.parent.mkdir(parents=True, exist_ok=True)
                        made, _, inside = name.partition("/")
                        source = self.of(made) / inside
                        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
