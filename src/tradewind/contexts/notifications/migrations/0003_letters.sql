-- Mails about accounts: verify an address, replace a password. Such a row is about an errand
-- (`ern_...`), whose id stands where that of an order would; it has no total, and the currency is
-- ISO 4217's "no currency". What the mail confirms is made of the errand's id when it is written.
ALTER TABLE notifications.messages DROP CONSTRAINT messages_kind_check;
ALTER TABLE notifications.messages ADD CONSTRAINT messages_kind_check
  CHECK (kind IN ('confirmation', 'cancellation', 'account')) NOT VALID;
