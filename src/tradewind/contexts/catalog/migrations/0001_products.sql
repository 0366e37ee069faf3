-- Products: what shoppers see (document) is written once per change and read as it stands.
CREATE TABLE catalog.products (
  product_id  text        COLLATE "C" PRIMARY KEY,
  external_id text        COLLATE "C" NOT NULL CONSTRAINT products_external_id UNIQUE,
  title       text        NOT NULL CHECK (title <> ''),
  description text        NOT NULL,
  category    text        COLLATE "C" CHECK (category <> ''),
  -- The category and all above it, so that "everything below Home" is one look-up.
  categories  text[]      COLLATE "C" NOT NULL,
  attributes  json        NOT NULL,
  version     bigint      NOT NULL CHECK (version > 0),
  archived    boolean     NOT NULL,
  mark        text        COLLATE "C" NOT NULL,
  document    text        NOT NULL,
  search      tsvector    NOT NULL,
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX products_by_search ON catalog.products USING gin (search) WHERE NOT archived;
CREATE INDEX products_by_category ON catalog.products USING gin (categories) WHERE NOT archived;

-- A sku belongs to one product for ever: orders, stock and their copies are keyed by it, and events
-- of two products about one sku would have no order between them.
CREATE TABLE catalog.variants (
  sku_key    text    COLLATE "C" PRIMARY KEY CHECK (sku_key <> ''),
  product_id text    COLLATE "C" NOT NULL REFERENCES catalog.products,
  sku        text    COLLATE "C" NOT NULL CHECK (upper(sku) = sku_key),
  title      text    NOT NULL,
  prices     json    NOT NULL CHECK (json_array_length(prices) > 0),
  attributes json    NOT NULL,
  archived   boolean NOT NULL,
  position   integer NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX variants_by_product ON catalog.variants (product_id);

-- What inventory last said; also about skus that are no product yet.
CREATE TABLE catalog.availability (
  sku_key      text   COLLATE "C" PRIMARY KEY,
  availability text   COLLATE "C" NOT NULL
               CHECK (availability IN ('in_stock', 'low', 'out_of_stock')),
  sequence     bigint NOT NULL CHECK (sequence > 0)
) WITH (fillfactor = 80);

CREATE TABLE catalog.categories (
  path   text COLLATE "C" PRIMARY KEY CHECK (path <> ''),
  parent text COLLATE "C" CHECK (parent <> path)
);

CREATE TABLE catalog.imports (
  import_id   text        COLLATE "C" PRIMARY KEY,
  lines_taken bigint      NOT NULL CHECK (lines_taken >= 0),
  accepted    bigint      NOT NULL CHECK (accepted >= 0),
  rejected    bigint      NOT NULL CHECK (rejected >= 0),
  errors_kept integer     NOT NULL CHECK (errors_kept BETWEEN 0 AND rejected),
  finished    boolean     NOT NULL,
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  CHECK (accepted + rejected <= lines_taken)
) WITH (fillfactor = 80);

CREATE TABLE catalog.import_errors (
  import_id text   COLLATE "C" NOT NULL REFERENCES catalog.imports,
  line      bigint NOT NULL CHECK (line > 0),
  code      text   COLLATE "C" NOT NULL,
  message   text   NOT NULL,
  PRIMARY KEY (import_id, line)
);
