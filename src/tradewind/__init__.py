"""Tradewind: a commerce and order platform."""

__version__ = "0.1.0"
