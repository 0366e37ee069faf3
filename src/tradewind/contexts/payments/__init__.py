"""Payments: takes the money of an order, or gives it back, each exactly once.

Owns payments, the operations asked of the provider, refunds and the double-entry ledger. Announces
PaymentAuthorised, PaymentDeclined, PaymentFailed, PaymentCaptured, CaptureRefused, PaymentVoided,
PaymentRefunded and RefundRefused, all about the order. Listens to StockReserved (authorise),
OrderConfirmed (capture), OrderRejected and OrderCancelled (void or refund).

Every payment knows what is `wanted` of it: authorised, captured or nothing. Whenever no operation
is under way, the rules ask what is still missing for that and start it; so whatever order messages,
outcomes and crashes come in, the money ends where the order wants it.
"""
