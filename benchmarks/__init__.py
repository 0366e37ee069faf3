"""Figures of the platform, each against partners in the same run. README.md has the method."""
