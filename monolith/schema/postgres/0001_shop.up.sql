CREATE TABLE cat (
  id   BIGSERIAL PRIMARY KEY,
  name TEXT NOT NULL
);

CREATE TABLE products (
  id      BIGSERIAL PRIMARY KEY,
  cat_id  BIGINT NOT NULL REFERENCES cat (id),
  sku     TEXT NOT NULL UNIQUE,
  name    TEXT NOT NULL,
  price   NUMERIC(10,2) NOT NULL,
  stock   INTEGER NOT NULL,
  descr   TEXT NOT NULL DEFAULT '',
  updated TEXT NOT NULL
);
CREATE INDEX products_cat_id ON products (cat_id);

CREATE TABLE product_img (
  product_id BIGINT PRIMARY KEY REFERENCES products (id),
  mime       TEXT NOT NULL,
  data       BYTEA NOT NULL,
  updated    TEXT NOT NULL
);

CREATE TABLE customers (
  id      BIGSERIAL PRIMARY KEY,
  email   TEXT NOT NULL UNIQUE,
  name    TEXT NOT NULL,
  pw      TEXT NOT NULL,
  created TEXT NOT NULL
);

CREATE TABLE sessions (
  token       TEXT PRIMARY KEY,
  customer_id BIGINT NOT NULL REFERENCES customers (id),
  expires     TEXT NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE orders (
  id          BIGSERIAL PRIMARY KEY,
  customer_id BIGINT NOT NULL REFERENCES customers (id),
  total       NUMERIC(10,2) NOT NULL,
  st          INTEGER NOT NULL,
  invoice_id  BIGINT,
  created     TEXT NOT NULL
);
CREATE INDEX orders_customer_id ON orders (customer_id);
CREATE INDEX orders_uninvoiced ON orders (id) WHERE invoice_id IS NULL;

CREATE TABLE order_items (
  id         BIGSERIAL PRIMARY KEY,
  order_id   BIGINT NOT NULL REFERENCES orders (id),
  product_id BIGINT NOT NULL REFERENCES products (id),
  qty        INTEGER NOT NULL,
  price      NUMERIC(10,2) NOT NULL
);
CREATE INDEX order_items_order_id ON order_items (order_id);

CREATE TABLE idem (
  k       TEXT PRIMARY KEY,
  fp      TEXT NOT NULL,
  status  INTEGER NOT NULL,
  body    TEXT NOT NULL,
  created TEXT NOT NULL
);

CREATE TABLE inv (
  id          BIGSERIAL PRIMARY KEY,
  no          TEXT UNIQUE,
  customer_id BIGINT NOT NULL,
  order_id    BIGINT,
  amount      NUMERIC(10,2) NOT NULL,
  st          INTEGER NOT NULL,
  note        TEXT NOT NULL DEFAULT '',
  created     TEXT NOT NULL,
  updated     TEXT NOT NULL
);
CREATE INDEX inv_customer_id ON inv (customer_id);
CREATE INDEX inv_order_id ON inv (order_id);
CREATE INDEX inv_st ON inv (st);

CREATE TABLE inv_pay (
  id      BIGSERIAL PRIMARY KEY,
  inv_id  BIGINT NOT NULL REFERENCES inv (id),
  amount  NUMERIC(10,2) NOT NULL,
  ref     TEXT NOT NULL,
  created TEXT NOT NULL
);
CREATE INDEX inv_pay_inv_id ON inv_pay (inv_id);

CREATE TABLE inv_idem (
  k       TEXT PRIMARY KEY,
  fp      TEXT NOT NULL,
  status  INTEGER NOT NULL,
  body    TEXT NOT NULL,
  created TEXT NOT NULL
);
