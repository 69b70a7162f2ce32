"""What this package is: its version, and where the data lie that ship with it."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"

_FOLDER = Path(__file__).resolve().parent

ASSETS = _FOLDER / "assets"


def shipped(name: str) -> Path:
    """A top-level folder of the repository, such as ``migrations``: a wheel holds it inside the package."""
    inside = _FOLDER / name
    return inside if inside.is_dir() else _FOLDER.parent / name
