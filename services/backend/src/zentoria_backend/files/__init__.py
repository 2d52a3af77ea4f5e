"""Files of users: what is known of them is in PostgreSQL, what is in them behind the S3 interface."""
