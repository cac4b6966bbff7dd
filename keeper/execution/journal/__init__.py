"""What the keeper has decided to send, written down before it is sent: SQLite, or PostgreSQL by URL."""
