"""Exercises on a step of training and what drives it."""

import math

import numpy as np

from .base import exercise, near
from .cases import sigmoid


def mean_loss(z):
    """Return the triplet loss of a batch, max(0, z) averaged over all its triplets."""
    return np.maximum(z, 0).mean()


exercise(
    mean_loss,
    task=(
        "z = d2(a, p) + margin - d2(a, n) is given for all triplets of a batch. Return the triplet loss of the batch: "
        "max(0, z), averaged over all triplets, those of zero loss included."
    ),
    hints=(
        "First the loss of each triplet, then the mean: the order matters.",
        "`np.maximum(z, 0)` compares each number with zero; the built-in `max` does not work on arrays.",
        "The mean is over all triplets: satisfied ones have no loss, but they count.",
    ),
    praise="satisfied triplets count with a loss of zero, so the loss falls as more of them are satisfied.",
    cases=lambda rng: [(rng.normal(shift, 1.5, size=size),) for size in (40, 25, 60) for shift in (-0.7, 0.4)],
    small=[(np.array([-2.0, 1, 4]),)],
    properties={
        "The loss of a batch is a mean of losses, none of them negative; yours is negative.": lambda f, z: f(z) >= 0,
        "If no triplet has a loss, the loss of the batch is zero; yours is not.": lambda f, z: near(
            f(-np.abs(z) - 1), 0
        ),
        "If all triplets have a loss, there is nothing to cut off, "
        "and the loss is the mean of z; yours is not.": lambda f, z: near(f(np.abs(z)), np.abs(z).mean()),
        "Each triplet counted twice leaves the mean as it is, but it changes yours.": lambda f, z: near(
            f(np.tile(z, 2)), f(z)
        ),
        "As many satisfied triplets again should halve the loss of the batch; they do not halve yours.": lambda f, z: (
            near(f(np.concatenate([z, -np.abs(z) - 1])), f(z) / 2)
        ),
        "Three times every z is three times the loss; not so with yours.": lambda f, z: near(f(3 * z), 3 * f(z)),
    },
    mistakes={
        "You take the mean over the active triplets only. Many implementations do; but then the loss stays up "
        "although more and more triplets are satisfied. How many triplets are in the batch?": lambda z: z[z > 0].mean(),
        "You return the sum. It grows with the number of triplets, and so would the steps of training. "
        "What makes batches of different size comparable?": lambda z: np.maximum(z, 0).sum(),
        "You average z itself. Triplets that are far beyond the margin then pay for the bad ones. "
        "What should happen below zero?": lambda z: z.mean(),
        "You average first and cut off at zero after. One very good triplet can hide a bad one this way: "
        "in which order do `max` and `mean` belong?": lambda z: max(0, z.mean()),
        "You average log(1 + exp(z)), the SST form of the loss. "
        "Here the triplet loss is asked for: how does it treat a negative z?": lambda z: np.logaddexp(0, z).mean(),
        "You take absolute values, so triplets far beyond the margin are punished as well. "
        "What is the loss of a satisfied triplet?": lambda z: np.abs(z).mean(),
        "You return the share of active triplets. It says how many have a loss, not how large it is.": lambda z: (
            np.mean(z > 0)
        ),
        "You keep the negative part of z. Of z and 0, does the loss take the larger or the smaller?": lambda z: (
            np.minimum(z, 0).mean()
        ),
        "You square the losses. That is a loss, too, but another one: bad triplets would dominate it.": lambda z: (
            np.maximum(z, 0) ** 2
        ).mean(),
        "You return the loss of each triplet. That is right so far; what makes one number of them?": lambda z: (
            np.maximum(z, 0)
        ),
    },
)


def share_that_matters(z, at):
    """Return the share of triplets whose weight, sigmoid(z), is above a threshold."""
    return np.mean(1 / (1 + np.exp(-z)) > at)


exercise(
    share_that_matters,
    task=(
        "The gradient of an SST triplet has the weight s = sigmoid(z). From an array of z, return the share of "
        "triplets (from 0 to 1) with a weight above `at`."
    ),
    hints=(
        "The sigmoid is 1 / (1 + exp(-z)); it works on the whole array.",
        "Compare the weights with `at`: that gives True or False for each triplet.",
        "The mean of True and False is the share of True.",
    ),
    praise="at 0.5 it is just the share of triplets inside the sphere z = 0.",
    cases=lambda rng: [(rng.normal(0.4, 2, size=size), at) for size in (150, 201) for at in (0.1, 0.3, 0.6, 0.9)],
    small=[(np.array([-3.0, -1, 2]), 0.1), (np.array([-3.0, 0.2, 2]), 0.6)],
    properties={
        "A share is a number from 0 to 1, and yours is not.": lambda f, z, at: 0 <= f(z, at) <= 1,
        "Every weight is above 0, so the share above 0 should be 1; yours is not.": lambda f, z, at: f(z, 0.0) == 1,
        "No weight is above 1, so the share above 1 should be 0; yours is not.": lambda f, z, at: f(z, 1.0) == 0,
        "The sigmoid is above one half where z is positive. "
        "Your share above 0.5 is not the share of positive z.": lambda f, z, at: near(f(z, 0.5), np.mean(z > 0)),
        "sigmoid(-z) is 1 - sigmoid(z): so the shares of z above `at` and of -z above 1 - `at` should add up to 1. "
        "Yours do not.": lambda f, z, at: near(f(z, at) + f(-z, 1 - at), 1),
        "Fewer triplets should pass a higher threshold, but not so with yours.": lambda f, z, at: f(z, 0.2) > f(z, 0.8),
    },
    mistakes={
        "You compare z itself with the threshold. "
        "z can be any number; what turns it into a weight from 0 to 1?": lambda z, at: np.mean(z > at),
        "You return the share below the threshold. Which triplets have a gradient worth mentioning: "
        "those of large or of small weight?": lambda z, at: np.mean(sigmoid(z) <= at),
        "The sign of z is wrong inside your sigmoid: your weights are large for good triplets. "
        "Is the sigmoid of a large z near 0 or near 1?": lambda z, at: np.mean(sigmoid(-z) > at),
        "You return how many triplets matter. "
        "To compare batches of different size, you need how many of what?": lambda z, at: np.sum(sigmoid(z) > at),
        "You return the mean weight, whatever the threshold is. "
        "That is a fair summary, but how many weights are above `at`?": lambda z, at: sigmoid(z).mean(),
        "You compare the loss, log(1 + exp(z)), with the threshold. "
        "The weight of a gradient is not the loss but its slope.": lambda z, at: np.mean(np.logaddexp(0, z) > at),
        "You return a percentage. What range does the task ask for?": lambda z, at: 100 * np.mean(sigmoid(z) > at),
        "You return True or False for each triplet. How do these become one number?": lambda z, at: sigmoid(z) > at,
        "You count the triplets with positive z, whatever the threshold is. "
        "For which one of all thresholds is that the same?": lambda z, at: np.mean(z > 0),
        "You return how much of the total weight the heavy triplets carry. That is a share as well, "
        "but here each triplet counts the same.": lambda z, at: sigmoid(z)[sigmoid(z) > at].sum() / sigmoid(z).sum(),
        "Your weights are exp(z), without the division that keeps them below 1. "
        "What does a sigmoid do with large z?": lambda z, at: np.mean(np.exp(z) > at),
    },
)


def sgd_step(x, gradient, lr):
    """Return x after a step of gradient descent."""
    return x - lr * gradient


exercise(
    sgd_step,
    task=(
        "Return x after one step of gradient descent with learning rate lr. Leave x itself as it is: return something "
        "new."
    ),
    hints=(
        "The gradient points to where the loss rises fastest. Where do you want to go?",
        "The learning rate says how long the step is, as a multiple of the gradient.",
        "The step is added to x. `x -= ...` would change the array of the caller, `x - ...` makes a new one.",
    ),
    praise="downhill, in proportion to the gradient, and x of the caller is untouched.",
    cases=lambda rng: [
        (rng.normal(size=shape), rng.normal(size=shape), lr) for shape in ((3,), (4, 2), (1,)) for lr in (0.1, 0.7)
    ],
    small=[(np.array([1.0, 2]), np.array([2.0, -1]), 0.1)],
    properties={
        "With learning rate 0, nothing should move; yours does.": lambda f, x, g, lr: near(f(x, g, 0.0), x),
        "Where the gradient is zero, nothing should move; yours does.": lambda f, x, g, lr: near(f(x, 0 * g, lr), x),
        "The way that x goes depends on the gradient, not on where x is; not so with yours.": lambda f, x, g, lr: near(
            f(x + 1, g, lr) - f(x, g, lr), 1
        ),
        "Twice the learning rate should go twice as far; not so with yours.": lambda f, x, g, lr: near(
            f(x, g, 2 * lr) - x, 2 * (f(x, g, lr) - x)
        ),
        "Twice the gradient should go twice as far; not so with yours.": lambda f, x, g, lr: near(
            f(x, 2 * g, lr) - x, 2 * (f(x, g, lr) - x)
        ),
        "On the bowl |x|^2 / 2, whose gradient is x, a step of rate 0.1 should bring you nearer to the middle, "
        "by a tenth of the way; not so with yours.": lambda f, x, g, lr: near(f(x, x, 0.1), 0.9 * x),
    },
    mistakes={
        "You go uphill: the loss will grow. "
        "A step forward sounds like adding; but where does the gradient point?": lambda x, g, lr: x + lr * g,
        "Your step is the whole gradient, whatever the learning rate is. "
        "On most losses that is far too long.": lambda x, g, lr: x - g,
        "You return the step, not where it leads to. From where does it start?": lambda x, g, lr: -lr * g,
        "You divide by the learning rate, so that a small one makes an enormous step. "
        "What should a learning rate of zero do?": lambda x, g, lr: x - g / lr,
        "You shrink x and forget the gradient. "
        "That is what weight decay does; which way does the loss want x to go?": lambda x, g, lr: x - lr * x,
        "You use only the sign of the gradient: each coordinate moves by the same amount. Some optimisers do that; "
        "plain descent goes farther where it is steeper.": lambda x, g, lr: x - lr * np.sign(g),
        "You divide the gradient by its length, so all your steps are equally long. Near a minimum "
        "the gradient is small: what should the step be?": lambda x, g, lr: x - lr * g / math.sqrt((g**2).sum()),
        "You multiply x by the learning rate as well. "
        "A bracket is in the wrong place: what does lr belong to?": lambda x, g, lr: lr * (x - g),
        "You move all coordinates by the mean of the gradient. "
        "Each coordinate has a slope of its own.": lambda x, g, lr: x - lr * g.mean(),
        "x and the gradient have changed places: you move the gradient along x. "
        "Which one is the position?": lambda x, g, lr: g - lr * x,
    },
)


def training_loop(w, batches, gradient, score, lr, epochs):
    """Return the weights after the epoch with the best score."""
    best, highest = None, -np.inf
    for _ in range(epochs):
        for batch in batches:
            w = w - lr * gradient(w, batch)
        if score(w) > highest:
            best, highest = w, score(w)
    return best


def _epochs(w, batches, gradient, lr, epochs):
    """Return the weights after each epoch."""
    after = []
    for _ in range(epochs):
        for batch in batches:
            w = w - lr * gradient(w, batch)
        after.append(w)
    return after


def _chosen(choose, **changes):
    """Return a loop that chooses ``choose(weights after each epoch, their scores)``."""

    def loop(w, batches, gradient, score, lr, epochs):
        given = {"w": w, "batches": batches, "gradient": gradient, "lr": lr, "epochs": epochs}
        after = _epochs(**given | {name: change(given) for name, change in changes.items()})
        return choose(after, np.array([score(x) for x in after]))

    return loop


def _best(after, scores):
    return after[scores.argmax()]


def _runs(rng):
    """Return cases whose best epoch is neither the first nor the last: from there on the fit is too close."""
    cases = []
    while len(cases) < 5:
        w, target, batches = rng.normal(size=2), rng.normal(size=2), list(rng.normal(size=(3, 4, 2)))

        def gradient(w, batch):
            """Return w - batch.mean(0), the gradient of a parabola."""
            return w - batch.mean(0)

        def score(w, target=target):
            """Return minus the squared distance of w from weights that are good on held-out classes."""
            return -((w - target) ** 2).sum()

        scores = [score(x) for x in _epochs(w, batches, gradient, 0.1, 6)]
        if 1 < np.argmax(scores) < 5 and np.argmin(scores) == 5 * (len(cases) % 2):
            cases.append((w, batches, gradient, score, 0.1, 6))
    return cases


def _toward(w, batch):
    """Return w - batch."""
    return w - batch


def _near_one(w):
    """Return -|w - 1|."""
    return -np.abs(w - 1).sum()


exercise(
    training_loop,
    task=(
        "Write a training loop. In each epoch go through the batches in their order, and for each take a step of "
        "gradient descent, with gradient(w, batch) and the learning rate lr. After each epoch ask score(w), which is "
        "the higher the better (Recall@1 of held-out classes, say). Return the w of the epoch with the highest score."
    ),
    hints=(
        "Two loops, one inside the other: epochs, and in each of them batches. w is carried on from step to step.",
        "`w = w - lr * gradient(w, batch)` makes a new array; `w -= ...` would change the one that was given.",
        "Before the loop begin with `highest = -np.inf`; after each epoch keep w if its score is higher.",
    ),
    praise="the loop of every training: steps, epochs, and the choice of an epoch by classes that are held out.",
    cases=_runs,
    small=[
        (np.array([0.0]), [np.array([1.0]), np.array([2.0])], _toward, _near_one, 0.5, 3),
        (np.array([0.0]), [np.array([2.0])], _toward, _near_one, 0.25, 4),
    ],
    properties={
        "With learning rate 0 nothing moves: the weights are those of the start. "
        "Yours are not.": lambda f, w, b, g, s, lr, n: near(f(w, b, g, s, 0.0, n), w),
        "With one epoch there is no choice: the weights are those after a step for each batch. "
        "Yours are not.": lambda f, w, b, g, s, lr, n: near(f(w, b, g, s, lr, 1), _epochs(w, b, g, lr, 1)[0]),
        "If each epoch is better than the last, the last is the best; "
        "you return another.": lambda f, w, b, g, s, lr, n: near(
            *(loop(w, b, g, lambda x: ((x - w) ** 2).sum(), lr, 4) for loop in (f, training_loop))
        ),
        "The weights that you return are not those of the epoch with the highest score.": lambda f, w, b, g, s, lr, n: (
            near(s(f(w, b, g, s, lr, n)), max(map(s, _epochs(w, b, g, lr, n))))
        ),
    },
    mistakes={
        "You return the weights of the last epoch. It is the closest fit to the training data: "
        "was it the best on the others?": _chosen(lambda after, scores: after[-1]),
        "You return the weights of the lowest score. Is a high score good or bad?": _chosen(
            lambda after, scores: after[scores.argmin()]
        ),
        "You return the highest score. What is asked for is the weights that earned it.": _chosen(
            lambda after, scores: scores.max()
        ),
        "You return the number of the best epoch. What were the weights then?": _chosen(
            lambda after, scores: scores.argmax()
        ),
        "You return the weights from before the best epoch: you keep w, and then train on. "
        "When is the score asked for?": _chosen(lambda after, scores: after[scores.argmax() - 1]),
        "You climb: the loss rises with each step. Where does the gradient point?": _chosen(
            _best, lr=lambda given: -given["lr"]
        ),
        "Your steps are the whole gradient, whatever the learning rate is.": _chosen(_best, lr=lambda given: 1.0),
        "You take one step per epoch, with the first batch. The others are never seen.": _chosen(
            _best, batches=lambda given: given["batches"][:1]
        ),
        "You go through the batches backwards. In which order do they come?": _chosen(
            _best, batches=lambda given: given["batches"][::-1]
        ),
        "You begin each epoch with the first weights, so that there is only one epoch, again and again. "
        "What is carried on?": _chosen(_best, epochs=lambda given: 1),
    },
)
