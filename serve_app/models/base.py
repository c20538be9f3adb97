"""The base of every HTTP model: strict, immutable, and readable from the store's rows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class HttpModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)
