"""Exercises that check themselves: ``sst.exercises.sst_logit.check(sst_logit)``.

A cell of a notebook has a function with a blank ``____`` in it. Each exercise offers ``check(function)``, ``hint()``
(one more each time), ``solution()`` and ``task``; see `Exercise`. They are sorted by idea into modules, and all of them
are attributes of this package. Nothing here needs torch, so that a notebook opens at once.

The model answers are plain functions: what they take is said by the task of their exercise.
"""

from __future__ import annotations

from difflib import get_close_matches

from . import distances, gradients, losses, maps, retrieval, sampling, statistics, training  # noqa: F401
from .base import EXERCISES, Exercise, Outcome, ____

__all__ = ["EXERCISES", "Exercise", "Outcome", "____", *sorted(EXERCISES)]


def __getattr__(name: str) -> Exercise:
    if name in EXERCISES:
        return EXERCISES[name]
    match = get_close_matches(name, EXERCISES, n=1)
    advice = f"did you mean {match[0]!r}?" if match else f"there are {', '.join(EXERCISES)}"
    raise AttributeError(f"there is no exercise {name!r}; {advice}")


def __dir__() -> list[str]:
    return __all__
