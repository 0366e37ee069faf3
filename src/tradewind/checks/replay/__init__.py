"""The events, folded into the rows they explain, and compared with the rows that are there.

Orders, stock, payments and the ledger are sources of truth; the log must explain every row of them.
``facts`` is the log as it is read, ``folds`` says what rows follow from it, ``compare`` holds both
against each other, ``run`` does so in one snapshot. Nothing here is shared with the contexts: how
an event moves a row is written a second time, on purpose.
"""
