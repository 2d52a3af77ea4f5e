"""Sign-in: who may try, what is asked for, what is answered."""
