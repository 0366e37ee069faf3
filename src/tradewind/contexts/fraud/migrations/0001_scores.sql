-- Fraud: what each payment scored and why, and the reviews of those that were held.

-- Written once, never changed. `reasons` is a JSON array of {code, points, text}.
CREATE TABLE fraud.scores (
    order_id text COLLATE "C" PRIMARY KEY,
    payment_id text COLLATE "C" NOT NULL,
    score smallint NOT NULL CHECK (score BETWEEN 0 AND 100),
    held boolean NOT NULL,
    imported boolean NOT NULL,
    reasons text NOT NULL,
    contact text COLLATE "C",  -- the vault's token of an e-mail address; never the address
    placed_at timestamptz NOT NULL,
    scored_at timestamptz NOT NULL,
    CHECK (NOT (held AND imported)),
    CHECK (score = 0 OR reasons <> '[]')
);

-- How many orders a contact placed lately.
CREATE INDEX scores_by_contact ON fraud.scores (contact, placed_at) WHERE contact IS NOT NULL;

-- One row per order that was ever held. `version` is the sequence of its newest event.
CREATE TABLE fraud.reviews (
    order_id text COLLATE "C" PRIMARY KEY REFERENCES fraud.scores,
    status text COLLATE "C" NOT NULL CHECK (status IN ('held', 'released', 'refused', 'closed')),
    version int NOT NULL CHECK (version IN (1, 2)),
    held_at timestamptz NOT NULL,
    review_before timestamptz NOT NULL,
    ended_at timestamptz,
    reviewer text COLLATE "C",
    note text,
    CHECK ((status = 'held') = (ended_at IS NULL)),
    CHECK ((status IN ('released', 'refused')) = (version = 2)),
    CHECK ((version = 2) = (reviewer IS NOT NULL))
) WITH (fillfactor = 80);

CREATE INDEX reviews_by_status ON fraud.reviews (status, order_id DESC);
