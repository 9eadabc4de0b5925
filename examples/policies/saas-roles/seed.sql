INSERT INTO tenants VALUES
  ('00000000-0000-4000-8000-0000000000a1', 'North'), ('00000000-0000-4000-8000-0000000000b2', 'South');
INSERT INTO users VALUES
  ('ada', '00000000-0000-4000-8000-0000000000a1', 'Ada', 'ada@north.example', 'x'),
  ('eve', '00000000-0000-4000-8000-0000000000a1', 'Eve', 'eve@north.example', 'x'),
  ('bob', '00000000-0000-4000-8000-0000000000b2', 'Bob', 'bob@south.example', 'x');
INSERT INTO documents VALUES
  (1, '00000000-0000-4000-8000-0000000000a1', 7, 'eve', 'Plans', '…'),
  (2, '00000000-0000-4000-8000-0000000000a1', 8, 'eve', 'Other plans', '…'),
  (3, '00000000-0000-4000-8000-0000000000a1', NULL, 'ada', 'My plans', '…'),
  (4, '00000000-0000-4000-8000-0000000000b2', 7, 'bob', 'Plans of the South', '…');
INSERT INTO invoices VALUES
  (1, '00000000-0000-4000-8000-0000000000a1', 100, NULL), (2, '00000000-0000-4000-8000-0000000000b2', 200, NULL);
