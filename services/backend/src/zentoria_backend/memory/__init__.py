"""What answers may go by about their user: the user reads it and deletes it."""
