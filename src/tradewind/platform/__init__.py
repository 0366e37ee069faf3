"""Everything that touches the outside world; knows no context."""
