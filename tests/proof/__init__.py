"""What is proved of policies, and that it is true."""
