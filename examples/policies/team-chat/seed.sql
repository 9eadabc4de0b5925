INSERT INTO channels VALUES ('general', 'General', true), ('cake', 'Cake for Bob', false), ('empty', 'Empty', false);
INSERT INTO channel_members VALUES ('general', 'ada'), ('general', 'bob'), ('cake', 'ada'), ('cake', 'eve');
INSERT INTO messages VALUES
  (1, 'general', 'bob', 'Good morning', false),
  (2, 'general', 'ada', 'Wrong channel', true),
  (3, 'cake', 'eve', 'Chocolate?', false);
INSERT INTO drafts VALUES (1, 'ada', 'cake', 'Or lemon'), (2, 'bob', 'general', 'Is anybody here');
