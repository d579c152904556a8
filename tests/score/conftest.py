"""The model folders that these tests score."""

from fixtures.models import model_folder

__all__ = ["model_folder"]
