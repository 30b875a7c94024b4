"""The editions: what is in them, and how they behave in a browser, on a small series that is made here."""

import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import traitlets
from ipywidgets.embed import dependency_state
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from sstutils.figures import plots
from sstutils.lectures import editions
from sstutils.lectures.editions.lecture import CLAIM, STATE, VIEW, EditionError, Lecture, split_answer
from sstutils.lectures.editions.text import LONG, Text, mathml
from sstutils.lectures.widgets.base import Drawn

ROOT = Path(__file__).parents[1]
LECTURES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
SLOW = pytest.mark.slow
SHARED = (ROOT / "sstutils" / "lectures" / "widgets" / "common.js").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# A small series
# ---------------------------------------------------------------------------------------------------------------------
class Square(Drawn):
    """A widget of ten lines: a slider, and the square of its number."""

    _esm = (
        SHARED
        + """
    function render({ model, el }) {
      const { body, say } = stage(el, model, "Move the slider.");
      const shown = h("p", { class: "shown" });
      const draw = () => { shown.textContent = `${model.get("x")} squared is ${model.get("x") ** 2}`; };
      slider(body, { label: "x", min: 0, max: 9, step: 1, value: model.get("x"),
        onInput: (x) => { put(model, { x }); say(`x is ${x}`); } });
      body.append(shown);
      draw();
      return follow(model, ["x"], draw);
    }
    export default { render };
    """
    )
    x = traitlets.Int(3).tag(sync=True)


def png(width=300, height=120) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def figure(alt, **size) -> nbformat.NotebookNode:
    data, metadata = plots.in_notebook(base64.b64decode(png(**size)), alt, 96)
    return new_output("display_data", data, metadata=metadata)


def view(widget) -> nbformat.NotebookNode:
    data = {VIEW: {"model_id": widget.model_id, "version_major": 2}, "text/plain": "Figure: a slider"}
    return new_output("display_data", data)


def code(source, *outputs, **metadata):
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata=metadata)


def text(source, *tags, **metadata):
    return new_markdown_cell(source, metadata={"tags": list(tags)} | metadata)


def saved(notebook, *widgets):
    states = dependency_state(widgets, drop_defaults=False) if widgets else {}
    notebook.metadata["widgets"] = {STATE: {"state": states, "version_major": 2, "version_minor": 0}}
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return notebook


ASK = "def triplet_loss(a, p, n, margin):\n    return ____\n\n\nsst.exercises.triplet_loss.check(triplet_loss)"


def first():
    one, two = Square(title="Squares", x=3), Square(title="More squares", x=5)
    cells = [
        text(
            "# 01 - Distances & losses\n\n**You will** measure $d^2(a, p)$ and *lose*. | **Needs** nothing | "
            "**15 min** | CPU | **Paper:** figure 2"
        ),
        code("import sstutils as sst\nfrom sstutils import ____"),
        text(
            "## A loss in $\\mathbb{R}^n$\n\nThe hinge $\\ell = \\max(0,\\; z)$ costs `$5`, or \\$6, with\n\n"
            "$$z = d^2(a, p) - \\tfrac12 \\bigl(d^2(a, n) + d^2(p, n)\\bigr), \\qquad \\ell = \\log(1 + e^z).$$\n\n"
            "**What does the slider do?**",
            "slide",
            lecturer={"minutes": 4, "note": "It squares $x$. *Misconception:* doubles."},
        ),
        code("Square(x=3)", view(one), tags=["widget"]),
        text("It squares. A table:\n\n| $x$ | $|x|^2$ |\n|---|---|\n| 2 | 4 |\n", "fragment"),
        code(
            'sst.plots.field("sst")\n'
            + "# a long line of which the end is outside of every phone, that is for sure, and of columns",
            figure('A field of <arrows> & "quotes".', width=900, height=300),
        ),
        text(
            "### Derivation\n\n$$\\begin{aligned} z &= d^2(a, p) - d^2(a, n) \\\\\n"
            "&= -2\\,\\lVert n - c \\rVert^2 \\end{aligned}$$\n\n"
            "1. one\n2. two, see [the next](02-second.ipynb)\n\n```python\nx = 1\n```\n",
            "slide",
        ),
        code(
            "\n".join(f"x{i} = {i}" for i in range(15)) + "\nprint(x1)", new_output("stream", name="stdout", text="1\n")
        ),
        text("## Exercises\n\nNow you.", "slide", lecturer={"minutes": 11, "note": "Answer: the hinge."}),
        code(
            ASK,
            new_output("execute_result", {"text/plain": "not attempted"}, execution_count=1),
            tags=["exercise"],
            exercise="triplet_loss",
            lecturer={"minutes": 0, "note": "Common: the margin is forgotten."},
        ),
        code("Square(x=5)", view(two), tags=["widget", "skip"]),
        text("---\n**In this notebook we** squared.\n\n**Next:** 02"),
    ]
    return saved(new_notebook(cells=cells), one, two)


def second():
    lines = "\n\n".join(
        f"Line {i} of a slide that is much too long for any screen, whatever is tried with its letters."
        for i in range(40)
    )
    cells = [
        text("# 02 - Second\n\n**You will** rest. | **Needs** 01 | **5 min** | CPU"),
        text(f"## Too long\n\n{lines}", "slide"),
        code("1 + 1", new_output("execute_result", {"text/plain": "2"}, execution_count=1)),
    ]
    return saved(new_notebook(cells=cells))


def write(folder, **notebooks):
    folder.mkdir(parents=True, exist_ok=True)
    for name, notebook in notebooks.items():
        for i, cell in enumerate(notebook.cells):
            cell["id"] = f"{name[1:3]}-{i:02d}"
        nbformat.write(notebook, folder / f"{name[1:].replace('_', '-')}.ipynb")
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """All editions of the small series."""
    folder = tmp_path_factory.mktemp("series")
    write(folder / "notebooks", _01_first=first(), _02_second=second())
    editions.make(["all"], folder / "notebooks", folder / "site", tell=lambda line: None)
    return folder / "site"


def made(tmp_path, notebook, *which):
    write(tmp_path / "notebooks", _01_one=notebook)
    editions.make(which or ["all"], tmp_path / "notebooks", tmp_path / "site", tell=lambda line: None)
    return tmp_path / "site"


TITLE = "# 01 - One\n\n**You will** fail. | **Needs** nothing | **5 min** | CPU"
PAGES = ["index.html", "playground.html", "01-first.html", "02-second.html"]
DECKS = ["slides/01-first.html", "slides/02-second.html"]


def bare(html: str) -> str:
    """The text of a page that a reader sees."""
    html = re.sub(r"<(script|style|pre|code|title)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", html)


# ---------------------------------------------------------------------------------------------------------------------
# Mathematics
# ---------------------------------------------------------------------------------------------------------------------
def flat(html: str) -> str:
    """The text of MathML, without the invisible signs that choose a letter's form."""
    return re.sub(r"<[^>]+>|[\ufe00\u2061-\u2064]", "", html)


def test_what_the_converter_leaves_open():
    bar = mathml(r"\overline{ab} \underline{x}")
    assert '<mo stretchy="true">\u203e</mo></mover>' in bar  # stretches, as the combining line below does not
    assert '<mo stretchy="true">\u0332</mo></munder>' in bar
    assert mathml("f'(x)").startswith('<math><mrow><mi>f</mi><mo lspace="0" rspace="0">′</mo></mrow>')  # not up twice
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in mathml("x^2")


@pytest.mark.parametrize("display", [False, True])
def test_long_formulas_may_be_broken_at_their_relations(display):
    short, long = "z = 0", r"z = d^2(a, p) + m - d^2(a = b, n) \le \{k \in [0, 1)\} \lVert x \rVert + abc"
    assert mathml(short, display).count("<math") == 1
    ends, begins = (
        ["z=", "d2(a,p)+m−d2(a=b,n)≤", "{k∈[0,1)}‖x‖+abc"],
        ["z", "=d2(a,p)+m−d2(a=b,n)", "≤{k∈[0,1)}‖x‖+abc"],
    )
    assert [flat(part) for part in mathml(long, display).split("<wbr>")] == (begins if display else ends)
    aligned = r"\begin{aligned} \ell_{m} &= a + b + c + d + e + f \\ &= g + h + i + j + k + l + m \end{aligned}"
    assert len(aligned) > LONG[1]
    assert mathml(aligned, display).count("<math") == 1


def test_punctuation_stays_with_the_formula_before_it():
    html = Text(ROOT).markdown("If $z > 0$, then $m$ (of $t$).")
    display = Text(ROOT).markdown("$$a = b$$. So $c$,\n$$d$$ and $e$.\n\n$$f = g$$")
    assert display.count("<div") == display.count("</div>") == 1
    assert re.sub(r"<math.*?</math>", "M", display.split("<div")[0]) == (
        '<p><span class="display"><span class="line">M</span></span>. So <span class="whole">M,</span>\n'
        '<span class="display"><span class="line">M</span></span> and <span class="whole">M.</span></p>\n'
    )
    assert re.findall(r"(?<=</math>)[^<]*</span>|(?<=</math>)[^<]+", html) == [",</span>", " (of ", ").</span>"]


@pytest.mark.parametrize(
    "tex", [r"\foo x", "{x", "x}", "a^b^c", r"\left( x", r"\begin{aligned} a \end{cases}", r"\frac{a}"]
)
def test_a_formula_that_cannot_be_read_is_an_error_of_one_line(tex):
    with pytest.raises(EditionError, match=r"^formula \$" + re.escape(tex) + r"\$: [A-Z][^\n\x1b]+$"):
        mathml(tex)


def test_every_formula_of_the_notebooks_is_mathml():
    from sstutils.lectures.editions import text

    seen = 0
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            texts = [cell.source] if cell.cell_type == "markdown" else []
            for source in [*texts, cell.metadata.get("lecturer", {}).get("note", "")]:
                for match in text._MATH.finditer(source):
                    if match["inline"] or match["display"] or match["align"]:
                        html = text._formula(match)
                        assert html.count("<math") == html.count("</math>") >= 1
                        assert not re.search(r"[\\${}&]", re.sub(r"<mo[^>]*>[{}]</mo>|&\w+;", "", html)), match[0]
                        seen += 1
    assert seen > 50


# ---------------------------------------------------------------------------------------------------------------------
# Pages
# ---------------------------------------------------------------------------------------------------------------------
def test_there_is_a_page_a_deck_and_two_notebooks_for_each_lecture(built):
    files = sorted(path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file())
    books = [f"{name}.ipynb" for name in ("01-first", "02-second")]
    assert files == sorted([*PAGES, *DECKS, *(f"student/{book}" for book in books)])
    # solutions are not in the folder that one publishes
    assert sorted(path.name for path in built.with_name("site-lecturer").iterdir()) == books


@pytest.mark.parametrize("name", PAGES + DECKS)
def test_a_page_is_self_contained_and_has_no_raw_tex(built, name):
    html = (built / name).read_text(encoding="utf-8")
    plain = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    for pair in re.findall(r"""(?:src|srcset|poster|data|action)=["']([^"']+)|url\(["']?([^)]+)\)""", plain):
        assert "".join(pair).startswith(("data:", "#"))
    for tag in re.findall(r"<link[^>]*>", html):
        assert 'href="data:,"' in tag
    assert "@import" not in html
    text = bare(html)
    assert not re.search(r"\\[a-zA-Z]+|\$\$|[\ue000-\uf8ff]", text)
    assert set(re.findall(r"\S*\$\S*", text)) <= {"$6,"}  # that one is a price
    assert html.startswith('<!doctype html>\n<html lang="en">')
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", html))


def test_a_page_has_its_parts(built):
    html = (built / "01-first.html").read_text(encoding="utf-8")
    assert re.findall(r'<a rel="(prev|next)" href="([^"]+)"', html) == [("next", "02-second.html")]
    assert '<a href="02-second.html">the next</a>' in html
    assert [int(level) for level in re.findall(r"<h(\d)", html)] == [1, 2, 3, 2]
    assert 'alt="A field of &lt;arrows&gt; &amp; &quot;quotes&quot;."' in html
    assert re.findall(r"<summary>([^<]+)", html)[1:] == [
        "Code, 1 line",
        "Show the answer",
        "Code, 16 lines",
        "Hint 1 of 3",
        "Hint 2 of 3",
        "Hint 3 of 3",
        "Solution",
        "Code, 1 line",
    ]
    assert html.count('<div class="sst-place"') == 2
    assert "misconception" not in html.lower()  # what the lecturer knows
    index = (built / "index.html").read_text(encoding="utf-8")
    assert "2 lectures, 20 minutes in all" in index
    assert 'href="slides/01-first.html"' in index


ASKED = [
    text(TITLE),
    text("## One\n\nTwo and two. **How much is it?**", "slide"),
    code("2 + 2", new_output("execute_result", {"text/plain": "4"}, execution_count=1)),
    text("It is four.\n\nThat is even. **Guess** the next:"),
    code("3 + 3", new_output("execute_result", {"text/plain": "6"}, execution_count=1)),
    code("assert 3 + 3 == 6", tags=["claim"]),
    text("Six.\n\nAnd always so.\n\n## Two\n\n**Really?** Think.", "fragment", lecturer={"minutes": 5, "note": "x"}),
    code("hidden = 5", jupyter={"source_hidden": True}),
    text("Yes.", "slide"),
    text("More."),
]


def test_answers_wait_until_the_reader_asks_for_them(tmp_path):
    notebook = saved(new_notebook(cells=ASKED))
    site = made(tmp_path, notebook)
    html = (site / "01-one.html").read_text(encoding="utf-8").split("<main")[1].split('<nav class="around')[0]
    folded = re.findall(r'<details class="folded answer"><summary>([^<]+)</summary>(.*?)</details>', html, re.DOTALL)
    assert [title for title, _ in folded] == ["Show what happened", "Show what happened", "Show the answer"]
    assert [bare(inner.replace("pre", "p")).split() for _, inner in folded] == [
        ["4", "It", "is", "four."],
        ["6", "Six.", "And", "always", "so."],
        ["Yes."],
    ]
    assert "hidden = 5" not in html.replace("</span>", "").replace("<span", "") and "assert" not in html
    deck = (site / "slides" / "01-one.html").read_text(encoding="utf-8")
    assert deck.count('<div class="fragment">') == 2  # both outputs
    assert deck.count('class="part fragment"') == 3  # four; six; really
    assert deck.count("<strong>5 min</strong>, until minute 5") == 1  # a text in two parts counts once
    open_copy = nbformat.read(site / "student" / "01-one.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in open_copy.cells) and "assert" not in str(open_copy)


def test_with_an_address_pages_and_students_notebooks_open_in_colab(tmp_path):
    write(tmp_path / "notebooks", _01_one=saved(new_notebook(cells=ASKED)))
    quiet = {"tell": lambda line: None}
    editions.make(["all"], tmp_path / "notebooks", tmp_path / "site", **quiet, address="https://github.com/me/it.git")
    link = "https://colab.research.google.com/github/me/it/blob/pages/student/01-one.ipynb"
    assert f'<a href="{link}">Open in Colab</a>' in (tmp_path / "site" / "01-one.html").read_text(encoding="utf-8")
    badge, install = nbformat.read(tmp_path / "site" / "student" / "01-one.ipynb", as_version=4).cells[1:3]
    assert (
        badge.source.endswith(f"({link})") and "pip install --quiet git+https://github.com/me/it.git" in install.source
    )
    assert "google.colab" not in (tmp_path / "site-lecturer" / "01-one.ipynb").read_text(encoding="utf-8")
    with pytest.raises(EditionError, match=r"Colab opens notebooks from .*got the address https://example.org/it"):
        editions.make(["site"], tmp_path / "notebooks", tmp_path / "site", **quiet, address="https://example.org/it")
    assert "Colab" not in (made(tmp_path, saved(new_notebook(cells=ASKED)), "site") / "01-one.html").read_text()


def test_an_answer_ends_where_something_new_begins():
    assert split_answer("a\n\nb") == ("a", "b")
    assert split_answer("a\n\nb", whole=True) == ("a\n\nb", "")
    for new in ("## c", "---\nc", "**Exercise.** c", "c **d?** e", "**Find out:**\n\n1. c"):
        assert split_answer(f"a\n\nb\n\n{new}", whole=True) == ("a\n\nb", new)
        assert split_answer(new) == ("", new)


def test_fonts_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "sstutils" / "lectures" / "editions").glob("*.woff2")) < 150_000


def test_the_figure_of_the_idea_is_on_the_index(tmp_path):
    (tmp_path / "output" / "figures").mkdir(parents=True)
    (tmp_path / "output" / "figures" / "idea.png").write_bytes(base64.b64decode(png()))
    index = (made(tmp_path, second(), "site") / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<img src="data:image/png;base64,[^"]+" alt="A neighborhood of', index)


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------
NAKED = new_output("display_data", {"text/html": '<img src="data:,">'})
FETCH = new_output("display_data", {"text/html": '<img alt="x" src="https://example.org/a.png">'})
FAILED = new_output("error", ename="ValueError", evalue="no", traceback=[])
LOST = new_output("display_data", {VIEW: {"model_id": "gone"}, "text/plain": "Square()"})


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (new_code_cell("1"), "it was not run"),
        (code("1", NAKED), "without alternative text"),
        (code("1", new_output("display_data", {"image/png": png()})), "without alternative text"),
        (code("1", FETCH), "loads something from elsewhere"),
        (code("1", FAILED), "ended with an error, ValueError: no"),
        (code("1", LOST), "a widget whose state was not saved"),
        (code(ASK, exercise="triplet_los"), "no exercise 'triplet_los'; did you mean 'triplet_loss'?"),
        (code(ASK, tags=["exercise"]), "its metadata does not name one"),
        (text("see $\\foo$"), 'Unknown command "\\foo"'),
        (text("![](x.png)"), "x.png has no alternative text"),
        (text("![a picture](x.png)"), "not a file in the folder of the notebook"),
    ],
)
def test_what_a_page_cannot_show_is_an_error_that_names_the_cell(tmp_path, capsys, cell, says):
    from sstutils.lectures.editions.__main__ import main

    write(tmp_path / "notebooks", _01_one=saved(new_notebook(cells=[text(TITLE), cell])))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("the old one")
    assert main(["site", "--notebooks", str(tmp_path / "notebooks"), "--out", str(tmp_path / "site")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("editions: error: 01-one.ipynb, cell 2: ")
    assert error.count("\n") == 1
    assert says in error
    assert [path.name for path in tmp_path.rglob("*.html")] == ["index.html"]
    assert (tmp_path / "site" / "index.html").read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebooks", "site"]


def test_other_mistakes_are_one_line_too(tmp_path, capsys):
    from sstutils.lectures.editions.__main__ import main

    assert main(["site", "--notebooks", str(tmp_path)]) == 2
    assert "no notebooks in" in capsys.readouterr().err
    (tmp_path / "01-a.ipynb").write_text("{")
    assert main(["site", "--notebooks", str(tmp_path)]) == 2
    assert "01-a.ipynb is not a valid notebook" in capsys.readouterr().err
    assert main(["sites", "--notebooks", str(tmp_path)]) == 2
    assert "unknown edition 'sites'" in capsys.readouterr().err
    write(tmp_path, _01_a=new_notebook(cells=[text("No title")]))
    assert main(["site", "--notebooks", str(tmp_path)]) == 2
    assert "must begin with a title" in capsys.readouterr().err


def test_sliders_of_ipywidgets_leave_their_last_picture(tmp_path):
    notebook = new_notebook(cells=[text(TITLE), code("interact(f)", LOST)])
    inner = {"output_type": "display_data", "data": {"image/png": png()}, "metadata": {"image/png": {"alt": "a dot"}}}
    states = {"gone": {"state": {"children": ["IPY_MODEL_out"]}}, "out": {"state": {"outputs": [inner]}}}
    notebook.metadata["widgets"] = {STATE: {"state": states}}
    assert 'alt="a dot"' in (made(tmp_path, notebook, "site") / "01-one.html").read_text(encoding="utf-8")
    del notebook.metadata["widgets"][STATE]["state"]["out"]
    with pytest.raises(EditionError, match="needs a kernel"):
        made(tmp_path, notebook, "site")


def test_a_page_whose_notebook_is_gone_goes_too_and_other_editions_stay(tmp_path):
    site = made(tmp_path, second())
    (site / "99-old.html").write_text("old")
    editions.make(["site"], tmp_path / "notebooks", site, tell=lambda line: None)
    names = {path.name for path in site.iterdir()}
    assert names == {"01-one.html", "index.html", "playground.html", "slides", "student"}
    assert (tmp_path / "site-lecturer" / "01-one.ipynb").exists()
    assert 'href="slides/01-one.html"' in (site / "index.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Slides
# ---------------------------------------------------------------------------------------------------------------------
def test_slides_follow_the_tags(built):
    from sstutils.lectures.editions.slides import slides_of

    lecture = Lecture(built.parent / "notebooks" / "01-first.ipynb")
    found = [[cell.node.id for cell in slide] for slide in slides_of(lecture)]
    # a widget is alone on its slide
    assert found == [["01-02"], ["01-03"], ["01-04", "01-05"], ["01-06", "01-07"], ["01-08", "01-09", "01-11"]]
    html = (built / DECKS[0]).read_text(encoding="utf-8")
    assert len(re.findall(r"<section", html.split("<script>", 2)[1])) == 6
    assert html.count('class="part fragment"') == 1
    notes = re.findall(r'<aside class="notes">(.*?)</aside>', html, re.DOTALL)
    assert "<strong>4 min</strong>, until minute 4 of 15" in notes[1]
    assert "<em>Misconception:</em> doubles" in notes[1]
    assert "<strong>11 min</strong>, until minute 15 of 15" in notes[2]
    assert "def triplet_loss(" in notes[2]


# ---------------------------------------------------------------------------------------------------------------------
# Editions for students and lecturers
# ---------------------------------------------------------------------------------------------------------------------
def check_equal(source, student, lecturer):
    """The three are equal, but for notes, solutions and the way to the site."""
    from sstutils.lectures.editions import notebooks

    assert lecturer.metadata == source.metadata
    assert student.metadata == {key: value for key, value in source.metadata.items() if key != "widgets"}
    mine, theirs = iter(student.cells), iter(lecturer.cells)
    for cell in source.cells:
        about = cell.metadata.get("lecturer")
        name = cell.metadata.get("exercise")
        if CLAIM not in cell.metadata.get("tags", ()):
            kept = {key: value for key, value in cell.metadata.items() if key != "lecturer"}
            cleared = cell.cell_type == "code" and not name
            outputs = {"outputs": [], "execution_count": None} if cleared else {}
            within = {"source": cell.source.replace("../site/", "../")}  # the site, in which students' copies lie
            assert dict(next(mine)) == dict(cell) | {"metadata": kept} | outputs | within
        taught = next(theirs)
        if name:
            assert taught.source.splitlines()[-1] == cell.source.rstrip().splitlines()[-1]
            assert "____" not in taught.source
            assert taught.source == notebooks.solve(cell.source, name)
            assert dict(taught) | {"source": 0, "outputs": 0, "execution_count": 0} == dict(cell) | {
                "source": 0,
                "outputs": 0,
                "execution_count": 0,
            }
        else:
            assert taught == cell
        if about:
            note = next(theirs)
            assert note.metadata.tags == [notebooks.NOTE]
            assert note.source.startswith("> **For the lecturer")
            assert about.note.split()[-1] in note.source
    assert next(mine, None) is next(theirs, None) is None


def editions_of(folder, name):
    return [nbformat.read(where / name, as_version=4) for where in (folder / "student", Path(f"{folder}-lecturer"))]


def test_editions_are_equal_but_for_notes_and_solutions(built):
    source = nbformat.read(built.parent / "notebooks" / "01-first.ipynb", as_version=4)
    student, lecturer = editions_of(built, "01-first.ipynb")
    check_equal(source, student, lecturer)
    for notebook in (student, lecturer):
        nbformat.validate(notebook)
    assert "Misconception" not in json.dumps(student)
    assert "____" in json.dumps([cell.source for cell in student.cells])
    assert "> **For the lecturer, 4 min.** It squares $x$. *M" in [cell.source[:49] for cell in lecturer.cells]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_editions_of_the_notebooks_are_equal_but_for_notes_and_solutions(path):
    from sstutils.lectures.editions import notebooks

    source = nbformat.read(path, as_version=4)
    check_equal(source, notebooks.student(source), notebooks.lecturer(source))


def test_every_exercise_can_be_solved_in_a_notebook():
    from sstutils.lectures import exercises
    from sstutils.lectures.editions import notebooks

    for name in exercises.EXERCISES:
        cell = f"def {name}(x):\n    return ____\n\n\noutcome = sst.exercises.{name}.check({name})"
        space = {}
        exec("import numpy as np\nimport sstutils as sst\nfrom sstutils import ____", space)
        exec(notebooks.solve(cell, name), space)
        assert space["outcome"], (name, space["outcome"])


def run(notebook, folder):
    """Run a notebook in a folder, and return the exercises whose check does not say "correct"."""
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
    said = {
        cell.metadata.exercise: " ".join(output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        for cell in notebook.cells
        if "exercise" in cell.metadata
    }
    return [name for name, text in said.items() if not re.match(r"\W*correct\b", text)]


def test_the_lecturers_edition_is_solved_and_tells_if_not(tmp_path):
    from sstutils.lectures.editions import notebooks

    cells = [
        text(TITLE),
        code("import sstutils as sst\nfrom sstutils import ____"),
        code(ASK, exercise="triplet_loss"),
    ]
    taught = notebooks.lecturer(saved(new_notebook(cells=cells)))
    taught.cells.append(
        code(ASK.replace("triplet_loss", "sst_loss").replace("(a, p, n, margin)", "(a, p, n)"), exercise="sst_loss")
    )
    assert run(taught, tmp_path) == ["sst_loss"]  # the open one alone
    with pytest.raises(EditionError, match="must define it"):
        notebooks.solve("x = 1", "triplet_loss")


RUN = {"student": "09", "lecturer": "00"}  # in the ordinary run; all of them as they are committed run with nbval


@pytest.mark.parametrize(
    ("which", "name"),
    [pytest.param(w, n, marks=() if n[:2] == RUN[w] else SLOW, id=f"{w}-{n}") for w in RUN for n in LECTURES],
)
def test_the_editions_run_where_they_are_written(tmp_path, name, which):
    """Far from the repository, with no file beside them."""
    from sstutils.lectures.editions import notebooks

    source = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    wrong = run(getattr(notebooks, which)(source), tmp_path)
    asked = [cell.metadata.exercise for cell in source.cells if "exercise" in cell.metadata]
    assert wrong == ([] if which == "lecturer" else asked)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# In a browser
# ---------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def shown(tab, built):
    """Open a page of the small series from disk; it must ask for nothing and complain of nothing."""
    pages = []

    def opened(name, **options):
        page = tab(**options)
        page.asked = []
        page.on("request", lambda request: request.url.startswith(("data:", "blob:")) or page.asked.append(request.url))
        page.goto((built / name).as_uri())
        for place in page.locator("[data-widget]").all():
            place.and_(page.locator("[data-ready]")).wait_for(state="attached")
        pages.append(page)
        return page

    yield opened
    for page in pages:
        assert not page.bad
        assert len(page.asked) == 1  # the page itself


def violations(page):
    """What axe finds serious in a page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]


LOOKS = {
    "phone, dark": (390, True),
    "desk, light": (1440, False),
    "phone, light": (390, False),
    "desk, dark": (1440, True),
}


def looks(names, ordinary):
    """Every page in every look; ordinary are those of `ordinary`, the rest is slow."""
    return pytest.mark.parametrize(
        ("name", "width", "dark"),
        [
            pytest.param(name, *LOOKS[look], id=f"{name}-{look}", marks=() if look in ordinary.get(name, ()) else SLOW)
            for name in names
            for look in LOOKS
        ],
    )


@looks(PAGES, {"01-first.html": ("phone, dark", "desk, light")} | dict.fromkeys(PAGES[:2], ("phone, dark",)))
def test_pages_fit_and_are_accessible(shown, name, width, dark):
    page = shown(name, width=width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    assert page.evaluate("document.fonts.check('1em \"STIX Two Text\"')")
    if name == "01-first.html" and width < 600:
        box = page.locator("pre", has_text="a long line of which")  # scrolls, by the keyboard too
        assert box.evaluate("box => box.scrollWidth > box.clientWidth && box.tabIndex === 0")


def test_widgets_react_and_the_theme_is_kept(shown):
    page = shown("01-first.html")
    slider = page.get_by_label("x", exact=True).first
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("4 squared is 16").wait_for()
    assert page.get_by_text("5 squared is 25").is_visible()
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Switch to dark mode").click()
    assert page.evaluate(paper) == "rgb(22, 24, 29)"
    assert page.evaluate("localStorage.getItem('sst-theme')") == "dark"
    assert page.evaluate("getComputedStyle(document.querySelector('.sst-widget')).backgroundColor") == "rgb(22, 24, 29)"


def test_the_keyboard_comes_to_the_text_first_and_formulas_have_their_font(shown):
    page = shown("01-first.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.evaluate("document.fonts.check('1em \"STIX Two Math\"')")
    high = page.evaluate("[...document.querySelectorAll('.display')].map(m => m.getBoundingClientRect().height)")
    assert min(high) > 20


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Pages and slides of the notebooks of the repository."""
    site = tmp_path_factory.mktemp("real") / "site"
    editions.make(["site", "slides"], ROOT / "notebooks", site, tell=lambda line: None)
    return site


WATCHED = ("03-geometry-of-sst", "07-retrieval")  # in the ordinary run; every other one is slow
EVERY = [pytest.param(name, marks=() if name in WATCHED else SLOW) for name in LECTURES]


@looks([*LECTURES, "index"], {"03-geometry-of-sst": ("phone, dark",), "07-retrieval": ("desk, light",)})
def test_a_page_of_the_notebooks_is_alive_fits_and_is_accessible(real, tab, name, width, dark):
    page, asked, path = tab(width, dark), [], real / f"{name}.html"
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('[data-widget]:not([data-ready])').length === 0")
    assert not page.bad
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []


def test_every_page_of_the_notebooks_is_alive_and_has_no_raw_tex(real, tab):
    page = tab(390)
    for name in LECTURES:
        page.goto((real / f"{name}.html").as_uri())
        page.wait_for_function("document.querySelectorAll('[data-widget]:not([data-ready])').length === 0")
        assert not page.bad, name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert not re.search(r"\\[a-zA-Z]{2,}|\$", bare((real / f"{name}.html").read_text(encoding="utf-8"))), name


@pytest.mark.parametrize("name", EVERY)
def test_a_deck_of_the_notebooks_fits_or_says_that_it_scrolls(real, tab, name):
    page = tab(1280, height=720)
    page.goto((real / "slides" / f"{name}.html").as_uri())
    page.locator("html[data-ready]").wait_for(state="attached")
    page.wait_for_function("document.querySelectorAll('[data-widget]:not([data-ready])').length === 0")
    for i in range(page.locator(".slides > section").count()):
        page.evaluate("i => Reveal.slide(i)", i)
        page.wait_for_function(
            """() => { const s = Reveal.getCurrentSlide(); return s.scrollWidth <= s.clientWidth &&
            s.scrollHeight > s.clientHeight + 1 === s.classList.contains('long') }""",
            timeout=5_000,
        )
    assert not page.bad


@pytest.mark.parametrize("number", [pytest.param(n, marks=SLOW) for n in ("02", "05")] + ["06"])
def test_the_playground_fits_its_slide(real, tab, number):
    """Question, answer and slow motion, without scrolling."""
    page = tab(1280, height=720)
    page.goto(next((real / "slides").glob(f"{number}-*.html")).as_uri(), timeout=90_000)
    page.locator("html[data-ready]").wait_for(state="attached")
    page.evaluate(
        "Reveal.slide([...document.querySelectorAll('.slides > section')].findIndex(s => s.querySelector('.sst-pg')))"
    )
    slide = page.locator("section.present")

    def fits():
        page.wait_for_timeout(300)
        boxes = slide.locator(".sst-pg-panel canvas:visible, .sst-pg-curve canvas:visible")
        assert boxes.count() >= 5 and all(box.bounding_box()["height"] > 90 for box in boxes.all())
        return slide.evaluate("s => s.scrollHeight <= s.clientHeight && !s.classList.contains('long')")

    slide.get_by_text(re.compile("Step 0")).first.wait_for(state="attached")
    assert fits()
    slide.get_by_role("radio").first.check()
    slide.get_by_role("button", name="Commit and run").click()
    slide.get_by_role("radio", name="full speed").check()
    slide.locator(".sst-pg-verdict p").first.wait_for(timeout=90_000)
    assert fits()
    slide.get_by_role("button", name="Slow motion").click()
    for _ in range(5):
        slide.get_by_role("button", name="Next ▸").click()
        assert fits(), slide.locator("[aria-current]").inner_text()
    assert not page.bad


@pytest.mark.parametrize("name", DECKS)
@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=SLOW)], ids=["light", "dark"])
def test_slides_are_reached_by_keys_and_fit_or_say_that_they_scroll(shown, name, dark):
    page = shown(name, width=1280, height=720, dark=dark)
    page.locator("html[data-ready]").wait_for(state="attached")
    count = page.evaluate("Reveal.getTotalSlides()")
    assert count == page.locator(".slides > section").count()
    for i in range(count):
        page.wait_for_timeout(100)
        state = page.evaluate(
            """(() => { const s = Reveal.getCurrentSlide();
            return [Reveal.getIndices().h, s.scrollHeight > s.clientHeight + 1, s.classList.contains('long'),
                    s.scrollWidth <= s.clientWidth, s.tabIndex] })()"""
        )
        assert state == [i, state[1], state[1], True, 0 if state[1] else -1]
        if i < count - 1:
            while page.evaluate("Reveal.getIndices().h") == i:  # fragments come first
                page.keyboard.press("ArrowRight")
    assert violations(page) == []


def test_a_long_slide_scrolls_by_the_keyboard_and_widgets_keep_their_keys(shown):
    page = shown(DECKS[1], width=1280, height=720)
    page.locator("html[data-ready]").wait_for(state="attached")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("Reveal.getCurrentSlide().scrollTop > 100")
    page = shown(DECKS[0], width=1280, height=720)
    page.locator("html[data-ready]").wait_for(state="attached")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.get_by_label("x", exact=True).first.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("4 squared is 16").wait_for()
    assert page.evaluate("Reveal.getIndices().h") == 2


def test_the_speaker_view_opens_from_disk(shown):
    page = shown(DECKS[0], width=1280, height=720)
    page.locator("html[data-ready]").wait_for(state="attached")
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    notes = popup.value.locator(".speaker-controls-notes .value")
    notes.get_by_text("15 min in all").wait_for()
    page.keyboard.press("ArrowRight")
    notes.get_by_text("4 min, until minute 4 of 15").wait_for()


# ---------------------------------------------------------------------------------------------------------------------
# Colab and Binder
# ---------------------------------------------------------------------------------------------------------------------
START = ROOT / ".colab" / "start.ipynb"


def start(address=""):
    """The code of the start notebook, with an address filled in."""
    cells = [cell.source for cell in nbformat.read(START, as_version=4).cells if cell.cell_type == "code"]
    assert 'address = ""' in cells[0]
    return cells[0].replace('address = ""', f"address = {str(address)!r}"), cells[1], cells[2]


@pytest.fixture
def clone(tmp_path):
    """A small repository of the form of ours."""
    origin = tmp_path / "origin"
    (origin / "sstutils").mkdir(parents=True)
    (origin / "sstutils" / "__init__.py").write_text("")
    write(origin / "notebooks", _00_start_here=second())
    for command in ("init --quiet", "add .", "-c user.name=a -c user.email=a@b commit --quiet -m one"):
        subprocess.run(["git", *command.split()], cwd=origin, check=True)
    return origin.as_uri()


def test_start_clones_installs_and_shows_the_way(tmp_path, monkeypatch, capsys, clone):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # neither installed nor on Colab
    calls, run = [], subprocess.run
    monkeypatch.setattr(
        "subprocess.run", lambda args, **options: run(args, **options) if args[0] == "git" else calls.append(args)
    )
    space = {}
    one, two, three = start(clone)
    exec(one, space)
    root = tmp_path / "empty" / "lectures"
    assert space["root"] == root.resolve()
    assert calls == [[sys.executable, "-m", "pip", "install", "--quiet", "--editable", str(root.resolve())]]
    assert Path.cwd() == root / "notebooks"
    exec(two, space)
    exec(three.replace("Markdown(", "shown = Markdown("), space)
    assert space["shown"].data == "- [00-start-here.ipynb](../notebooks/00-start-here.ipynb)"
    space["address"] = "https://github.com/me/it.git"
    exec(three.replace("Markdown(", "shown = Markdown("), space)
    assert "/github/me/it/blob/main/notebooks/00-start-here.ipynb)" in space["shown"].data
    assert "git clone --quiet --depth 1 https://github.com/me/it.git lectures" in space["shown"].data


def test_start_finds_what_is_there_and_asks_for_what_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(START.parent)
    space = {}
    exec(start()[0], space)
    assert space["root"] == ROOT
    monkeypatch.chdir(tmp_path)
    exec(start(ROOT)[0], space := {})
    assert space["root"] == ROOT
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="Enter the address"):
        exec(start()[0], {})
    with pytest.raises(SystemExit, match="Could not clone"):
        exec(start(tmp_path / "nothing")[0], {})


def test_binder_has_every_dependency_and_names_no_host():
    import tomllib

    listed = (ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8")
    renamed = {
        "torch": "pytorch-cpu",
        "opentsne": "opentsne",
        "matplotlib": "matplotlib-base",
        "seaborn": "seaborn-base",
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for dependency in project["dependencies"]:
        name, version = dependency.lower().split(">=")
        assert re.search(rf"^ +- {renamed.get(name, name)}>={version}$", listed, re.MULTILINE), dependency
    assert "://" not in listed + (ROOT / ".binder" / "postBuild").read_text(encoding="utf-8")
    assert (ROOT / ".binder" / "postBuild").stat().st_mode & 0o100
