"""The OAuth 2.1 authorization server: for MCP clients, command lines, and other programs that act for a user."""
