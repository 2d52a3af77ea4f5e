"""Which passwords and addresses are taken.

NIST SP 800-63B-4: length counts, kinds of characters do not; what attackers try first is refused. A password is kept
as Unicode NFKC, so that it is the same from every keyboard.
"""

from __future__ import annotations

import re
import unicodedata

import email_validator
import zxcvbn

MIN_LENGTH = 12
MAX_LENGTH = 256
"""Longer than any passphrase, short enough to cost nothing."""
MIN_GUESSES_LOG10 = 8.0
"""zxcvbn's line between "somewhat guessable" and "safely unguessable": 10^8 guesses."""
MAX_EMAIL = 254
MAX_NAME = 100

_AT_HOME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*(?:local|localhost|test|internal|lan)")
_STAND_IN = "example.com"


class RuleError(ValueError):
    """What was given is not taken. The text is for the person who gave it, and does not repeat it."""


def normalise_password(password: str) -> str:
    """NFKC, as SP 800-63B asks before hashing. Control characters are refused: no form sends them on purpose.

    Raises:
        RuleError: it is too long to be looked at, or holds what is no text.
    """
    if len(password) > MAX_LENGTH:
        raise RuleError(f"a password has at most {MAX_LENGTH} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in password):
        raise RuleError("a password has no control characters")
    return unicodedata.normalize("NFKC", password)


def check_new_password(password: str, *, about: tuple[str, ...] = ()) -> str:
    """Check a password that somebody chose, and return it normalised.

    It takes milliseconds of processor time: call it in a thread where it matters.

    Args:
        password: as typed.
        about: words that an attacker tries for this person: address, name.

    Raises:
        RuleError: it is too short or too easy to guess.
    """
    normal = normalise_password(password)
    if len(normal) < MIN_LENGTH:
        raise RuleError(f"a password has at least {MIN_LENGTH} characters; three or four unrelated words do well")
    words = [word for text in about for word in (text, *text.replace("@", " ").replace(".", " ").split()) if word]
    # The library takes 72 characters at most: its time grows with the square of the length.
    found = zxcvbn.zxcvbn(normal[:72], user_inputs=["zentoria", *words])
    if found["guesses_log10"] < MIN_GUESSES_LOG10:
        why = str(found["feedback"]["warning"]).rstrip(".")
        raise RuleError(
            f"this password is easy to guess{f' ({why[:1].lower()}{why[1:]})' if why else ''}: take another"
        )
    return normal


def clean_name(name: str) -> str:
    """A name as it is kept: in one line, without characters that turn or hide text.

    Raises:
        RuleError: it is too long.
    """
    kept = " ".join("".join(each if each.isprintable() else " " for each in name).split())
    if len(kept) > MAX_NAME:
        raise RuleError(f"a name has at most {MAX_NAME} characters")
    return unicodedata.normalize("NFC", kept)


def normalise_email(address: str) -> str:
    """The form of an address under which an account is kept and found: NFC, lower case, the domain in IDNA's form.

    Lower case also before the @: no provider of today gives ``Anna@`` and ``anna@`` to two people, and an account that
    could be opened twice would be the greater evil. Characters that only look like others are refused. No look-up in
    the DNS, and ``anna@home.local`` will do: the address is a name here, and a home server may have neither.

    Raises:
        RuleError: it is no address.
    """
    if len(address) > MAX_EMAIL * 4:
        raise RuleError("this is not an e-mail address")
    given = address.strip()
    local, _, domain = given.rpartition("@")
    # The library knows that no mail is delivered to these, which is not what is asked here.
    at_home = _AT_HOME.fullmatch(domain.lower())
    try:
        found = email_validator.validate_email(
            f"{local}@{_STAND_IN}" if at_home else given, check_deliverability=False, allow_smtputf8=True
        )
    except email_validator.EmailNotValidError:
        raise RuleError("this is not an e-mail address") from None
    domain = domain if at_home else found.ascii_domain or found.domain
    # What came in, for the library has normalised its own copy.
    if any(_another(character) for character in local):
        raise RuleError("this e-mail address has a character that could be taken for another one")
    normal = unicodedata.normalize("NFC", found.local_part.lower())
    result = f"{normal}@{domain.lower()}"
    if len(result) > MAX_EMAIL:
        raise RuleError("this is not an e-mail address")
    return result


def _another(character: str) -> bool:
    """Whether lower case or normalisation makes of it what another address has: a Kelvin sign is no k, nor ß an ss.

    A provider that vouches for the one address must not open the account of the other.
    """
    return not character.isascii() and (
        unicodedata.normalize("NFKC", character) != character or character.casefold() != character.lower()
    )
