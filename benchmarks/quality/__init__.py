"""How good the recommendations are, next to what others reach on the same split of the same data."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
