"""The far side of Comptoir: a small program for the Windows machine beside Sage, EBP or Ciel.

Standard library only, so that it can be frozen into one executable; a driver for SQL Server is optional. It imports
nothing of Comptoir: what the two say to each other stands in docs/agent.md.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
