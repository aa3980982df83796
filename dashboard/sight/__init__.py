"""What the dashboard sees, read from Redis and the database; nothing here knows Flask."""
