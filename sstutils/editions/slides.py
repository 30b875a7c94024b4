"""Slides: a deck for each notebook."""


def slides(*arguments) -> None:
    """Write nothing yet."""
