-- Options that variants choose from, media, and when what is shown changes by the clock alone.
ALTER TABLE catalog.products
  ADD COLUMN options   text        NOT NULL DEFAULT '[]',
  ADD COLUMN media     text        NOT NULL DEFAULT '[]',
  ADD COLUMN redraw_at timestamptz;
CREATE INDEX products_by_redraw ON catalog.products (redraw_at) WHERE redraw_at IS NOT NULL;
CREATE INDEX products_archived_by_category ON catalog.products (category) WHERE archived;
ALTER TABLE catalog.variants
  ADD COLUMN options      text NOT NULL DEFAULT '{}',
  ADD COLUMN group_prices text NOT NULL DEFAULT '[]';

-- Categories have an id that outlives their name and place; the path follows from both.
ALTER TABLE catalog.categories
  ADD COLUMN category_id text    COLLATE "C",
  ADD COLUMN name        text,
  ADD COLUMN position    integer NOT NULL DEFAULT 0,
  ADD COLUMN description text    NOT NULL DEFAULT '';
UPDATE catalog.categories
   SET category_id = 'cat_' || substr(md5(path), 1, 26),
       name = regexp_replace(path, '^.*/', '');
ALTER TABLE catalog.categories
  ALTER COLUMN category_id SET NOT NULL,
  ALTER COLUMN name SET NOT NULL,
  ADD CONSTRAINT categories_category_id UNIQUE (category_id);
CREATE INDEX categories_by_parent ON catalog.categories (parent, position, name);

-- Where products still have to follow their category to.
CREATE TABLE catalog.moved_categories (
  from_path text COLLATE "C" PRIMARY KEY,
  to_path   text COLLATE "C" NOT NULL,
  by        text NOT NULL DEFAULT ''
);

CREATE TABLE catalog.attributes (
  name       text    COLLATE "C" PRIMARY KEY,
  kind       text    COLLATE "C" NOT NULL
             CHECK (kind IN ('text', 'number', 'boolean', 'choice', 'date')),
  unit       text,
  choices    text    NOT NULL DEFAULT '[]',
  required   boolean NOT NULL DEFAULT false,
  categories text[]  COLLATE "C" NOT NULL DEFAULT '{}',
  description text   NOT NULL DEFAULT ''
);

-- Prices for groups of customers. `list_version` is the version of the list in which a price became
-- part of its product: one that is behind its list has still to. A price that is to go is marked,
-- and goes with the product's next version.
CREATE TABLE catalog.price_lists (
  list_id        text        COLLATE "C" PRIMARY KEY,
  name           text        NOT NULL,
  customer_group text        COLLATE "C" NOT NULL,
  currency       text        COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  valid_from     timestamptz,
  valid_until    timestamptz,
  archived       boolean     NOT NULL DEFAULT false,
  version        bigint      NOT NULL DEFAULT 1 CHECK (version > 0)
);
CREATE TABLE catalog.list_prices (
  list_id      text   COLLATE "C" NOT NULL REFERENCES catalog.price_lists,
  sku_key      text   COLLATE "C" NOT NULL REFERENCES catalog.variants,
  amount_e4    bigint NOT NULL CHECK (amount_e4 >= 0),
  removed      boolean NOT NULL DEFAULT false,
  list_version bigint  NOT NULL DEFAULT 0,
  PRIMARY KEY (list_id, sku_key)
);
CREATE INDEX list_prices_by_sku ON catalog.list_prices (sku_key);
CREATE INDEX list_prices_by_version ON catalog.list_prices (list_id, list_version);

-- What changed of a product, who said so and when; the last hundred changes are kept.
CREATE TABLE catalog.history (
  product_id text        COLLATE "C" NOT NULL,
  version    bigint      NOT NULL,
  at         timestamptz NOT NULL,
  by         text        NOT NULL,
  changes    text        NOT NULL,
  PRIMARY KEY (product_id, version)
);
