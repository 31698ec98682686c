"""From predictions, by any system, to votes, scores, figures and tables."""
