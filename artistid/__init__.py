"""Who made this? Music artist classification after Nasrullah & Zhao (2019), studied properly.

The verbs are modules: ``python -m artistid.train``, ``evaluate``, ``prepare``, ``report``. Importing the package
imports nothing heavy, so that ``--help`` answers at once.
"""

__version__ = "0.1.0"
