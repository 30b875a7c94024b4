# ruff: noqa: F401
"""Every plot function in one place, as notebooks call them: ``sst.plots.gallery(...)``.

Each takes arrays and returns a :class:`Figure`, which a notebook shows when it is the last value of a cell, and which
carries alternative text (``figure.alt``) into notebooks and files.
"""

from .curves import comparison, curves, distances, history, interval, progress
from .gradients import draw_arrow, field, gradients
from .idea import idea
from .images import confusions, fit_square, gallery, read_image, samples
from .inputs import words
from .maps import TSNE, neighborhoods, scatter, tsne_layout, tsne_method
from .style import LINES, MARKERS, OKABE_ITO, STYLES, Figure, in_notebook, style
from .thumbnails import snap, thumbnails, windows
