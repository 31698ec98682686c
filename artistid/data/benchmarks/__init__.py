"""Open benchmarks of artist identification: lists of freely licensed tracks with an album split.

``jamendo20`` has the size of artist20, which can't be downloaded: 20 artists, 6 albums of each. ``jamendo200`` has ten
times as many artists, including those of ``jamendo20`` with the same albums in the same parts. Both are chosen from
MTG-Jamendo (:mod:`artistid.data.benchmarks.choice`); the lists hold its identifiers and nothing else of its table.
"""
