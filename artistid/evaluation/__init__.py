"""From predictions to scores: whatever made the predictions, voting, scores, figures and tables start here."""
