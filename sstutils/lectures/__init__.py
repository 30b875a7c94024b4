"""The lectures: widgets, exercises, editions (pages, slides, notebooks) and the recordings that they replay."""
