"""The vocabulary every part shares: ids, money, messages, problems. Pure; does no I/O."""
