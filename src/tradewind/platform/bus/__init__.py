"""The bus: an append-only log in PostgreSQL, consumers with leases, command batches, the feed.

Invariants: an event commits with the rows it tells about, or not at all. A consumer's offset
commits with its effects. Below the transaction horizon nothing is ever added behind a cursor.
Events of one key are handled in order, by one process at a time; a zombie's commit is refused.
"""
