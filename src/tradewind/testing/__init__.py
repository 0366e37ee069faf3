"""The public test kit: a real database, units of work one by one, a whole shop in one process."""
