"""What all specifications have in common: frozen values, in which an unknown key is an error."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Base of all specifications: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def without_defaults(found: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Without the later fields that have their default: specifications from before them keep their digest."""
    return {name: value for name, value in found.items() if name not in defaults or value != defaults[name]}


def unique(kind: str, names: list[str]) -> None:
    """Raise ValueError where a name is given twice."""
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"{kind} '{doubled[0]}' is named twice")
