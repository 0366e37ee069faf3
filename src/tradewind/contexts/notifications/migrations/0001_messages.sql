-- Messages to people. A row holds vault tokens, never an address, a name or a text: the mail is
-- written from the row and the vault when it leaves, and again when the mailbox is read.
--
-- The embedded mailbox is the rows with via = 'mailbox'; (order_id, kind) decides the Message-ID,
-- so its unique key is what drops a repeat.

CREATE TABLE notifications.messages (
    message_id  text COLLATE "C" PRIMARY KEY CHECK (message_id LIKE 'msg\_%'),
    order_id    text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('confirmation', 'cancellation')),
    person      text COLLATE "C" NOT NULL CHECK (person LIKE 'prs\_%'),
    contact     text COLLATE "C" NOT NULL CHECK (contact LIKE 'ctc\_%'),
    total_minor bigint NOT NULL CHECK (total_minor >= 0),
    currency    text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Which text, and which version of it: an old mail reads as it was sent.
    template    text COLLATE "C" NOT NULL CHECK (template <> ''),
    -- The Message-ID header: fixed with the row, so that every attempt carries the same.
    header_id   text COLLATE "C" NOT NULL,
    status      text COLLATE "C" NOT NULL CHECK (status IN ('queued', 'sent', 'dead')),
    via         text COLLATE "C" CHECK (via IN ('smtp', 'mailbox')),
    attempts    smallint NOT NULL CHECK (attempts >= 0),
    -- When it may be tried (again). A claim moves it past the claim's end.
    due_at      timestamptz,
    reason      text COLLATE "C",
    -- The sequence of its event among those of the order.
    sequence    smallint CHECK (sequence >= 1),
    queued_at   timestamptz NOT NULL,
    settled_at  timestamptz,
    UNIQUE (order_id, kind),
    CHECK ((status = 'queued') = (due_at IS NOT NULL)),
    CHECK ((status = 'queued') = (sequence IS NULL)),
    CHECK ((status = 'queued') = (settled_at IS NULL)),
    CHECK ((status = 'sent') = (via IS NOT NULL))
) WITH (fillfactor = 80);

-- handlers.DUE_MESSAGES: oldest first. Empty while mail goes to the embedded mailbox.
CREATE INDEX messages_due ON notifications.messages (due_at) WHERE status = 'queued';

-- queries.MAILBOX_OF: one address, newest first.
CREATE INDEX messages_mailbox ON notifications.messages (contact, message_id)
    WHERE via = 'mailbox';
