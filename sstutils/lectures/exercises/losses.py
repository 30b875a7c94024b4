"""Exercises on the two losses and their geometry."""

import math

import numpy as np

from .base import exercise, near
from .cases import apart, batch, d2, line, logit, sigmoid, triples, turn, vectors


def _above_log2(losses):
    """Return the mean over the losses of triplets with z > 0."""
    return losses[losses > math.log(2)].mean() if (losses > math.log(2)).any() else 0.0


def _separate(x, labels):
    """Return points (N, 2) near the corner of a triangle that belongs to their label 0, 1 or 2."""
    return x / 10 + 5 * x.new_tensor([[0, 0], [1, 0], [0, 1]])[labels]


def triplet_loss(a, p, n, margin):
    """Return the triplet loss of one triplet."""
    d_ap = ((a - p) ** 2).sum()
    d_an = ((a - n) ** 2).sum()
    return max(0, d_ap + margin - d_an)


exercise(
    triplet_loss,
    task=(
        "Return the triplet loss of one anchor a, positive p and negative n (vectors): it asks that the negative is "
        "farther from the anchor than the positive, by a margin, all in squared distances."
    ),
    hints=(
        "You need two squared distances: from the anchor to the positive, and from the anchor to the negative.",
        "The loss grows with the distance to the positive and falls with the distance to the negative. "
        "The margin is how much farther the negative has to be.",
        "Below zero there is nothing left to gain, so the loss stops at zero: `max(0, ...)`.",
    ),
    praise="never negative, zero for a far negative, blind to where the origin is: a triplet loss as it should be.",
    cases=lambda rng: [(*triple, margin) for triple in triples(rng, 0.8) for margin in (0.2, 1.5)],
    small=[
        (*vectors((0, 0), (2, 0), (1, 0)), 1.0),
        (*vectors((0, 0), (1, 0), (0, 3)), 1.0),
        (*vectors((0, 0), (2, 0), (2, 1)), 2.0),
    ],
    properties={
        "A loss is never negative, but yours is for some triplets.": lambda f, a, p, n, m: f(a, p, n, m) >= 0,
        "With the negative far away nothing is left to gain: "
        "the loss should be zero, and yours is not.": lambda f, a, p, n, m: near(f(a, p, a + 100, m), 0),
        "If all three points coincide, the loss should be just the margin, and yours is not.": lambda f, a, p, n, m: (
            near(f(a, a, a, m), m)
        ),
        "With the negative on the anchor and no margin, "
        "the squared distance of a and p should be left.": lambda f, a, p, n, m: near(f(a, p, a, 0.0), d2(a, p)),
        "Moving all three points by the same step should not change the loss, "
        "but it changes yours.": lambda f, a, p, n, m: near(f(a + 3, p + 3, n + 3, m), f(a, p, n, m)),
        "Only its distance from the anchor counts for the negative: mirrored "
        "at the anchor it should cost the same.": lambda f, a, p, n, m: near(f(a, p, 2 * a - n, m), f(a, p, n, m)),
        "Squared distances grow by 4 when all points move twice as far apart; with 4 times the margin, "
        "so should the loss.": lambda f, a, p, n, m: near(f(2 * a, 2 * p, 2 * n, 4 * m), 4 * f(a, p, n, m)),
    },
    mistakes={
        "Your loss is small when the negative is near and the positive is far. "
        "With two differences to write, it is easy to swap them. "
        "Which distance should training make smaller?": lambda a, p, n, m: max(0, d2(a, n) + m - d2(a, p)),
        "Your loss uses plain distances. "
        "That is what one would measure with a ruler, but this loss is defined on squared ones: which step of "
        "the formula did a square root undo?": lambda a, p, n, m: max(0, math.sqrt(d2(a, p)) + m - math.sqrt(d2(a, n))),
        "The margin makes no difference to your loss. "
        "It still runs and looks right, but a negative that is farther than the positive by a hair costs nothing. "
        "Where does the margin enter?": lambda a, p, n, m: max(0, d2(a, p) - d2(a, n)),
        "A larger margin makes your loss smaller. Subtracting feels natural for a safety distance; "
        "but should a stricter demand cost more, or less?": lambda a, p, n, m: max(0, d2(a, p) - m - d2(a, n)),
        "Your loss becomes negative when the negative is far away, so training would push it away forever. "
        "The sum is right; what should happen once the demand is met?": lambda a, p, n, m: d2(a, p) + m - d2(a, n),
        "You add the margin after cutting off at zero, so your loss never falls below the margin. Is the margin "
        "part of the demand that is cut off, or paid on top of it?": lambda a, p, n, m: max(0, d2(a, p) - d2(a, n)) + m,
        "Your loss measures the negative from the positive. "
        "The two points are close to each other, so this is easily overlooked. From "
        "which point does the triplet loss measure both distances?": lambda a, p, n, m: max(0, d2(a, p) + m - d2(p, n)),
        "You return one number for each coordinate. "
        "Squaring a difference of vectors works coordinate by coordinate; what is "
        "missing before it is a squared distance?": lambda a, p, n, m: np.maximum(0, (a - p) ** 2 + m - (a - n) ** 2),
        "Your squared distances are means over the coordinates. "
        "`mean` and `sum` look alike here, but by Pythagoras, how "
        "do the squares of the sides combine?": lambda a, p, n, m: max(0, d2(a, p) / len(a) + m - d2(a, n) / len(a)),
        "Your loss is zero where it should be positive, and negative where it should be zero: "
        "it keeps the wrong side of zero. Read `min` and `max` aloud: "
        "the larger of which two numbers?": lambda a, p, n, m: min(0, d2(a, p) + m - d2(a, n)),
    },
)


def hinge_radius(a, p, margin):
    """Return the radius around the anchor inside which a negative is pushed."""
    return np.sqrt(((a - p) ** 2).sum() + margin)


exercise(
    hinge_radius,
    task=(
        "The triplet loss of a, p and n is above zero while n is inside a sphere around the anchor. "
        "Return the radius of that sphere, from a, p and the margin."
    ),
    hints=(
        "On the sphere the loss just reaches zero. Write down that equation.",
        "Solve d2(a, p) + margin - d2(a, n) = 0 for the distance of a and n.",
        "The equation gives the squared distance of a and n. A radius is a plain distance.",
    ),
    praise="a negative at this distance from the anchor costs exactly nothing; one step closer, and it is pushed.",
    cases=lambda rng: [(a, p, margin) for a, p, _ in triples(rng) for margin in (0.2, 1.7)],
    small=[(*vectors((0, 0), (3, 4)), 11.0), (*vectors((0, 0), (1, 0)), 3.0)],
    properties={
        "A negative at the distance that you return should have d2(a, p) + margin - d2(a, n) = 0. Put your radius "
        "in for the distance of a and n, and see what is left.": lambda f, a, p, m: near(d2(a, p) + m, f(a, p, m) ** 2),
        "Without a margin, the sphere goes through the positive; yours does not.": lambda f, a, p, m: near(
            f(a, p, 0.0), math.sqrt(d2(a, p))
        ),
        "A larger margin should push negatives from farther away, "
        "but your radius does not grow with it.": lambda f, a, p, m: f(a, p, m + 1) > f(a, p, m),
    },
    mistakes={
        "You return the square of the radius. The loss speaks in squared distances, so its edge comes out squared. "
        "What would you set a pair of compasses to?": lambda a, p, m: d2(a, p) + m,
        "Your sphere goes through the positive whatever the margin is. The picture without a margin is the easier one "
        "to remember. How much farther does the margin ask the negative to be?": lambda a, p, m: math.sqrt(d2(a, p)),
        "You add the margin to the plain distance. It looks like a ring of that width around the positive, but "
        "the margin is added in the loss: to a distance, or to its square?": lambda a, p, m: math.sqrt(d2(a, p)) + m,
        "Your sphere shrinks when the margin grows, and may have no radius at all. A sign was lost "
        "when a term changed sides: solve the equation of the edge once more.": lambda a, p, m: np.sqrt(d2(a, p) - m),
        "You add the margin to the plain distance and take the root of that. One square root too many has crept in: "
        "which of your terms are squared already?": lambda a, p, m: math.sqrt(math.sqrt(d2(a, p)) + m),
        "You return twice the radius. A sphere is easily measured from side to side; "
        "from where does a radius start?": lambda a, p, m: 2 * math.sqrt(d2(a, p) + m),
        "You return half the radius. The sphere z = 0 of SST sits at the midpoint, "
        "but around which point does the triplet loss measure?": lambda a, p, m: math.sqrt(d2(a, p) + m) / 2,
        "You return one number for each coordinate. A radius is a single number: what happens to the "
        "squared differences of the coordinates before the margin is added?": lambda a, p, m: np.sqrt((a - p) ** 2 + m),
        "You take the roots of the two terms one by one and add them. The "
        "root of a sum is not the sum of the roots: try 9 and 16.": lambda a, p, m: math.sqrt(d2(a, p)) + math.sqrt(m),
        "You square the margin. In a formula full of squares that seems right, but look at how the margin stands "
        "in the loss: is it in units of distance or of squared distance?": lambda a, p, m: math.sqrt(d2(a, p) + m**2),
    },
)


def active_share(d_ap, d_an, margin):
    """Return the share of triplets that have a loss above zero."""
    return np.mean(d_ap + margin - d_an > 0)


exercise(
    active_share,
    task=(
        "For many triplets, d_ap and d_an are arrays of squared distances. Return the share of triplets, from 0 to 1, "
        "whose triplet loss is above zero."
    ),
    hints=(
        "First find for each triplet whether its loss is above zero: an array of True and False.",
        "A triplet is active if d_ap + margin is larger than d_an.",
        "The mean of True and False is the share of True.",
    ),
    praise="only these triplets have a gradient; watch how their share falls while a network trains.",
    cases=lambda rng: [
        (rng.gamma(2, size=count), rng.gamma(3, size=count), margin) for count in (40, 61) for margin in (0.2, 1.0, 2.5)
    ],
    small=[(np.array([1.0, 1, 3, 3]), np.array([1.5, 4, 3.5, 2]), 1.0), (np.array([0.5, 2]), np.array([0.8, 4]), 0.4)],
    properties={
        "A share is a number from 0 to 1, and yours is not.": lambda f, x, y, m: 0 <= f(x, y, m) <= 1,
        "With an enormous margin every triplet is active: "
        "the share should be 1, and yours is not.": lambda f, x, y, m: f(x, y, 1e6) == 1,
        "With negatives very far away no triplet is active: "
        "the share should be 0, and yours is not.": lambda f, x, y, m: f(x, y + 1e6, m) == 0,
        "Every triplet counted twice leaves the share as it is, but it changes yours.": lambda f, x, y, m: near(
            f(np.tile(x, 2), np.tile(y, 2), m), f(x, y, m)
        ),
        "Adding the same number to both distances of a triplet changes no loss, "
        "but it changes your share.": lambda f, x, y, m: near(f(x + 1, y + 1, m), f(x, y, m)),
        "Of the four triplets with d_ap = 1, 1, 3, 3, d_an = 1.5, 4, 3.5, 2 and margin 1, "
        "three have a loss above zero. You get a different share: work "
        "them out one by one.": lambda f, x, y, m: f(np.array([1.0, 1, 3, 3]), np.array([1.5, 4, 3.5, 2]), 1.0) == 0.75,
    },
    mistakes={
        "You return the share of triplets that are satisfied. They are often the ones of interest in the end, but "
        "here the others are asked for: which side of zero has a gradient?": lambda x, y, m: np.mean(x + m - y <= 0),
        "Your share does not depend on the margin. You count the triplets whose negative is closer than the positive. "
        "Are there triplets in the right order that still have a loss?": lambda x, y, m: np.mean(x - y > 0),
        "You return how many triplets are active. A count cannot be compared between batches of different size: "
        "share of what?": lambda x, y, m: np.sum(x + m - y > 0),
        "You return the mean loss. It is built from the same numbers, but says how much is left, "
        "not for how many triplets. What is there to count?": lambda x, y, m: np.maximum(x + m - y, 0).mean(),
        "With a larger margin you find fewer active triplets. Is a triplet easier or "
        "harder to satisfy if more is demanded? Check the sign of the margin.": lambda x, y, m: np.mean(x - m - y > 0),
        "You have the two distances swapped: you count where the negative is far. The formula "
        "reads the same from both ends; which of the two should be small?": lambda x, y, m: np.mean(y + m - x > 0),
        "You square the distances once more. The name d_ap does not show it, "
        "but what does the task say that the arrays hold?": lambda x, y, m: np.mean(x**2 + m - y**2 > 0),
        "You take square roots first. The order of two distances survives a root; but does a "
        "difference of at least the margin survive it, too?": lambda x, y, m: np.mean(np.sqrt(x) + m - np.sqrt(y) > 0),
        "You return a percentage. That is good on a slide, but what range does the task ask for?": lambda x, y, m: (
            100 * np.mean(x + m - y > 0)
        ),
        "You return True or False for each triplet. "
        "That is more than half of the way: how do these become one number?": lambda x, y, m: x + m - y > 0,
        "You count only the triplets that are in the right order and within the margin (called semi-hard). "
        "What about those in the wrong order: is their loss zero?": lambda x, y, m: np.mean((x + m - y > 0) & (x < y)),
    },
)


def sst_logit(a, p, n):
    """Return z, the argument of the SST loss."""
    d_ap = ((a - p) ** 2).sum()
    d_an = ((a - n) ** 2).sum()
    d_pn = ((p - n) ** 2).sum()
    return d_ap - (d_an + d_pn) / 2


exercise(
    sst_logit,
    task=(
        "Return z of the SST loss for vectors a, p and n: the squared distance of anchor and positive, "
        "less the mean of the squared distances of the negative to both."
    ),
    hints=(
        "There are three pairs among three points, so you need three squared distances.",
        "`((a - p) ** 2).sum()` is the squared distance of a and p.",
        "Take the mean of the two distances to the negative first, in brackets, then subtract it.",
    ),
    praise="symmetric in a and p, unchanged by shifts and rotations, zero on a sphere around the midpoint.",
    cases=triples,
    small=[tuple(vectors((0, 0), (2, 0), (0, 1))), tuple(vectors((0, 0), (1, 0), (3, 0)))],
    properties={
        "Swapping anchor and positive should not change z: that is the S for symmetric in SST. "
        "It changes yours.": lambda f, a, p, n: near(f(a, p, n), f(p, a, n)),
        "Moving all three points by the same step should not change z, but it changes yours.": lambda f, a, p, n: near(
            f(a + 3, p + 3, n + 3), f(a, p, n)
        ),
        "Turning the whole space should not change z, but it changes yours.": lambda f, a, p, n: near(
            f(*turn(a, p, n)), f(a, p, n)
        ),
        "With all points twice as far apart, squared distances are 4 times as large, and so should z be. "
        "Yours grows by a different factor.": lambda f, a, p, n: near(f(2 * a, 2 * p, 2 * n), 4 * f(a, p, n)),
        "If anchor and positive coincide, z should "
        "be minus the squared distance to the negative; yours is not.": lambda f, a, p, n: near(f(a, a, n), -d2(a, n)),
        "If the negative sits on the anchor, z should "
        "be half the squared distance of a and p; yours is not.": lambda f, a, p, n: near(f(a, p, a), d2(a, p) / 2),
    },
    mistakes={
        "Your z has the opposite sign: it is large where the negative is far. Thinking of a score, "
        "that is natural, but z goes into a loss: when should that be large?": lambda a, p, n: -logit(a, p, n),
        "You subtract the sum of the two distances to the negative. They then weigh twice as much as the distance "
        "to the positive. What makes one distance out of two?": lambda a, p, n: d2(a, p) - (d2(a, n) + d2(p, n)),
        "You measure the negative from the anchor only, as the triplet loss does. What would swapping "
        "anchor and positive do to your z, and what does *symmetric* promise?": lambda a, p, n: d2(a, p) - d2(a, n),
        "You measure the negative from the positive only. "
        "Each of the two has a distance to the negative: which one is missing?": lambda a, p, n: d2(a, p) - d2(p, n),
        "You use plain distances. They are what a ruler shows, but here all three are squared. Is there a root or "
        "a norm in your answer?": lambda a, p, n: math.sqrt(d2(a, p)) - (math.sqrt(d2(a, n)) + math.sqrt(d2(p, n))) / 2,
        "You halve all three distances. The bracket has slipped: "
        "which of the three terms belong to the mean?": lambda a, p, n: (d2(a, p) - d2(a, n) - d2(p, n)) / 2,
        "One of your distances to the negative is added instead of subtracted, and only that one is halved. "
        "Python divides before it adds: where are brackets needed?": lambda a, p, n: d2(a, p) - d2(a, n) + d2(p, n) / 2,
        "You return one number for each coordinate. `(a - p) ** 2` is a vector; "
        "what turns it into a squared distance?": lambda a, p, n: (a - p) ** 2 - ((a - n) ** 2 + (p - n) ** 2) / 2,
        "You measure the negative from the midpoint of a and p. "
        "That is close: the mean of two squared distances is the squared distance from the midpoint, "
        "plus something that depends on a and p. What?": lambda a, p, n: d2(a, p) - d2(n, (a + p) / 2),
        "You take the mean of the plain distances and then square it. Squaring last gives a different number from "
        "squaring first: try 1 and 3.": lambda a, p, n: (
            d2(a, p) - ((math.sqrt(d2(a, n)) + math.sqrt(d2(p, n))) / 2) ** 2
        ),
        "You return the loss, log(1 + exp(z)), one step further than asked. "
        "What is its argument alone?": lambda a, p, n: np.logaddexp(0, logit(a, p, n)),
    },
)


def sst_loss(z):
    """Return log(1 + exp(z)) without overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


exercise(
    sst_loss,
    task=(
        "Return log(1 + exp(z)) for each number of the array z. It has to work for every z, even for 1000 or a "
        "million, where exp(z) is infinite."
    ),
    hints=(
        "exp(1000) overflows, but exp(-1000) is harmless: it is 0. How can a big z be kept out of exp?",
        "Take exp(z) out of the bracket: log(1 + exp(z)) = z + log(1 + exp(-z)). Which form is good for which z?",
        "One formula for both signs uses the larger of z and 0, and exp(-|z|). numpy also has `np.logaddexp`.",
    ),
    praise="log 2 at zero, a straight line for large z, and no overflow even at a million.",
    cases=lambda rng: [
        (rng.normal(scale=3, size=9),),
        (rng.uniform(-20, 20, size=(3, 4)),),
        (np.array([-1e6, -1000.0, -40, 0, 40, 1000, 1e6]),),
    ],
    small=[(np.array([-1.0, 0, 1]),), (np.array([-1000.0, 1000]),)],
    properties={
        "The loss is never negative, but yours is.": lambda f, z: (f(z) >= 0).all(),
        "At z = 0 the loss should be log 2, about 0.693; yours is not.": lambda f, z: near(f(np.zeros(3)), math.log(2)),
        "For large z the 1 no longer matters, and the loss should be nearly z itself; yours is not.": lambda f, z: near(
            f(np.array([50.0, 1e4, 1e6])), [50, 1e4, 1e6]
        ),
        "For z far below zero the loss should fade to 0; yours does not.": lambda f, z: near(
            f(np.array([-50.0, -1e4])), 0
        ),
        "The loss of z less the loss of -z should be z itself (why?); yours is not.": lambda f, z: near(
            f(z) - f(-z), z
        ),
        "A greater z should always cost more, but not so with yours.": lambda f, z: (
            np.diff(f(np.linspace(-5, 5, 50))) > 0
        ).all(),
    },
    mistakes={
        "Right for small z, but infinite from about 710 on, because exp(z) overflows there. "
        "It is the formula as it stands in the text; "
        "how can you rewrite it so that exp never sees a large number?": lambda z: np.log(1 + np.exp(z)),
        "You return the sigmoid of z. It is the slope of this loss, and so always near it in the text. "
        "Does it grow without end for large z, as the loss does?": sigmoid,
        "Your loss falls when z grows. With -log(sigmoid(z)) in mind, as in logistic regression, that happens easily: "
        "should a large z, a bad triplet, cost much or little?": lambda z: np.logaddexp(0, -z),
        "You use the logarithm to base 2, so that the loss at z = 0 is 1. Which logarithm undoes exp?": lambda z: (
            np.logaddexp(0, z) / math.log(2)
        ),
        "You use the logarithm to base 10. On a calculator that is `log`, but which logarithm undoes exp?": lambda z: (
            np.logaddexp(0, z) / math.log(10)
        ),
        "You return the hinge, max(0, z). For large |z| the two agree. "
        "What is the difference close to zero, and why does it matter for the gradient?": lambda z: np.maximum(z, 0),
        "You return the mean over all z. The batch loss is that mean, "
        "but here each number of z should keep its own loss.": lambda z: np.logaddexp(0, z).mean(),
        "You take log(1 + z), without exp. "
        "For small numbers exp(z) and 1 + z are close, but what is log(1 + z) at z = -2?": lambda z: np.log(1 + z),
        "The 1 is missing: log(exp(z)) is just z, until exp overflows. "
        "What does the 1 do for z far below zero?": lambda z: np.log(np.exp(z)),
        "Your loss is negative everywhere. A logarithm of a probability is negative: "
        "what is done with it to make it a loss?": lambda z: -np.logaddexp(0, z),
        "You took exp(z) out of the bracket, which helps for large z. But now exp(-z) "
        "overflows when z is far below zero: which form suits which sign?": lambda z: z + np.log(1 + np.exp(-z)),
    },
)


def zero_sphere(a, p):
    """Return the centre and the radius of the sphere of all negatives with z = 0."""
    centre = (a + p) / 2
    radius = np.sqrt(3) / 2 * np.sqrt(((a - p) ** 2).sum())
    return centre, radius


exercise(
    zero_sphere,
    task="All negatives n with z(a, p, n) = 0 form a sphere. Return its centre (a vector) and its radius (a number).",
    hints=(
        "z is the same for (a, p) and (p, a). So where must the centre be?",
        "With the midpoint c of a and p: z = 3/4 d2(a, p) - d2(n, c). Set it to zero.",
        "The distance of n and c is the root of 3/4 d2(a, p). The root of 3/4 is the height of an equilateral triangle "
        "of side 1.",
    ),
    praise="on this sphere z = 0 and the loss is exactly log 2; a negative inside it costs more.",
    cases=lambda rng: [(a, p) for a, p, _ in triples(rng)],
    small=[tuple(vectors((0, 0), (2, 0))), tuple(vectors((1, 0), (1, 4)))],
    properties={
        "Swapping a and p should leave the sphere as it is, but it moves yours.": lambda f, a, p: (
            near(f(a, p)[0], f(p, a)[0]) and near(f(a, p)[1], f(p, a)[1])
        ),
        "Moving both points by a step should move the centre by that step and keep the radius; not so with "
        "yours.": lambda f, a, p: near(f(a + 3, p + 3)[0], f(a, p)[0] + 3) and near(f(a + 3, p + 3)[1], f(a, p)[1]),
        "A sphere between points twice as far apart should have twice the radius; yours does not.": lambda f, a, p: (
            near(f(2 * a, 2 * p)[1], 2 * f(a, p)[1])
        ),
        "A radius is not negative, but yours is.": lambda f, a, p: f(a, p)[1] >= 0,
        "A negative placed on your sphere does not have z = 0. "
        "Put a point at centre + radius in one direction, and compute its z.": lambda f, a, p: all(
            near(logit(a, p, f(a, p)[0] + sign * f(a, p)[1] * axis), 0) for axis in np.eye(len(a)) for sign in (-1, 1)
        ),
    },
    mistakes={
        "Your sphere is centred at the anchor, as the edge of the triplet loss is. But z treats a and p alike: "
        "which point is as much a's as it is p's?": lambda a, p: (a, zero_sphere(a, p)[1]),
        "You return the square of the radius: setting z to zero gives a squared distance. "
        "What is left to do?": lambda a, p: ((a + p) / 2, 0.75 * d2(a, p)),
        "Your radius is twice as large as it should be. The root of 3/4 is not the root of 3: "
        "what happens to the 4 under the root?": lambda a, p: ((a + p) / 2, 2 * zero_sphere(a, p)[1]),
        "You take 3/4 of the distance of a and p. The 3/4 belongs to the squared distance: "
        "what becomes of it when you take the root?": lambda a, p: ((a + p) / 2, 0.75 * np.linalg.norm(a - p)),
        "Your sphere goes through a and p. It is the natural one to draw around two points; "
        "but is z zero if the negative sits on the anchor?": lambda a, p: ((a + p) / 2, np.linalg.norm(a - p) / 2),
        "Your centre is a + p, which is not between the two points. What makes a mean of a sum?": lambda a, p: (
            a + p,
            zero_sphere(a, p)[1],
        ),
        "Your centre is half the difference of a and p. That is the arrow from the midpoint to the anchor, "
        "not a place. Check it with a = p.": lambda a, p: ((a - p) / 2, zero_sphere(a, p)[1]),
        "You return a radius for each coordinate. What makes one "
        "length out of the differences of the coordinates?": lambda a, p: (
            (a + p) / 2,
            math.sqrt(0.75) * np.abs(a - p),
        ),
        "You return the radius first and the centre second. Both are right; "
        "in which order does the task name them?": lambda a, p: (zero_sphere(a, p)[1], (a + p) / 2),
        "Your radius is the distance of a and p. That would leave d2(a, p) alone, without the 3/4: what does the "
        "mean of d2(a, n) and d2(p, n) contain besides d2(n, c)?": lambda a, p: ((a + p) / 2, np.linalg.norm(a - p)),
    },
)


def sst_batch_loss(d2, labels, k):
    """Return the SST loss of a batch, from the matrix of its squared distances."""
    losses = []
    for a in range(len(labels)):
        others = np.flatnonzero((labels == labels[a]) & (np.arange(len(labels)) != a))
        negatives = np.flatnonzero(labels != labels[a])
        for p in others[d2[a, others].argsort()[:k]]:
            z = d2[a, p] - (d2[a, negatives] + d2[p, negatives]) / 2
            losses.extend(np.logaddexp(0, z))
    return np.mean(losses)


def _batch_loss(
    loss=lambda z: np.logaddexp(0, z),
    logit=lambda ap, an, pn: ap - (an + pn) / 2,
    choose=lambda order, k: order[:k],
    own=False,
    total=lambda by_anchor: np.mean(np.concatenate(by_anchor)),
):
    """Return a function of (d2, labels, k) that differs in one step from the SST loss of a batch."""

    def answer(d2, labels, k):
        by_anchor = []
        for a in range(len(labels)):
            order = [p for p in d2[a].argsort(kind="stable") if labels[p] == labels[a] and (own or p != a)]
            n = np.flatnonzero(labels != labels[a])
            found = [loss(logit(d2[a, p], d2[a, n], d2[p, n])) for p in choose(order, k)]
            by_anchor += [np.concatenate(found)] if found else []
        return total(by_anchor)

    return answer


exercise(
    sst_batch_loss,
    task=(
        "d2 is the matrix of squared distances of a batch, labels the class of each item. Return the SST loss of the "
        "batch: each item is an anchor a, with its k nearest others of its class as positives p and all items of other "
        "classes as negatives n. Average log(1 + exp(z)), with z = d2(a, p) - (d2(a, n) + d2(p, n)) / 2, over all of "
        "these triplets."
    ),
    hints=(
        "Two loops, over the anchors and over their positives; all negatives at once, as an array of indices.",
        "For one pair (a, p): `z = d2[a, p] - (d2[a, negatives] + d2[p, negatives]) / 2`.",
        "Collect the losses of all triplets in one list, and take the mean at the very end.",
    ),
    praise="that is the loss of the paper, from nothing but distances; the package does the same without loops.",
    cases=lambda rng: [(*batch(rng, (1, 2, 4, 6)), k) for k in (1, 2, 3, 5)],
    small=[
        (line(0, 1, 3), np.array([0, 0, 1]), 1),
        (line(0, 1, 3, 4), np.array([0, 0, 0, 1]), 1),
        (line(0, 1, 2, 5, 6), np.array([0, 0, 0, 1, 1]), 1),
    ],
    properties={
        "The loss is never negative, but yours is.": lambda f, d2, y, k: f(d2, y, k) >= 0,
        "If all items coincide, every z is 0, and the loss is log 2, about 0.693; yours is not.": lambda f, d2, y, k: (
            near(f(0 * d2, y, k), math.log(2))
        ),
        "With the classes far apart the loss should fade to 0; yours does not.": lambda f, d2, y, k: near(
            f(apart(y), y, k), 0
        ),
        "The same items in another order have the same loss, but yours changes.": lambda f, d2, y, k: near(
            f(d2[::-1, ::-1], y[::-1], k), f(d2, y, k)
        ),
        "For points 0, 1 and 3 with labels 0, 0, 1 there are two triplets, both with z = 1 - (9 + 4) / 2 = -5.5: "
        "the loss is log(1 + exp(-5.5)), about 0.00408. You get a different "
        "number.": lambda f, d2, y, k: near(f(line(0, 1, 3), np.array([0, 0, 1]), 1), np.logaddexp(0, -5.5), 1e-6),
        "For points 0, 1, 3, 4 with labels 0, 0, 0, 1 and k = 1 the three anchors take the nearest of their class, "
        "and the values of z are -11.5, -11.5 and -1. Your loss is not their mean.": lambda f, d2, y, k: near(
            f(line(0, 1, 3, 4), np.array([0, 0, 0, 1]), 1), np.logaddexp(0, [-11.5, -11.5, -1]).mean(), 1e-6
        ),
        "With a very large k all positives count, so that a still larger one changes nothing; "
        "not so with yours.": lambda f, d2, y, k: near(f(d2, y, 50), f(d2, y, 60)),
        "The mean is over all triplets, so each of them has the same weight; not so with yours.": lambda f, d2, y, k: (
            near(f(d2, y, k), sst_batch_loss(d2, y, k))
        ),
    },
    mistakes={
        "You add up the losses. A large batch would then take larger steps: "
        "what makes batches of any size comparable?": _batch_loss(total=lambda parts: np.sum(np.concatenate(parts))),
        "You average for each anchor first, and then over these means. Anchors with few triplets weigh too much: "
        "average over what?": _batch_loss(total=lambda parts: np.mean([part.mean() for part in parts])),
        "You average over the triplets with z > 0 only. The others have a small loss, and they count: "
        "how many triplets are there?": _batch_loss(total=lambda parts: _above_log2(np.concatenate(parts))),
        "Your z has the distance from the anchor only, as in the triplet loss. "
        "In SST a negative is as far as its mean distance from the two.": _batch_loss(logit=lambda ap, an, pn: ap - an),
        "Your z is missing the half: the mean of the two distances to the negative, not their sum.": _batch_loss(
            logit=lambda ap, an, pn: ap - an - pn
        ),
        "Your z is halved altogether; which of its terms belong to the mean?": _batch_loss(
            logit=lambda ap, an, pn: (ap - an - pn) / 2
        ),
        "You take roots first. The matrix holds squared distances, and z is made of squared ones.": lambda d2, y, k: (
            sst_batch_loss(np.sqrt(d2), y, k)
        ),
        "The sign of z is flipped: your loss is large where the negatives are far. "
        "Which distance should be small?": _batch_loss(logit=lambda ap, an, pn: (an + pn) / 2 - ap),
        "You take max(0, z), the hinge. SST has the soft form, log(1 + exp(z)).": _batch_loss(
            loss=lambda z: np.maximum(z, 0)
        ),
        "You return the mean of s, the sigmoid of z. "
        "It is the slope of the loss: what is the loss itself?": _batch_loss(loss=sigmoid),
        "You take all others of the class as positives. How many does k let through?": _batch_loss(
            choose=lambda o, k: o
        ),
        "You take the farthest positives. Which end of the sorted list is near?": _batch_loss(
            choose=lambda order, k: order[::-1][:k]
        ),
        "Each anchor is its own nearest positive, at distance zero. Who has to be left out?": _batch_loss(own=True),
    },
)


def own_loss(x, labels):
    """Return a loss that is small if each class lies together, and apart from the others."""
    import torch

    d2 = ((x[:, None] - x) ** 2).sum(dim=2)
    same = labels[:, None] == labels
    return d2[same].mean() + torch.exp(-d2[~same]).mean()  # a pull, and a push that fades with the distance


def _points(count, seed):
    """Return points as a tensor, (count, 2), and labels of three classes that they know nothing of."""
    import torch

    return torch.tensor(np.random.default_rng(seed).normal(size=(count, 2))), torch.arange(count) % 3


def _slope(loss, x, labels):
    """Return the gradient of a loss with respect to x, as an array."""
    x = x.clone().requires_grad_()
    loss(x, labels).backward()
    return x.grad.numpy()


def _recall_after(loss, x, labels):
    """Return Recall@1 of points that followed the gradient of a loss for a while."""
    import torch

    x = x.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss(x, labels).backward()
        optimizer.step()
    d2 = ((x[:, None] - x) ** 2).sum(2).detach() + torch.diag(torch.full((len(x),), torch.inf))
    return (labels[d2.argmin(1)] == labels).double().mean().item()


def _differences(pick):
    """Return a loss of torch from the squared distances d2 and the matrix of equal labels."""
    return lambda x, labels: pick(((x[:, None] - x) ** 2).sum(2), labels[:, None] == labels)


exercise(
    own_loss,
    task=(
        "Invent a loss. x, (N, d), is a tensor of torch, the embeddings of a batch, and labels, (N,), has their "
        "classes. Return a single number, as a tensor, that is small if items of one class lie together and those of "
        "different classes apart, so that points that follow its gradient end up well. It need not be one of the "
        "literature."
    ),
    hints=(
        "`d2 = ((x[:, None] - x) ** 2).sum(2)` and `same = labels[:, None] == labels` have all pairs.",
        "It has to pull within a class *and* to push between classes: one of them alone collapses, or never rests.",
        "Stay within torch to the end: `.item()`, `.detach()` and numpy cut the gradient off.",
    ),
    praise="points that follow its gradient find their classes. It can take the place of `sst.SSTLoss` in a loop.",
    cases=lambda rng: [_points(count, seed) for count, seed in ((24, 1), (30, 2), (12, 3))],
    unique=False,
    properties={
        "The loss of a batch is a single number; yours is not.": lambda f, x, y: f(x, y).shape == (),
        "Moving all points by the same step should not change the loss, but it changes yours.": lambda f, x, y: near(
            f(x + 2, y), f(x, y), 1e-3
        ),
        "Other numbers for the classes should not change the loss, but they change yours.": lambda f, x, y: near(
            f(x, 7 - 2 * y), f(x, y)
        ),
        "Classes that lie apart should cost less than the same points with labels at random; not "
        "so with yours.": lambda f, x, y: f(_separate(x, y), y) < f(_separate(x, y), y.sort().values),
        "If all points lie in one place no class can be told from another: that should cost more "
        "than classes that lie apart; not so with yours.": lambda f, x, y: f(0 * x, y) > f(_separate(x, y), y),
        "No gradient comes out of your loss: "
        "on the way from x to the result, something is not torch, or has no slope.": lambda f, x, y: (
            np.isfinite(_slope(f.answer, x, y)).all() and np.abs(_slope(f.answer, x, y)).max() > 0
        ),
        "Points that follow the gradient of your loss do not find their classes: after 150 steps hardly "
        "more nearest neighbors are of the same class than before.": lambda f, x, y: (
            _recall_after(f.answer, x, y) > 0.5
        ),
    },
    mistakes={
        "The result has left torch (`.item()`, `.detach()` or numpy), so that no gradient comes back. "
        "Return the tensor itself.": lambda x, y: own_loss(x, y).item(),
        "Your loss is small for a bad embedding: a sign is the wrong way round.": _differences(
            lambda d2, same: d2[~same].mean() - d2[same].mean()
        ),
        "You pull within the classes and push nobody. All points may then coincide, at a loss of zero: "
        "what keeps the classes apart?": _differences(lambda d2, same: d2[same].mean()),
        "You pull all pairs, whatever their class. Where do the labels come in?": _differences(
            lambda d2, same: d2.mean()
        ),
        "You return one number for each pair. What makes one number of them?": _differences(
            lambda d2, same: d2 * same - d2 * ~same
        ),
        "You count pairs of one class that are farther apart than 1. A count has no slope: "
        "moving a point a little does not change it.": _differences(lambda d2, same: (d2[same] > 1).double().mean()),
        "You take differences of the labels as if they were quantities. Class 4 is no closer to 5 than to 9: are "
        "two labels equal or not?": lambda x, y: (((x[:, None] - x) ** 2).sum(2) / (1 + (y[:, None] - y).abs())).mean(),
        "Your loss depends on where the points lie, not only on how far apart they are. Take "
        "differences first.": lambda x, y: (x**2).sum(1).mean() - _differences(lambda d2, same: d2[~same].mean())(x, y),
    },
)
