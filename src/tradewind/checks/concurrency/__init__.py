"""Races of a shop, run from outside over any platform's own API: who gets the last unit, and so on.

``adapter`` is what a platform must be able to do, ``races`` are the races, each with one sentence
that must hold, ``run`` runs them and gives verdicts. ``tradewind_adapter`` points them at us.
"""
