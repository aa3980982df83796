"""What `docker compose up` needs before anything can start: passwords, certificates, the database's schema."""
