"""First run and new passwords: links that work once, for an hour."""
