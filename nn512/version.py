"""The version of nn512."""

__version__ = "0.1.0"
