"""Proofs over the whole platform, from outside: its tables in plain SQL, the provider's own record.

A check shares no code with what it checks; it would only repeat its mistakes. ``evidence`` is what
a proof may look at, ``stock``, ``orders``, ``money`` and ``events`` are the invariants, ``proofs``
runs them.
"""
