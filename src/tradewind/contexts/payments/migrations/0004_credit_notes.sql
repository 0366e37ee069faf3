-- What is owed by a credit note that stands alone: no payment stands behind it. Its number takes the
-- place of the order, its id that of the payment.
ALTER TABLE payments.ledger
    DROP CONSTRAINT ledger_kind_check,
    ADD CONSTRAINT ledger_kind_check
        CHECK (kind IN ('sale', 'settlement', 'return', 'repayment', 'fee', 'credit')),
    DROP CONSTRAINT ledger_debit_check,
    ADD CONSTRAINT ledger_debit_check
        CHECK (debit ~ '^(receivable|sales|refunds|fees|credits|provider:[a-z0-9-]+)$'),
    DROP CONSTRAINT ledger_credit_check,
    ADD CONSTRAINT ledger_credit_check
        CHECK (credit ~ '^(receivable|sales|refunds|fees|credits|provider:[a-z0-9-]+)$');
