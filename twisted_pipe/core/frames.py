"""Errors, and the frames that they have gone through."""

from __future__ import annotations

from traceback import clear_frames

__all__ = ["forget_locals"]


def forget_locals(error: BaseException | None) -> None:
    """
    Clear the frames of C{error} and of what has caused it: they would keep views of lent memory alive as long as the error is
    kept. Its traceback stays readable.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
