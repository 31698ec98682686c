"""Tables in LaTeX, with booktabs' rules, which go into a paper as they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence

import pandas as pd

# What pdfLaTeX takes for a command, or draws as something else.
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
# Characters that fit into one of two columns of a page; a table with more goes across both.
COLUMN_WIDTH = 48
# A column with longer cells breaks their lines, paths and settings where they have joints.
LONG_CELL = 32
PARAGRAPH = r">{\raggedright\arraybackslash}p{0.2\textwidth}"
JOINTS = re.compile(r"(?<=[/=,\-])(?=\S)|(?<=\\_)(?=\S)")


def as_latex(
    name: str, caption: str, cells: pd.DataFrame, notes: Sequence[str], right: Collection[Hashable], comment: str
) -> str:
    """A table as a float of its own, no larger than its page; it takes ``array``, ``booktabs`` and ``adjustbox``.

    Args:
        name: of its label, after ``tab:``.
        caption: above it.
        cells: text, as read.
        notes: below it.
        right: the columns whose cells are set to the right.
        comment: in the source, above all.
    """
    texts = cells.astype(str)
    widths = {column: max(map(len, (str(column), *texts[column]))) for column in texts}
    kinds = ["r" if column in right else PARAGRAPH if widths[column] > LONG_CELL else "l" for column in texts]
    rows = [list(map(str, texts.columns)), *texts.to_numpy().tolist()]
    head, *body = [" & ".join(map(_cell, row)) + r" \\" for row in rows]
    float_ = "table" if sum(widths.values()) + 2 * len(widths) <= COLUMN_WIDTH else "table*"
    return "\n".join(
        (
            rf"% {comment}; takes \usepackage{{array,booktabs,adjustbox}}",
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
