"""Work that goes on after the answer: rows that users see, and the queue that works at them."""
