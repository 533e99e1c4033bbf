CREATE TABLE invoices (
  id           BIGSERIAL PRIMARY KEY,
  number       TEXT UNIQUE,
  customer_id  BIGINT NOT NULL,
  order_id     BIGINT,
  amount_cents BIGINT NOT NULL,
  status       TEXT NOT NULL,
  note         TEXT NOT NULL DEFAULT '',
  issued_at    TEXT NOT NULL,
  updated_at   TEXT NOT NULL
);
CREATE INDEX invoices_customer_id ON invoices (customer_id);
CREATE INDEX invoices_order_id ON invoices (order_id);
CREATE INDEX invoices_status ON invoices (status);

CREATE TABLE payments (
  id           BIGSERIAL PRIMARY KEY,
  invoice_id   BIGINT NOT NULL REFERENCES invoices (id),
  amount_cents BIGINT NOT NULL,
  reference    TEXT NOT NULL,
  paid_at      TEXT NOT NULL
);
CREATE INDEX payments_invoice_id ON payments (invoice_id);

CREATE TABLE idempotency_keys (
  key         TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  status      INTEGER NOT NULL,
  body        TEXT NOT NULL,
  created_at  TEXT NOT NULL
);
