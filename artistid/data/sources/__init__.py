"""The data sets: where their tracks lie, and who made them; one module each."""
