"""From run folders to a report: the paper's tables beside the published figures, comparisons and figures.

``published`` holds the paper's figures, ``tables`` and ``figures`` are made of studies of runs, ``sections`` puts them
in order, ``findings`` says them in words, and ``document`` writes them as Markdown, CSV, ``latex`` and one HTML page.
``spectrograms`` and ``maps`` show a network's inputs and the embeddings that it makes of them (``projection``).
"""
