"""``tradewind up``: every process of one installation, started in order, kept alive, stopped.

The supervisor owns the home folder (a lock), the listening socket, the embedded PostgreSQL, the
payment simulator and the web processes. It serves nothing itself: killing it loses no order.
"""
