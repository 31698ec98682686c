"""The networks, and the classifiers that they are compared with; one module for each publication."""
