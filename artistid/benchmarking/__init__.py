"""How fast this package is on this machine: at each of its stages, and compared with alternatives."""
