"""What a process remembers so that it need not ask again."""
