"""Text to speech: Kokoro in English, espeak-ng in whatever other language."""
