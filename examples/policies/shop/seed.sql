INSERT INTO products VALUES
  (1, 'tea', 'Green tea', true, 2), (2, 'tea', 'Next year''s tea', false, 3), (3, 'toys', 'A duck', true, 1);
INSERT INTO orders VALUES
  (11, 'tea', 'ada', 'paid', '1 Road'), (12, 'toys', 'ada', 'cart', NULL), (13, 'toys', 'bob', 'paid', '2 Lane');
INSERT INTO order_items VALUES (101, 11, 1, 2), (102, 12, 3, 1), (103, 13, 3, 10);
INSERT INTO reviews VALUES (1, 1, 'ada', 'Hot', true), (2, 3, 'bob', 'It sinks', false);
