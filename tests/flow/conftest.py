"""The fake engine, for every test of the flow."""

from flow.fake import engines

__all__ = ["engines"]
