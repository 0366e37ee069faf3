"""Bugs on purpose, to prove that `tradewind check oversell` finds them.

``house`` is `tradewind up` with one of them in its web processes: `python -m
tradewind.testing.planted.house BUG`. No setting leads here; a platform started in any other way has
none of them.
"""
