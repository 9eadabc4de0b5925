CREATE TABLE products (
  id bigint PRIMARY KEY,
  shop_id text NOT NULL,
  title text NOT NULL,
  published boolean NOT NULL DEFAULT false,
  purchase_price integer
);

CREATE TABLE orders (
  id bigint PRIMARY KEY,
  shop_id text NOT NULL,
  customer_id text NOT NULL,
  state text NOT NULL,
  delivery_address text
);

CREATE TABLE order_items (
  id bigint PRIMARY KEY,
  order_id bigint NOT NULL REFERENCES orders,
  product_id bigint NOT NULL REFERENCES products,
  quantity integer NOT NULL
);

CREATE TABLE reviews (
  id bigint PRIMARY KEY,
  product_id bigint NOT NULL REFERENCES products,
  author text NOT NULL,
  body text NOT NULL,
  approved boolean NOT NULL DEFAULT false
);
