"""Speech to text while it is spoken: a WebSocket, with voice activity and partial results."""
