"""``/mcp``: the Model Context Protocol, for assistants and other programs that speak it."""
