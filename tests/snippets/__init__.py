"""Runs every fenced block of the READMEs and of the docs; `tests/test_snippets.py` calls it page by page.

A page is run in a scratch folder that holds nothing but stand-ins for what its commands name (`stand_ins.py`). Its blocks say by their
language what happens with them:

- ``python`` is executed, all blocks of a page in one namespace.
- ``bash`` is executed command by command (`commands.py`), by the rules of `rules.py`: as written, with overrides that make it short, or,
  where a rule gives the reason, only resolved (`programs.py` says for each program what that is).
- ``text`` right behind one of these, with nothing between, is what that block prints. ``...`` stands for anything.
- ``text`` elsewhere is a drawing or a formula. ``yaml``, ``json`` and ``toml`` are parsed.

Comments of HTML right above a fence say more:

- ``<!-- file: NAME -->`` writes the block to the scratch folder, for the commands behind it.
- ``<!-- numbers vary -->`` compares an output but for its numbers, such as those of a clock.
- ``<!-- not compared: REASON -->`` leaves an output alone.
- ``<!-- typed: LINE -->`` is what is typed where a command of the block asks.
- ``<!-- not run: REASON -->`` has a ``python`` block compiled and not executed.
"""
