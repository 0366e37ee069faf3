"""Fraud: a score for every authorised payment, and the review of those that were held.

Owns: scores with their reasons, reviews.

Announces: `PaymentCleared`, `PaymentHeld`, `PaymentBlocked`, all about the order.

Listens to: payments (`PaymentAuthorised`) and orders (`OrderRejected`, `OrderCancelled`: the review
of an order that died is closed).

Every point of a score has a reason that a person can read. Nothing is ever held for the network
address it came from. Imported history is scored, never held.
"""
