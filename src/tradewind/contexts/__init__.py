"""The business, one package per bounded context. They meet only through events and commands."""
