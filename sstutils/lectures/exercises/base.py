"""What an exercise is: a task, a model answer, hints, properties of a right answer, and the mistakes that are known.

``check`` tells whether an answer is right by its properties, on random cases. If one of them fails, the answer is
compared with every known mistake: if it behaves like one of them on all cases, the message of that mistake is shown,
else the message of the property; and with it the smallest case in which the answer is wrong. Whatever a student hands
in, the reply is a sentence and never a traceback.
"""

from __future__ import annotations

import copy
import html
import inspect
import io
import re
import traceback
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CORRECT, WRONG, NOT_ATTEMPTED = "correct", "wrong", "not attempted"
_LOOK = {CORRECT: ("✓", "#0072b2"), WRONG: ("✗", "#c04f00")}  # Okabe and Ito: blue, vermilion
_PLAIN = ("○", "#5f6570")

EXERCISES: dict[str, Exercise] = {}
"""All exercises by name, filled by `exercise`."""


# ---------------------------------------------------------------------------------------------------------------------
# The blank
# ---------------------------------------------------------------------------------------------------------------------
class BlankLeft(Exception):
    """A blank was used where Python insists on a value, or is what an answer still holds."""


class Blank:
    """A place that the student has to fill. Whatever is computed from a blank is a blank."""

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "____"

    def __getattr__(self, name: str) -> Blank:
        if name.startswith("_"):  # what Python and Jupyter ask every object for
            raise AttributeError(name)
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def _stay(self, *args: Any, **kwargs: Any) -> Blank:
        return self

    def _refuse(self, *args: Any) -> None:
        raise BlankLeft("the blank ____ has no value yet")


_STAY = (
    "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift divmod "
    "radd rsub rmul rtruediv rfloordiv rmod rpow rmatmul rand ror rxor rlshift rrshift rdivmod "
    "neg pos abs invert round eq ne lt le gt ge getitem call array_ufunc array_function"
)
for _name in _STAY.split():
    setattr(Blank, f"__{_name}__", Blank._stay)
for _name in "iter len bool int float complex index contains".split():  # noqa: SIM905
    setattr(Blank, f"__{_name}__", Blank._refuse)

____ = Blank()


def _has_blank(value: Any) -> bool:
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel().tolist()
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return any(_has_blank(item) for item in value)
    return isinstance(value, Blank)


def _mentions_blank(code: types.CodeType) -> bool:
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return "____" in code.co_names + code.co_freevars or any(_mentions_blank(part) for part in inner)


# ---------------------------------------------------------------------------------------------------------------------
# Replies
# ---------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, repr=False)
class Outcome:
    """A reply to the student, shown as HTML in a notebook and as text elsewhere; true if the answer is correct.

    Parameters
    ----------
    status : str
        "correct", "wrong" or "not attempted"; of a hint, which of how many it is.
    message : str
        One or a few sentences; code is in backticks.
    code : str
        Shown below, as it is.
    example : str
        Shown below: a case in which the answer is wrong.
    """

    status: str
    message: str
    code: str = ""
    example: str = field(default="", compare=False)

    def __bool__(self) -> bool:
        return self.status == CORRECT

    def __repr__(self) -> str:
        mark, _ = _LOOK.get(self.status, _PLAIN)
        return "\n\n".join(filter(None, [f"{mark} {self.status}: {self.message}", self.code, self.example]))

    def _repr_html_(self) -> str:
        mark, colour = _LOOK.get(self.status, _PLAIN)
        message = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(self.message, quote=False))
        code = "".join(
            f'<pre tabindex="0" style="margin:8px 0 0;overflow-x:auto">{html.escape(part)}</pre>'
            for part in filter(None, [self.code, self.example])
        )
        # the text has the colour of the page, light or dark; only the badge and the border have their own
        return (
            f'<div class="sst-outcome" role="status" style="border-left:4px solid {colour};padding:4px 12px;'
            f'margin:8px 0;max-width:75ch;line-height:1.5;color:inherit;background:none">'
            f'<strong style="background:{colour};color:#fff;border-radius:4px;padding:1px 8px;margin-right:8px;'
            f'white-space:nowrap"><span aria-hidden="true">{mark}</span> {self.status}</strong>{message}{code}</div>'
        )


class _Told(Exception):
    """Ends a check with a sentence."""


# ---------------------------------------------------------------------------------------------------------------------
# Reading what a function returned
# ---------------------------------------------------------------------------------------------------------------------
def values(result: Any) -> Any:
    """Return a result as one float array, or as a list of such where its parts differ in shape.

    Lists, tuples, sets, numbers, arrays and tensors all count. Anything else ends the check with a sentence.
    """
    if isinstance(result, str | bytes):
        raise _Told("Your function returned text. It should return numbers: leave out the quotes and `str`.")
    if result is None:
        raise _Told("Part of what your function returned is nothing (`None`) instead of a number.")
    if isinstance(result, dict):
        raise _Told("Your function returned a dictionary. It should return just the numbers that the task asks for.")
    if inspect.iscoroutine(result):
        result.close()
        raise _Told("Your function is `async`, so it returned a coroutine instead of numbers. Write just `def`.")
    if hasattr(result, "__next__"):
        raise _Told(
            "Your function returned an iterator (from `yield`, `map`, `zip`, or a `for` in parentheses), which "
            "has not computed anything yet. Collect its values, for example with `list(...)`, and return those."
        )
    if callable(result):
        raise _Told(
            "Your function returned a function instead of numbers. "
            "Perhaps parentheses are missing after a name: `x.sum` is a function, `x.sum()` is its value."
        )
    if hasattr(result, "detach"):  # a torch tensor; torch itself is not imported here
        result = result.detach().cpu()
    if isinstance(result, set | frozenset):
        try:
            result = sorted(result)
        except TypeError:  # what cannot be put in order is not made of numbers; said below
            result = list(result)
    if isinstance(result, list | tuple):
        parts = [values(item) for item in result]
        alike = all(isinstance(part, np.ndarray) for part in parts) and len({part.shape for part in parts}) == 1
        return np.stack(parts) if alike else parts or np.zeros(0)
    try:
        array = np.asarray(result)
        if array.dtype.kind in "UScMm":
            raise TypeError
        return array.astype(float)
    except (TypeError, ValueError, OverflowError):
        kind = type(result).__name__
        raise _Told(f"Your function returned something that is not made of plain numbers (a `{kind}`).") from None


def same(x: Any, y: Any) -> bool:
    """Tell whether two results of `values` are equal, up to rounding in float32."""
    if isinstance(x, list) or isinstance(y, list):
        return type(x) is type(y) and len(x) == len(y) and all(map(same, x, y))
    # two empty results are equal, whether of shape (0,) or (0, 2)
    return x.size == y.size == 0 or (x.shape == y.shape and near(x, y))


def near(x: Any, y: Any, tolerance: float = 1e-4) -> bool:
    """Tell whether two arrays are equal up to a relative and a tenth of it as absolute tolerance."""
    return bool(np.allclose(x, y, rtol=tolerance, atol=tolerance / 10, equal_nan=True))


def _form(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)} parts of different shapes"
    return f"an array of shape {value.shape}" if value.shape else "a single number"


def _finite(value: Any) -> bool:
    return all(map(_finite, value)) if isinstance(value, list) else bool(np.isfinite(value).all())


def _differ(before: Any, after: Any) -> bool:
    if hasattr(before, "detach"):  # a tensor
        before, after = before.detach().numpy(), after.detach().numpy()
    if isinstance(before, np.ndarray):
        return not np.array_equal(before, after, equal_nan=before.dtype.kind == "f")
    if isinstance(before, int | float):
        return before != after
    return isinstance(before, list) and (len(before) != len(after) or any(map(_differ, before, after)))


def _error(error: BaseException) -> str:
    line = traceback.format_exception_only(type(error), error)[0].strip().splitlines()[0]
    line = re.sub(r" at 0x[0-9a-fA-F]+", "", line).replace("`", "'")
    return line if len(line) <= 200 else line[:199] + "…"


_ADVICE = {
    "NameError": "A name is not known: check its spelling, and whether the cells above have been run.",
    "RecursionError": "It calls itself without end.",
    "ZeroDivisionError": "Think about what you divide by, and when that is zero.",
    "IndexError": "Think about how long each array is: the last index is one less than the length.",
    "Tensor": (
        "The inputs are numpy arrays, and torch takes tensors: use numpy's function of that name, or `torch.tensor(x)`."
    ),
    "'numpy[.]|'(float|int|list|tuple)' object has no attribute": (
        "Check the name behind the dot: arrays of numpy have other methods than tensors of torch, and lists have fewer."
    ),
    "truth value|only .*(scalar|length|size|dimension)": (
        "`if`, `and`, `max` and the functions of `math` take single numbers; for a whole array there are `np.where`, "
        "`&`, `np.maximum` and `np.exp`."
    ),
    "1-dimensional|inhomogeneous": (
        "`np.where(...)` gives a tuple, with the array that you may want as its first part: `np.where(...)[0]`."
    ),
    "larger sample": (
        "There are not that many to draw from. What is the `len` of what you draw from: is it a small cluster, or a "
        "tuple with the array in it, as `np.where(...)` gives?"
    ),
    "broadcast|mismatch|not aligned|same shape|size of tensor": (
        "Print the shapes of both, and say what each axis counts: which of them should match?"
    ),
}
"""What to say beside an error, by what is found in it."""


# ---------------------------------------------------------------------------------------------------------------------
# The exercise
# ---------------------------------------------------------------------------------------------------------------------
@dataclass(eq=False, repr=False)
class Exercise:
    """An exercise that checks itself.

    Parameters
    ----------
    model : callable
        The model answer; a plain function, whose name and parameters are those of the exercise.
    task : str
        What to do, in a sentence or two.
    hints : sequence of str
        From a nudge to nearly the answer.
    cases : callable
        From a `numpy.random.Generator` to a list of tuples of arguments.
    properties : mapping of str to callable
        What a right answer fulfils in every case; called with a function that asks the student's answer, and the case.
        Each stands behind what is said where it fails.
    mistakes : mapping of str to callable
        Typical wrong answers, each behind what is said of it.
    praise : str
        What a right answer has shown.
    small : sequence of tuple
        Cases that fit in a line, the simplest first: an answer that is wrong is shown on one of them.
    view : callable, optional
        From a result and the arguments of its case to what is compared; for results with several right forms.
    unique : bool
        Whether all right answers give the same result, so that at last it is compared with that of the model answer.
    """

    model: Callable[..., Any]
    task: str
    hints: Sequence[str] = ()
    cases: Callable[[np.random.Generator], Iterable[tuple]] = lambda rng: []
    properties: Mapping[str, Callable[..., bool]] = field(default_factory=dict)
    mistakes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    praise: str = ""
    small: Sequence[tuple] = ()
    view: Callable[..., Any] | None = None
    unique: bool = True
    _given: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """Name of the exercise, which is that of the function to write."""
        return self.model.__name__

    @property
    def source(self) -> str:
        """Source code of the model answer."""
        return inspect.getsource(self.model).rstrip()

    @property
    def parameters(self) -> list[str]:
        """Names of the inputs."""
        return list(inspect.signature(self.model).parameters)

    @property
    def signature(self) -> str:
        """How the function is called, such as ``sst_logit(a, p, n)``."""
        return f"{self.name}({', '.join(self.parameters)})"

    def __repr__(self) -> str:
        return f"exercise {self.signature}: {self.task}"

    def check(self, answer: Any, seed: int = 0) -> Outcome:
        """Tell whether an answer is correct, and if not, what it does.

        What the answer prints is not shown, because it is called many times.

        Parameters
        ----------
        answer : callable
            The student's function.
        seed : int
            Of the random cases.

        Returns
        -------
        Outcome
        """
        cases: list[tuple] = []
        try:
            self._check_function(answer)
            cases = list(self.cases(np.random.default_rng(seed)))
            results = [self._result(answer, case) for case in cases]
            failure, tried = self._failure(answer, cases, results)
            if failure is None:
                return Outcome(CORRECT, self.praise or "your function has every property that was tried.")
            for message, mistake in self.mistakes.items():
                if all(same(self._result(mistake, case), result) for case, result in zip(cases, results)):
                    failure = message
                    break
            return Outcome(WRONG, failure, example=self._example(answer, [*cases, *tried]))
        except BlankLeft:
            advice = "Replace the blank `____` by your answer, run the cell again, and it will be checked."
            return Outcome(NOT_ATTEMPTED, f"{self.task} {advice}")
        except _Told as told:
            return Outcome(WRONG, str(told), example=self._example(answer, cases))

    def hint(self) -> Outcome:
        """Give one more hint, each time it is called."""
        count = len(self.hints)
        if self._given == count:
            return Outcome("no more hints", f"`sst.exercises.{self.name}.solution()` shows a model answer.")
        self._given += 1
        return Outcome(f"hint {self._given} of {count}", self.hints[self._given - 1])

    def solution(self) -> Outcome:
        """Show a model answer."""
        return Outcome("solution", "one way to write it; yours may differ and be just as good.", self.source)

    # What is called below may end the check by `_Told` or `BlankLeft`.

    def _check_function(self, answer: Any) -> None:
        if _has_blank(answer) or answer is Ellipsis:
            raise BlankLeft
        if not callable(answer) or inspect.isclass(answer):
            kind = type(answer).__name__
            raise _Told(
                f"`check` was given {'an' if kind[0] in 'aeiou' else 'a'} `{kind}`, and needs your function itself: "
                f"write `check({self.name})`, with no parentheses after the name."
            )
        inner = inspect.unwrap(answer)
        inner = getattr(inner, "func", inner)  # functools.partial
        defaults = getattr(inner, "__defaults__", None) or ()
        code = getattr(inner, "__code__", None)
        if _has_blank(defaults) or (code is not None and _mentions_blank(code)):
            raise BlankLeft
        try:
            signature = inspect.signature(answer)
        except (TypeError, ValueError):  # some functions written in C do not tell
            return
        try:
            signature.bind(*self.parameters)
        except TypeError:
            taken, needed = _inputs(list(signature.parameters)), _inputs(self.parameters)
            raise _Told(
                f"Your function takes {taken}, but it will be called with {needed}: "
                f"the line should read `def {self.signature}`, with a colon at the end."
            ) from None

    def _ask(self, answer: Callable[..., Any], case: tuple) -> Any:
        """Call an answer with a copy of the arguments, and return its result as `values`."""
        given = copy.deepcopy(case)
        try:
            result = _quietly(answer, given)
        except (BlankLeft, NotImplementedError):
            raise BlankLeft from None
        except (Exception, SystemExit) as error:
            kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
            advice = next((f" {text}" for sign, text in _ADVICE.items() if re.search(sign, f"{kinds} {error}")), "")
            raise _Told(f"Your function stopped with `{_error(error)}` when it was called.{advice}") from None
        if _has_blank(result) or result is Ellipsis:
            raise BlankLeft
        for name, before, after in zip(self.parameters, case, given):
            if _differ(before, after):
                raise _Told(
                    f"Your function changes `{name}`, which belongs to its caller. "
                    f"Compute something new from it, or work on a copy: `{name}.copy()`."
                )
        if result is None:
            raise _Told(
                "Your function returned nothing (`None`). "
                "Each way through it must end in a line with `return` and the result."
            )
        return values(result)

    def _result(self, answer: Callable[..., Any], case: tuple) -> Any:
        """Return what is compared of an answer: its result, or the `view` of it."""
        result = self._ask(answer, case)
        if self.view is None:
            return result
        try:
            return values(self.view(result, *case))
        except (TypeError, ValueError, IndexError, OverflowError):
            raise _Told(
                f"Your function returned {_form(result)}, which is not of the form that the task asks for."
            ) from None

    def _failure(self, answer: Callable[..., Any], cases: list[tuple], results: list) -> tuple[str | None, list[tuple]]:
        """Return what to say of an answer that is not right (None if it is), and the cases of the failed property."""
        tried: list[tuple] = []

        def ask(*case: Any) -> Any:
            tried.append(copy.deepcopy(case))
            return self._ask(answer, case)

        ask.answer = answer  # for a property that wants more than numbers
        wanted = [self._result(self.model, case) for case in cases]
        if self.view is None:
            for got, want in zip(results, wanted):
                if isinstance(got, list) or isinstance(want, list):
                    odd = type(got) is not type(want) or len(got) != len(want)
                else:
                    odd = got.shape != want.shape and not got.size == want.size == 0
                if odd:
                    return f"Your function returned {_form(got)}, and the task asks for {_form(want)}.", []
                if not _finite(got) and _finite(want):
                    return (
                        "Your function returned `nan` or `inf` where an ordinary number belongs. Look for a division "
                        "by zero, a logarithm or root of something that is not positive, or an `exp` of a big number."
                    ), []
        for message, holds in self.properties.items():
            for case in cases:
                tried.clear()
                if not _true(holds, ask, *copy.deepcopy(case)):
                    return message, tried
        if self.unique and not all(map(same, results, wanted)):
            return (
                "Your answer has the properties that were tried, but not the right value everywhere. "
                "Work out a small example by hand, step by step as the task says, and compare."
            ), []
        return None, []

    def _example(self, answer: Any, cases: list[tuple]) -> str:
        """Tell the smallest case in which an answer is wrong: what it is given, what it returns, and what is right."""
        if not callable(answer):
            return ""
        for case in [*self.small, *sorted(cases, key=lambda case: len(repr(case)))]:
            given, right = copy.deepcopy(case), self.model(*copy.deepcopy(case))
            try:
                if same(self._result(answer, case), self._result(self.model, case)):
                    continue
            except BlankLeft:
                continue
            except _Told:
                pass
            lines = list(zip(self.parameters, map(_show, case)))
            try:
                lines.append(("your result", _show(_quietly(answer, given))))
            except (Exception, SystemExit) as error:
                lines.append(("your result", _error(error)))
            lines.append(("the right one" if self.unique else "a right one", _show(right)))
            changed = [(name, z) for name, x, z in zip(self.parameters, case, given) if _differ(x, z)]
            lines += [(f"{name} afterwards", _show(z)) for name, z in changed]
            width = max(len(name) for name, _ in lines) + 3
            return "\n".join(f"{name:{width - 3}} = {text}".replace("\n", "\n" + width * " ") for name, text in lines)
        return ""


def _true(holds: Callable[..., bool], *args: Any) -> bool:
    try:
        return bool(holds(*args))
    except (_Told, BlankLeft):
        raise
    except Exception:  # a result of the wrong form, in a case that only this property tries
        return False


def _quietly(answer: Callable[..., Any], given: tuple) -> Any:
    """Call an answer; what it prints, and the warnings of numpy, are not shown."""
    with np.errstate(all="ignore"), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return answer(*given)


def _show(value: Any) -> str:
    """Write an argument or a result as a student would write it on paper: a few digits, no dtype."""
    if isinstance(value, np.random.Generator):
        return "a random generator"
    if inspect.iscoroutine(value):
        value.close()
        return "a coroutine"
    if callable(value):
        return (value.__doc__ or "a function").removeprefix("Return ").rstrip(".")
    if isinstance(value, list | tuple):
        text = ", ".join(map(_show, value))
        return f"[{text}]" if isinstance(value, list) else f"({text})"
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, float | np.ndarray | np.number):
        digits = {"float_kind": lambda x: f"{x:.4g}"}
        return np.array2string(np.asarray(value), separator=", ", threshold=60, formatter=digits)
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"


def _inputs(names: list[str]) -> str:
    if not names:
        return "no inputs"
    return f"{len(names)} input{'s' * (len(names) > 1)} ({', '.join(f'`{name}`' for name in names)})"


def exercise(model: Callable[..., Any], **parts: Any) -> None:
    """Make an `Exercise` of a model answer and its other parts, and enter it in `EXERCISES`."""
    EXERCISES[model.__name__] = Exercise(model, **parts)
