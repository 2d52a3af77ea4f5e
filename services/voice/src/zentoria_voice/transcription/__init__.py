"""Speech to text: files by HTTP, in the form of OpenAI's interface."""
