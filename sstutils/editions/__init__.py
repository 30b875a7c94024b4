"""Editions of the notebooks: a site, slides, and notebooks for students and for lecturers."""
