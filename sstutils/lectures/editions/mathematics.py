r"""TeX formulas as MathML, at build time: what the notebooks use of TeX, and an error for what they do not.

The grammar, and the spaces between atoms, are those of The TeXbook (chapters 17 and 18, appendix G); the names of
symbols are those of latex2mathml. A page needs no script for its formulas, only a font with a MATH table.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from html import escape

from latex2mathml.symbols_parser import convert_symbol

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d(?:\{,\}\d|\d)*|\s+|.", re.DOTALL)
_SPACES = {",": 3, ":": 4, ">": 4, ";": 5, "!": -3, " ": 4, "enspace": 9, "quad": 18, "qquad": 36}  # in 1/18 em
_NAMES = "arccos arcsin arctan arg cos cosh deg det dim exp gcd inf ker lim ln log max min sin sinh sup tan tanh Pr"
_LIMITS = {"det", "gcd", "inf", "lim", "max", "min", "sup", "Pr", "argmax", "argmin"}
_BIG = {"big": 1.2, "Big": 1.8, "bigg": 2.4, "Bigg": 3.0}
_ACCENTS = {"hat": "^", "widehat": "^", "bar": "¯", "overline": "¯", "tilde": "~", "widetilde": "~", "vec": "→"}
_ACCENTS |= {"dot": "˙", "ddot": "¨", "check": "ˇ"}
_BRACES = {"underbrace": ("munder", "⏟"), "overbrace": ("mover", "⏞")}
_FONTS = {"mathbf": "BOLD", "boldsymbol": "BOLD ITALIC", "bm": "BOLD ITALIC", "mathbb": "DOUBLE-STRUCK"}
_FONTS |= {"mathcal": "SCRIPT", "mathscr": "SCRIPT"}
_OPEN = {"(": "(", "[": "[", r"\{": "{", r"\lbrace": "{", r"\lfloor": "⌊", r"\lceil": "⌈", r"\langle": "⟨"}
_OPEN |= {r"\lvert": "|", r"\lVert": "‖"}
_CLOSE = {")": ")", "]": "]", r"\}": "}", r"\rbrace": "}", r"\rfloor": "⌋", r"\rceil": "⌉", r"\rangle": "⟩"}
_CLOSE |= {r"\rvert": "|", r"\rVert": "‖"}
_BARS = {"|": "|", r"\vert": "|", r"\|": "‖", r"\Vert": "‖"}
_FENCES = _OPEN | _CLOSE | _BARS | {".": "", "/": "/"}
_BINARY = set("+−±∓·×÷∗∘⋆∪∩∧∨⊕⊖⊗⊙∖⧵")
_ORDINARY = set("∂∇∞∅∀∃¬⊤⊥′…⋯⋮⋱%!?@#&/.°")
_MORE = {r"\dots": "…", r"\sim": "∼", r"\ast": "∗", r"\colon": ":", r"\lt": "<", r"\gt": ">", r"\&": "&", r"\#": "#"}
_MORE |= {r"\_": "_", r"\$": "$", r"\%": "%", "*": "∗", "-": "−", r"\middle": "|", r"\top": "⊤", r"\perp": "⊥"}
_ENVIRONMENTS = {"aligned": "", "align": "", "align*": "", "split": "", "gathered": "", "cases": "{ ", "matrix": ""}
_ENVIRONMENTS |= {"pmatrix": "()", "bmatrix": "[]", "vmatrix": "||", "Vmatrix": "‖‖", "array": ""}

LONG = 16
"""A formula of more signs within a line may be broken after its relations, where TeX would break it."""

# Spaces between two atoms (TeXbook, p. 170) in 1/18 em; those in brackets of the book, 4 and 5 here, not in scripts.
_KINDS = ("ord", "op", "bin", "rel", "open", "close", "punct", "inner")
_BETWEEN = (
    (0, 3, 4, 5, 0, 0, 0, 4.5),
    (3, 3, 0, 5, 0, 0, 0, 4.5),
    (4, 4, 0, 0, 4, 0, 0, 4),
    (5, 5, 0, 0, 5, 0, 0, 5),
    (0, 0, 0, 0, 0, 0, 0, 0),
    (0, 3, 4, 5, 0, 0, 0, 4.5),
    (4.5, 4.5, 0, 4.5, 4.5, 4.5, 4.5, 4.5),
    (4.5, 3, 4, 5, 4.5, 0, 4.5, 4.5),
)


class TexError(ValueError):
    """A formula that cannot be read."""


@dataclass
class _Atom:
    xml: str
    kind: str = "ord"  # or "space", which stands between atoms and is none
    limits: bool = False


def mathml(tex: str, display: bool = False) -> str:
    r"""Return a formula as MathML.

    Parameters
    ----------
    tex : str
        What stands between the dollar signs.
    display : bool
        Whether it stands on a line of its own.

    Raises
    ------
    TexError
        For a command that is not known, or a brace without its partner.

    Examples
    --------
    >>> mathml("x")
    '<math><mi>x</mi></math>'
    """
    parser = _Parser(tex, display)
    pieces = parser.pieces(
        (), breaks=not display and len(re.sub(r"\\[A-Za-z]+", "x", re.sub(r"[{}\s]", "", tex))) > LONG
    )
    if parser.peek():
        raise parser.error(f"there is one {parser.peek()} too many")
    if display:
        return f'<math display="block">{_group(pieces[0])}</math>'
    return " ".join(f"<math>{_group(piece)}</math>" for piece in pieces)


def _group(xml: list[str]) -> str:
    return xml[0] if len(xml) == 1 else "" if not xml else f"<mrow>{''.join(xml)}</mrow>"


def _space(eighteenths: float) -> str:
    return f'<mspace width="{round(eighteenths / 18, 3):g}em"/>'


def _mo(char: str, **attributes: str) -> str:
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<mo lspace="0" rspace="0"{more}>{escape(char)}</mo>'


def _fence(char: str, **attributes: str) -> str:
    return _mo(char, fence="true", **attributes) if char else ""


def _styled(text: str, font: str) -> str:
    """Return the letters and digits of a text in a mathematical alphabet, such as 'BOLD'."""
    out = ""
    for char in text:
        name = unicodedata.name(char, "").replace("LATIN ", "").replace("GREEK ", "").replace(" LETTER", "")
        name = name.replace("DIGIT ", "DIGIT ")
        for alphabet in (font, font.replace(" ITALIC", "")):  # digits are upright
            try:
                char = unicodedata.lookup(f"MATHEMATICAL {alphabet} {name}")
                break
            except KeyError:
                try:  # some capitals were in Unicode before the alphabets, such as the R of the real numbers
                    char = unicodedata.lookup(f"{alphabet} {name}")
                    break
                except KeyError:
                    pass
        out += char
    return out


class _Parser:
    def __init__(self, tex: str, display: bool) -> None:
        self.tex, self.display, self.script, self.bars = tex, display, False, 0
        self.tokens = _TOKEN.findall(tex.strip())
        self.at = 0

    def error(self, what: str) -> TexError:
        return TexError(f"formula ${' '.join(self.tex.split())}$: {what}")

    def peek(self) -> str:
        while self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        if not token:
            raise self.error("it ends too early")
        self.at += 1
        return token

    def raw(self) -> str:
        """Return the text of a group, as it stands."""
        if self.next() != "{":
            return self.tokens[self.at - 1]
        depth, out = 1, ""
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            depth += (token == "{") - (token == "}")
            if not depth:
                return out
            out += token
        raise self.error("a brace is not closed")

    def argument(self, script: bool = False, display: bool = False) -> str:
        """Return the next group or symbol as one element."""
        before = self.script, self.display
        self.script, self.display = self.script or script, display
        token = self.next()
        if token == "{":
            xml = self.row(("}",))
            self.next()
        else:
            if token[0].isdigit() and len(token) > 1:  # \frac12 takes digits one by one
                self.at -= 1
                self.tokens[self.at] = token[1:]
                token = token[0]
            xml = self.atom(token, []).xml
        self.script, self.display = before
        return xml

    def row(self, until: tuple[str, ...], first: str = "") -> str:
        """Return all up to one of the tokens `until` as one element; `first` is the kind of an empty atom before it."""
        return _group(self.pieces(until, first)[0])

    def pieces(self, until: tuple[str, ...], first: str = "", breaks: bool = False) -> list[list[str]]:
        """Return a row as lists of elements, between which a line may be broken."""
        atoms: list[_Atom] = []
        kinds = [first] if first else []
        while (token := self.peek()) and token not in (*until, "}", "&", r"\\", r"\right", r"\end"):
            self.at += 1
            if token in (r"\displaystyle", r"\textstyle"):
                self.display = token == r"\displaystyle"
                rest = self.row(until)
                atoms.append(_Atom(f'<mstyle displaystyle="{str(self.display).lower()}">{rest}</mstyle>', "ord"))
                break
            atom = self.scripts(self.atom(token, kinds))
            if atom.kind == "bin" and (not kinds or kinds[-1] in ("bin", "op", "rel", "open", "punct")):
                atom.kind = "ord"  # a sign, not an operation
            if atom.kind in ("rel", "close", "punct") and kinds and kinds[-1] == "bin":
                next(a for a in reversed(atoms) if a.kind == "bin").kind = kinds[-1] = "ord"
            if atom.kind != "space":
                kinds.append(atom.kind)
            atoms.append(atom)
        if until and self.peek() not in (*until, "&", r"\\"):
            raise self.error("a brace or an environment is not closed")
        xml, before, depth = [[]], first, 0
        for atom in atoms:
            depth += (atom.kind == "open") - (atom.kind == "close")
            if breaks and before == "rel" and not depth and atom.kind not in ("space", "rel"):
                xml.append([])
                before = ""
            if atom.kind != "space":
                width = _BETWEEN[_KINDS.index(before)][_KINDS.index(atom.kind)] if before else 0
                if int(width) != width:  # bracketed thin space
                    width = 0 if self.script else 3
                elif width > 3 and self.script:
                    width = 0
                if width:
                    xml[-1].append(_space(width))
                before = atom.kind
            if atom.xml:
                xml[-1].append(atom.xml)
        return xml

    def scripts(self, atom: _Atom) -> _Atom:
        """Put sub- and superscripts and primes at an atom."""
        sub = over = primes = ""
        limits = atom.limits and (self.display or atom.xml.startswith(("<munder>", "<mover>")))
        while (token := self.peek()) in ("^", "_", "'", r"\limits", r"\nolimits"):
            self.at += 1
            if token == "'":
                primes += "′"
            elif token[0] == "\\":
                limits = token == r"\limits"
            elif token == "_":
                if sub:
                    raise self.error("two subscripts at one symbol")
                sub = self.argument(script=True)
            else:
                if over:
                    raise self.error("two superscripts at one symbol")
                over = self.argument(script=True)
        if primes:
            over = _group([_mo(primes), over] if over else [_mo(primes)])
        if not (sub or over):
            return atom
        names = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
        name = names[2] if sub and over else names[0] if sub else names[1]
        return _Atom(f"<{name}>{atom.xml or '<mrow></mrow>'}{sub}{over}</{name}>", atom.kind)

    def atom(self, token: str, kinds: list[str]) -> _Atom:
        """Return the atom that begins with a token, which was read; `kinds` are those of the atoms before it."""
        name = token[1:] if token[0] == "\\" else ""
        if token == "{":
            xml = self.row(("}",))
            self.next()
            return _Atom(xml)
        if name in _SPACES or token == "~":
            return _Atom(_space(_SPACES.get(name, 4)), "space")
        if name in _NAMES.split():
            return _Atom(f"<mi>{name}</mi>", "op", name in _LIMITS)
        if name == "operatorname":
            word = self.raw().lstrip("*").replace(r"\,", "\u2009")
            normal = ' mathvariant="normal"' if len(word) == 1 else ""
            return _Atom(f"<mi{normal}>{escape(word)}</mi>", "op", word in _LIMITS)
        if name in ("text", "textit", "textrm", "textbf", "mbox"):
            text = re.sub(r"\\([_%&#${} ])", r"\1", self.raw())
            if "\\" in text or "$" in text:
                raise self.error(f"\\{name} takes plain text only")
            return _Atom(f"<mtext>{escape(text).replace(' ', '&#160;')}</mtext>")
        if name in ("mathrm", "mathit", "mathsf", "mathtt"):
            word = self.raw()
            if not word.replace(" ", "").isalnum():
                raise self.error(f"\\{name} takes letters only")
            return _Atom(f'<mi mathvariant="normal">{word}</mi>' if len(word) == 1 else f"<mi>{word}</mi>")
        if name in _FONTS:
            word = "".join(self.char(token)[0] for token in _TOKEN.findall(self.raw()))
            styled = _styled(word, _FONTS[name])
            return _Atom(f"<mn>{styled}</mn>" if word.isdigit() else f"<mi>{styled}</mi>")
        if name in ("frac", "dfrac", "tfrac"):
            display = name == "dfrac"
            over, under = self.argument(display=False), self.argument(display=False)
            xml = f"<mfrac>{over}{under}</mfrac>"
            if name != "frac":
                xml = f'<mstyle displaystyle="{str(display).lower()}" scriptlevel="0">{xml}</mstyle>'
            return _Atom(xml, "inner")
        if name == "binom":
            inner = f'<mfrac linethickness="0">{self.argument()}{self.argument()}</mfrac>'
            return _Atom(f"<mrow>{_fence('(')}{inner}{_fence(')')}</mrow>", "inner")
        if name == "sqrt":
            if self.peek() == "[":
                self.at += 1
                index = self.row(("]",))
                self.next()
                return _Atom(f"<mroot>{self.argument(display=self.display)}{index}</mroot>")
            return _Atom(f"<msqrt>{self.argument(display=self.display)}</msqrt>")
        if name in _ACCENTS:
            wide = str(name[:4] in ("wide", "over")).lower()
            mark = _mo(_ACCENTS[name], stretchy=wide)
            return _Atom(f'<mover accent="true">{self.argument(display=self.display)}{mark}</mover>')
        if name == "underline":
            return _Atom(f"<munder>{self.argument(display=self.display)}{_mo('_', stretchy='true')}</munder>")
        if name in _BRACES:
            tag, brace = _BRACES[name]
            return _Atom(
                f"<{tag}>{self.argument(display=self.display)}{_mo(brace, stretchy='true')}</{tag}>", "op", True
            )
        if name in ("overset", "stackrel", "underset"):
            small, big = self.argument(script=True), self.argument(display=self.display)
            tag = "munder" if name == "underset" else "mover"
            return _Atom(f"<{tag}>{big}{small}</{tag}>", "rel")
        if name == "not":
            char, kind = self.char(self.next())
            return _Atom(_mo(unicodedata.normalize("NFC", char + "\u0338")), kind)
        if name == "left":
            return self.between()
        if name.rstrip("lrm") in _BIG:
            size = f"{_BIG[name.rstrip('lrm')]}em"
            kind = {"l": "open", "r": "close", "m": "rel"}.get(name[-1], "ord")
            return _Atom(self.delimiter(self.next(), stretchy="true", minsize=size, maxsize=size), kind)
        if name == "begin":
            return self.environment()
        if name == "substack":
            self.next()
            table = f'<mtable class="substack">{self.rows(("}",))}</mtable>'
            self.next()
            return _Atom(table)
        if token in _BARS:  # one sign opens and closes
            opens = not kinds or kinds[-1] in ("bin", "op", "rel", "open", "punct") or self.bars % 2 == 0
            self.bars += 1 if opens else -1
            return _Atom(self.delimiter(token, stretchy="false"), "open" if opens else "close")
        if token in _OPEN or token in _CLOSE:
            return _Atom(self.delimiter(token, stretchy="false"), "open" if token in _OPEN else "close")
        if token[0].isdigit():
            if self.peek() == "." and self.at + 1 < len(self.tokens) and self.tokens[self.at + 1][0].isdigit():
                self.at += 2
                token += "." + self.tokens[self.at - 1]
            return _Atom(f"<mn>{token.replace('{,}', ',')}</mn>")
        char, kind = self.char(token)
        if kind == "ord" and char not in "′…⋯⋮⋱!?@#&/.%°":
            upright = "Α" <= char <= "Ω" or char in "∇∞∅"
            return _Atom(f'<mi mathvariant="normal">{char}</mi>' if upright else f"<mi>{char}</mi>")
        more = {"largeop": "true"} if kind == "op" else {"stretchy": "false"} if kind == "rel" else {}
        return _Atom(_mo(char, **more), kind, kind == "op" and char not in "∫∬∮")

    def char(self, token: str) -> tuple[str, str]:
        """Return the character that a token stands for, and its kind."""
        char = _MORE.get(token) or (token if token[0] != "\\" else "")
        if not char:
            code = convert_symbol(token)
            if code is None:
                raise self.error(f"{token} is not known to sstutils.lectures.editions.mathematics")
            char = chr(int(code, 16))
        if char in "^_":
            raise self.error(f"{char} follows nothing")
        category = unicodedata.category(char)
        if char in _BINARY:
            return char, "bin"
        if char in _ORDINARY or category[0] in "LN":
            return char, "ord"
        if char in ",;":
            return char, "punct"
        if "∏" <= char <= "∑" or "∫" <= char <= "∳" or "⋀" <= char <= "⋃" or "⨀" <= char <= "⨆":
            return char, "op"
        return char, "rel" if category in ("Sm", "Po") else "ord"

    def delimiter(self, token: str, **attributes: str) -> str:
        if token not in _FENCES:
            raise self.error(f"{token} is no delimiter")
        return _fence(_FENCES[token], **attributes)

    def between(self) -> _Atom:
        """Read up to the `right` of a `left`."""
        opening = self.delimiter(self.next(), form="prefix", stretchy="true")
        inner = self.row((r"\right",))
        self.next()
        closing = self.delimiter(self.next(), form="postfix", stretchy="true")
        return _Atom(f"<mrow>{opening}{inner}{closing}</mrow>", "inner")

    def environment(self) -> _Atom:
        name = self.raw()
        if name not in _ENVIRONMENTS:
            raise self.error(f"the environment {name} is not known to sstutils.lectures.editions.mathematics")
        if name == "array":
            self.raw()  # the columns
        lines = name in ("aligned", "align", "align*", "split", "gathered")
        before, self.display = self.display, lines
        rows = self.rows((r"\end",), aligned=lines and name != "gathered")
        self.display = before
        self.next()
        if self.raw() != name:
            raise self.error(f"\\begin{{{name}}} is not closed")
        look = "aligned" if lines else "cases" if name == "cases" else "matrix"
        table = f'<mtable class="{look}"' + (' displaystyle="true">' if lines else ">") + f"{rows}</mtable>"
        left, right = (_ENVIRONMENTS[name] + "  ")[:2]
        fences = [_fence(x.strip(), form=form, stretchy="true") for x, form in ((left, "prefix"), (right, "postfix"))]
        return _Atom(
            f"<mrow>{fences[0]}{table}{fences[1]}</mrow>" if any(fences) else table, "inner" if left else "ord"
        )

    def rows(self, until: tuple[str, ...], aligned: bool = False) -> str:
        """Return the rows of a table; in an aligned one, what follows an ``&`` follows an empty atom."""
        rows, cells = [], []
        while True:
            cells.append(self.row(until, "ord" if aligned and len(cells) % 2 else ""))
            token = self.peek()
            if token == "&":
                self.at += 1
                continue
            if cells != [""] or token == r"\\":
                rows.append("".join(f"<mtd>{cell}</mtd>" for cell in cells))
            cells = []
            if token != r"\\":
                if token not in until:
                    raise self.error(f"{token or 'the end'} comes too early")
                return "".join(f"<mtr>{row}</mtr>" for row in rows)
            self.at += 1
