"""Tables in LaTeX, with booktabs' rules, ready for a paper."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence

import pandas as pd

# Characters that pdfLaTeX interprets, or typesets differently.
SIGNS = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "−": "$-$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "†": r"\dag{}",
        "–": "--",
        "…": r"\dots{}",
        "“": "``",
        "”": "''",
    }
)
# Characters that fit into one of a page's two columns; a wider table spans both.
COLUMN_WIDTH = 48
# Longer cells are broken into lines, in paths and settings after the characters of JOINTS.
LONG_CELL = 32
PARAGRAPH = r">{\raggedright\arraybackslash}p{0.2\textwidth}"
JOINTS = re.compile(r"(?<=[/=,\-])(?=\S)|(?<=\\_)(?=\S)")


def as_latex(
    name: str, caption: str, cells: pd.DataFrame, notes: Sequence[str], right: Collection[Hashable], comment: str
) -> str:
    """A table as a float, scaled to fit the page; it requires ``array``, ``booktabs`` and ``adjustbox``.

    Args:
        name: of its label, after ``tab:``.
        caption: above it.
        cells: formatted text.
        notes: below it.
        right: right-aligned columns.
        comment: first line of the source.
    """
    texts = cells.astype(str)
    widths = {column: max(map(len, (str(column), *texts[column]))) for column in texts}
    kinds = ["r" if column in right else PARAGRAPH if widths[column] > LONG_CELL else "l" for column in texts]
    rows = [list(map(str, texts.columns)), *texts.to_numpy().tolist()]
    head, *body = [" & ".join(map(_cell, row)) + r" \\" for row in rows]
    float_ = "table" if sum(widths.values()) + 2 * len(widths) <= COLUMN_WIDTH else "table*"
    return "\n".join(
        (
            rf"% {comment}; requires \usepackage{{array,booktabs,adjustbox}}",
            rf"\begin{{{float_}}}[tbp]",
            r"\centering",
            rf"\caption{{{caption.translate(SIGNS)}}}",
            rf"\label{{tab:{name}}}",
            r"\begin{adjustbox}{max width=\linewidth, max totalheight=0.85\textheight}",
            rf"\begin{{tabular}}{{{''.join(kinds)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{adjustbox}",
            *(rf"\par\smallskip{{\footnotesize {note.translate(SIGNS)}\par}}" for note in notes),
            rf"\end{{{float_}}}",
            "",
        )
    )


def _cell(text: str) -> str:
    words = text.translate(SIGNS)
    return JOINTS.sub(r"\\allowbreak{}", words) if len(text) > LONG_CELL else words
