"""Heliostat: from a pretrained model and a folder of your own data to a small, trusted, served model."""

__version__ = "0.1.0"
