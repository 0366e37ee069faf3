"""PostgreSQL: the embedded server, connections by role, migrations, the unit of work."""
