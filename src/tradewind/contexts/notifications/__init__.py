"""Notifications: what the shop tells its customers, and that it tells it once.

Owns the messages to people: one per order and kind, one per errand of an account. Announces
MessageSent, MessageFailed. Listens to orders (OrderConfirmed, OrderCancelled) and identity
(LetterAsked). Holds no address and no text that names
anyone: a mail is written from its row and the vault when it leaves or is read.
"""
