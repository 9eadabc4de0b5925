INSERT INTO organisations VALUES
  ('00000000-0000-4000-8000-00000000000a', 'Acme', 'pay@acme.example'),
  ('00000000-0000-4000-8000-00000000000b', 'Bolt', 'pay@bolt.example');
INSERT INTO projects VALUES
  (1, '00000000-0000-4000-8000-00000000000a', 'Rockets', false),
  (2, '00000000-0000-4000-8000-00000000000b', 'Screws', false);
INSERT INTO issues (id, org_id, project_id, title, status, assignee, visibility) VALUES
  (11, '00000000-0000-4000-8000-00000000000a', 1, 'It does not fly', 'open', 'ada', 'internal'),
  (12, '00000000-0000-4000-8000-00000000000a', 1, 'Salaries', 'open', 'eve', 'private'),
  (13, '00000000-0000-4000-8000-00000000000a', 1, 'Assigned to Ada alone', 'closed', 'ada', 'private'),
  (21, '00000000-0000-4000-8000-00000000000b', 2, 'Left or right', 'open', NULL, 'internal');
INSERT INTO comments VALUES
  (101, 11, 'ada', 'Have you lit it?'),
  (102, 12, 'eve', 'Too high'),
  (201, 21, 'bob', 'Right');
