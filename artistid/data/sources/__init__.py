"""The data sets: where their tracks lie, and whose they are; one module for each."""
