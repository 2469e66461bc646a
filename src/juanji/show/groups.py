"""Filters that repeat one another up to a turn, as letters beside their numbers."""

from __future__ import annotations

from collections.abc import Iterable

from juanji.inside.spectra import Turn


def lettered(turns: Iterable[Turn]) -> dict[int, str]:
    """For every filter that has a likeness the letter of its group, and how far it is turned from the group's first, if it is.

    Each filter joins the one that it is most like, pairs taken from the most alike on.

    >>> lettered([Turn(3, 8, 90.0, 0.9), Turn(8, 1, 45.0, 0.8), Turn(5, 6, 0.0, 0.8)])
    {3: 'A', 8: 'A 90°', 1: 'A 135°', 5: 'B', 6: 'B'}
    """
    group: dict[int, tuple[int, float]] = {}  # by filter: the group's first, and the turn from it
    for pair in turns:
        known = [number for number in (pair.first, pair.second) if number in group]
        if not known:
            group[pair.first] = (pair.first, 0.0)
        if len(known) < 2:
            old, new, turn = (pair.first, pair.second, pair.turn) if pair.second not in group else (pair.second, pair.first, -pair.turn)
            first, before = group[old]
            group[new] = (first, (before + turn) % 180)
    letters: dict[int, str] = {}
    for first, _ in group.values():
        letters.setdefault(first, _letter(len(letters)))
    return {number: letters[first] + (f" {turn:g}°" if turn else "") for number, (first, turn) in group.items()}


def _letter(number: int) -> str:
    """A … Z, then AA, AB …"""
    rest, last = divmod(number, 26)
    return (_letter(rest - 1) if rest else "") + chr(ord("A") + last)
