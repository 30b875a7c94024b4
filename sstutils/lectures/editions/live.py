"""Widgets in a page without a kernel: their saved states, their scripts, and the script that hosts them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

_HOST = (Path(__file__).parent / "host.js").read_text(encoding="utf-8")


def place(model_id: str) -> str:
    """Return the HTML element in which the host draws a widget."""
    return f'<div class="sst-place" data-widget="{escape(model_id)}"></div>'


def live(states: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the HTML at the end of a page that brings its widgets to life.

    It holds style sheets, states, scripts (each once, however many widgets share it) and the host. `states` are as a
    notebook keeps them (``metadata.widgets``), by model id; those of anywidgets are used.
    """
    scripts, styles, models = {}, {}, {}
    for key, model in states.items():
        state = dict(model["state"])
        if "_esm" not in state:
            continue
        esm, css = state.pop("_esm"), state.pop("_css", "")
        name = hashlib.sha256(esm.encode()).hexdigest()[:12]
        scripts[name], styles[css] = esm, None
        kept = {trait: value for trait, value in state.items() if not trait.startswith("_")}
        models[key] = {"script": name, "state": kept, "buffers": model.get("buffers", [])}
    if not models:
        return ""
    # "<" would let a text end the script element
    data = json.dumps({"models": models, "scripts": scripts}, ensure_ascii=False).replace("<", "\\u003c")
    sheet = "\n".join(styles)
    return (
        f"<style>{sheet}</style>\n"
        f'<script type="application/json" id="sst-widgets">{data}</script>\n<script>{_HOST}</script>\n'
    )
