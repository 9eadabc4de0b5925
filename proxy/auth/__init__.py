"""Authorization: who asks (tokens, keys, revocations), and what the policies let them ask."""
