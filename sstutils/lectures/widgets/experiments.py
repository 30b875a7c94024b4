"""The experiments of the playground: a question to commit to, the settings that answer it, and what was seen.

Each claim (``shows``) is checked by a test that trains over five seeds, in a browser, and asks for four of five. A row
of measurements is step, epoch, triplets, loss, Recall@1 of training and of unseen classes, share that matters, overlap
and spread; see :data:`COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS = ("step", "epoch", "terms", "loss", "recall", "unseen", "matters", "overlap", "spread")

Row = Mapping[str, float]


@dataclass(frozen=True)
class Experiment:
    """A question about training, and the two runs (or the one) that answer it.

    Attributes
    ----------
    name, title, question : str
    options : sequence of str
    answer : int
        The right option.
    feedback : mapping of int to str
        What to say of a wrong one.
    because : str
    settings : mapping
        Of run A, where they differ from the usual ones.
    rival : mapping or None
        What is different in run B; None if there is no run B.
    steps : int
    shows : callable
        From the rows of A and of B (the same as A if there is none) and the batches of A's first and last epoch to
        whether the claim holds.
    """

    name: str
    title: str
    question: str
    options: Sequence[str]
    answer: int
    because: str
    settings: Mapping[str, Any]
    steps: int
    shows: Callable[[list[Row], list[Row], tuple[int, int]], bool]
    rival: Mapping[str, Any] | None = None
    feedback: Mapping[int, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return what the page needs."""
        names = ("name", "title", "question", "answer", "because", "steps")
        feedback = {str(number): text for number, text in self.feedback.items()}
        more = {"options": list(self.options), "settings": dict(self.settings), "feedback": feedback}
        return {name: getattr(self, name) for name in names} | more | {"rival": self.rival and dict(self.rival)}


def at_epoch(rows: Sequence[Row], epoch: float) -> Row:
    """Return the last measurement up to an epoch."""
    return [row for row in rows if row["epoch"] <= epoch + 1e-9][-1]


_SPHERE = {"data": "digits", "dim": 3, "normalize": True, "sampler": "balanced", "B": 70}

EXPERIMENTS = (
    Experiment(
        name="margin-too-small",
        title="A margin that is too small",
        question="Digits on a sphere, triplet loss. The two runs differ only in the margin: 0.3 (A) and 0.01 (B). "
        "Where does B end up?",
        options=(
            "Where A does: it just takes a little longer",
            "With classes barely apart, and hardly a triplet left that matters",
            "Collapsed, with all points in one place",
        ),
        answer=1,
        feedback={
            0: "More time does not help: triplets that do not matter have no gradient.",
            2: "Even a small margin demands some distance.",
        },
        because="A negative only has to be farther away than the positive by 0.01. As soon as it is, its triplet is "
        "inactive, and B runs out of gradient with less than half of A's spread. Its Recall@1 on the training classes "
        "is high all the same: they are in the right order, but with no room to spare.",
        settings={**_SPHERE, "loss": "triplet", "margin": 0.3},
        rival={"margin": 0.01},
        steps=200,
        shows=lambda a, b, _: b[-1]["matters"] < 0.05 and b[-1]["spread"] < 0.5 * a[-1]["spread"],
    ),
    Experiment(
        name="margin-too-large",
        title="A margin that is too large",
        question="Digits on a sphere, where no squared distance exceeds 4, and the triplet loss. Margins: 0.3 (A) and "
        "3 (B). Where does B end up?",
        options=(
            "Ahead of A: its classes are farther apart",
            "At rest, like A: in the end, few triplets matter",
            "Never at rest, and with a lower Recall@1 than A",
        ),
        answer=2,
        feedback={
            0: "Seven classes cannot all lie opposite one another.",
            1: "For that, any two classes would have to lie almost opposite each other.",
        },
        because="No arrangement of seven classes can meet this demand. Most triplets stay active with full weight, and "
        "keep pulling until some class lies on top of another; the loss remains far above zero. A's triplets are "
        "satisfied, and come to rest.",
        settings={**_SPHERE, "loss": "triplet", "margin": 0.3},
        rival={"margin": 3},
        steps=300,
        shows=lambda a, b, _: (
            b[-1]["matters"] > 0.5 and a[-1]["matters"] < 0.05 and b[-1]["recall"] < a[-1]["recall"] - 0.1
        ),
    ),
    Experiment(
        name="no-scale",
        title="SST without a scale",
        question="SST has no margin. With embeddings of unit length, its only dial is the scale: 3 (A) and 1 (B). "
        "What happens to B's loss?",
        options=(
            "It falls to zero, as A's does",
            "It stalls far above zero, and most triplets keep their weight",
            "It stays at log 2: nothing is learned",
        ),
        answer=1,
        feedback={
            0: "On the unit sphere, z cannot fall far below zero.",
            2: "It does learn: look at Recall@1.",
        },
        because="Classes spread over the unit sphere have squared distances of about 2.3, so z ends near −2.3 and the "
        "weight s = sigmoid(z) near 0.1, however good the order is. A scale of c multiplies z by c², just as a "
        "temperature of 1/c² would. Do not conclude too much: on these digits, Recall@1 is as good in B as in A.",
        settings={**_SPHERE, "loss": "sst", "scale": 3},
        rival={"scale": 1},
        steps=300,
        shows=lambda a, b, _: (
            b[-1]["loss"] > 0.1
            and b[-1]["matters"] > 0.5
            and a[-1]["loss"] < 0.01
            and a[-1]["matters"] < 0.02
            and abs(a[-1]["recall"] - b[-1]["recall"]) < 0.02
        ),
    ),
    Experiment(
        name="untrained-neighborhoods",
        title="Neighborhoods of an untrained network",
        question="Digits, triplet loss, batches of 50. A uses neighborhoods from the very first step; B uses "
        "class-balanced batches for five epochs. After 60 steps, which has the higher Recall@1 on training classes?",
        options=("A: hard negatives from the start", "B: class-balanced batches first", "Neither: they are equal"),
        answer=1,
        feedback={
            0: "At first, near does not mean alike: the network has learned nothing yet.",
            2: "Their batches contain different classes, and that matters.",
        },
        because="The neighborhoods of an untrained network are accidental, and leave out whatever is far away: a step "
        "in one neighborhood undoes what was gained in another. Class-balanced batches see the whole picture. Press "
        "Play again: at epoch 5, B switches to neighborhoods too, and usually falls back for a while. (With SST the "
        "difference is small. Try it.)",
        settings={"data": "digits", "dim": 3, "normalize": True, "loss": "triplet", "margin": 0.3, "B": 50},
        rival={"warmup": 5},
        steps=60,
        shows=lambda a, b, _: b[-1]["recall"] > a[-1]["recall"] + 0.03,
    ),
    Experiment(
        name="one-class",
        title="Neighborhoods that hold one class",
        question="Digits, neighborhoods of 10. In the first epoch, more than 40 of them contain several classes and "
        "become batches. How many batches does an epoch have after 300 steps?",
        options=("About as many", "Fewer than half as many", "More, and harder ones"),
        answer=1,
        feedback={0: "As the classes come together, neighborhoods become pure.", 2: "Harder, yes, but fewer."},
        because="Once the classes have come together, most neighborhoods of ten contain one class only: no negative, "
        "no triplet, nothing to learn. They are skipped, and an epoch shrinks to the steps at the borders between "
        "classes. Train long enough, and none is left.",
        settings={"data": "digits", "dim": 3, "B": 10},
        steps=300,
        shows=lambda a, b, batches: batches[0] > 40 and batches[1] < batches[0] / 2,
    ),
    Experiment(
        name="equal-steps",
        title="Small batches, equal numbers of steps",
        question="Letters, SST, class-balanced batches of 20 (A) and 200 (B), 200 steps each. "
        "Which ends with the higher Recall@1 on the training classes?",
        options=(
            "A: small batches generalise better",
            "B: it sees more images",
            "Neither: only the number of steps counts",
        ),
        answer=1,
        feedback={
            0: "After equally many steps, A has seen a tenth of the images.",
            2: "Each of B's steps averages over ten times as many images.",
        },
        because="With equally many steps, B sees ten times as many images. Now plot the curves against epochs: at "
        "epoch 5, when both have seen the same number of images, A is ahead, because it has taken ten times as many "
        "steps. Which batch size is better depends on what is held equal.",
        settings={"data": "letters", "dim": 16, "sampler": "balanced", "B": 20},
        rival={"B": 200},
        steps=200,
        shows=lambda a, b, _: (
            b[-1]["recall"] > a[-1]["recall"] + 0.03
            and at_epoch(a, 5)["recall"] > at_epoch(b, 5)["recall"]
            and at_epoch(b, 5)["epoch"] == at_epoch(a, 5)["epoch"]
        ),
    ),
)
