"""What goes wrong in an OAuth exchange, in the words of RFC 6749."""

from __future__ import annotations


class OAuthError(Exception):
    """A refusal with one of the registered codes; its text is meant for the developer of the client.

    Args:
        code: as ``invalid_grant`` (RFC 6749 sections 4.1.2.1 and 5.2, RFC 7591, RFC 8628, RFC 8707).
        description: printable ASCII without quotes and backslashes (RFC 6749 section 5.2).
        status: of the answer, where it is no redirect.
    """

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.status = status
