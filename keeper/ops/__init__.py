"""What operators touch: the command line and what it prints."""
