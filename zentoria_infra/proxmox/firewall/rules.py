"""Changing lists of rules: each rule is found by what it is, never by a position that was seen before.

Proxmox rewrites the whole list at every call, puts every new rule to position 0, and knows rules by position alone.
So each change reads the list, and sends its digest with the position; when somebody else was faster, Proxmox refuses
the digest, and it is read again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import tenacity

from zentoria_infra.firewall.config import Rule
from zentoria_infra.proxmox import errors
from zentoria_infra.proxmox.connection import Repeat
from zentoria_infra.proxmox.firewall import records as fw
from zentoria_infra.proxmox.firewall.read import FirewallObserver

ATTEMPTS = 6
"""How often a list is read again that somebody else has changed in between."""

Find = Callable[[Rule], bool]
"""Tells the rule that is meant from the others of its list."""


class Send(Protocol):
    """One call on a scope."""

    def __call__(
        self,
        scope: fw.Scope,
        verb: str,
        template: str,
        params: Mapping[str, Any],
        tried: str,
        *,
        repeat: Repeat,
        **path: object,
    ) -> Any:
        """Send it; errors as those of a connection."""


class RuleWriter:
    """Writes lists of rules: of guests, security groups, nodes and the datacenter. Made by FirewallWriter."""

    def __init__(
        self,
        send: Send,
        observer: FirewallObserver,
        gate: Callable[[fw.Scope], AbstractContextManager[None]],
        *,
        sleep: Callable[[float], None] = time.sleep,
        again: Callable[[fw.Scope, str], None] = lambda scope, tried: None,
    ) -> None:
        self._again = again
        self._send = send
        self._observe = observer
        self._gate = gate
        self._sleep = sleep

    def insert(self, scope: fw.Scope, rule: Rule, *, find: Find | None = None) -> None:
        """Put a rule at position 0: one call.

        After a lost answer the list is read before the call is repeated, and again after it.

        Args:
            scope: whose list.
            rule: the rule.
            find: tells this rule from others; default: first word of the comment, and type.
        """
        is_same = find or fw.same_as(rule)
        tried = f"add a rule to {scope.title}"
        params = fw.rule_params(rule)
        with self._gate(scope):
            try:
                self._send(scope, "POST", scope.rules, params, tried, repeat=Repeat.UNSENT)
            except (errors.LostAnswerError, errors.TransientError) as error:
                self._insert_again(scope, params, is_same, tried, error)

    def update(self, scope: fw.Scope, find: Find, change: Rule | Callable[[Rule], Rule]) -> None:
        """Give the rule that is found other fields; its position stays. One call to read, one if something differs.

        Args:
            scope: whose list.
            find: must hold for one rule.
            change: the new rule, or a function of the one that is there.

        Raises:
            MissingError: there is none.
            DuplicateRuleError: there are several.
            ModifiedError: somebody else keeps changing the list.
        """
        tried = f"change a rule of {scope.title}"

        def once() -> None:
            there = self._observe.rules(scope)
            at = _only(there, find, tried)
            new = change(there.rules[at]) if callable(change) else change
            if params := fw.rule_changes(there.rules[at], new):
                self._at(scope, "PUT", at, {**params, "digest": there.digest}, tried)

        with self._gate(scope):
            self._repeated(once, scope, tried)

    def move(self, scope: fw.Scope, find: Find, *, before: Find | None = None) -> None:
        """Move the rule that is found: to just before another, or to the end. A call to read, one if it must move.

        Raises:
            MissingError: there is none, or none to stand before.
            DuplicateRuleError: there are several.
            ModifiedError: somebody else keeps changing the list.
        """
        tried = f"move a rule of {scope.title}"

        def once() -> None:
            there = self._observe.rules(scope)
            at = _only(there, find, tried)
            # Proxmox counts the target in the list as it was, and takes anything past its end for the end.
            to = len(there.rules) if before is None else _only(there, before, tried)
            if to not in (at, at + 1):
                self._at(scope, "PUT", at, {"moveto": to, "digest": there.digest}, tried)

        with self._gate(scope):
            self._repeated(once, scope, tried)

    def delete(self, scope: fw.Scope, find: Find, *, surplus: bool = False) -> None:
        """Remove the rule that is found; nothing to do when there is none. A call to read, one if it is there.

        Args:
            scope: whose list.
            find: must hold for one rule, or with ``surplus`` for several.
            surplus: of several, remove the first.

        Raises:
            DuplicateRuleError: there are several.
            ModifiedError: somebody else keeps changing the list.
        """
        tried = f"remove a rule of {scope.title}"
        fewest = [0]

        def once() -> None:
            there = self._observe.rules(scope)
            found = [at for at, rule in enumerate(there.rules) if find(rule)]
            if len(found) < fewest[0] or not found:
                return  # also: the call whose answer was lost has done it
            if len(found) > 1 and not surplus:
                raise _several(there, found, tried)
            fewest[0] = len(found)
            self._at(scope, "DELETE", found[0], {"digest": there.digest}, tried)

        with self._gate(scope):
            self._repeated(once, scope, tried)

    def _insert_again(
        self, scope: fw.Scope, params: Mapping[str, Any], is_same: Find, tried: str, lost: Exception
    ) -> None:
        """After a lost answer: insert unless it was done; then see that it was not done twice."""
        if any(is_same(rule) for rule in self._observe.rules(scope).rules):
            return
        if isinstance(lost, errors.AnswerTimeoutError):
            raise lost  # it may still be waiting for a lock, and be carried out later
        self._again(scope, tried)
        self._send(scope, "POST", scope.rules, params, tried, repeat=Repeat.UNSENT)

        def once() -> None:
            there = self._observe.rules(scope)
            found = [at for at, rule in enumerate(there.rules) if is_same(rule)]
            if len(found) > 1:
                self._at(scope, "DELETE", found[-1], {"digest": there.digest}, tried)

        self._repeated(once, scope, tried)

    def _at(self, scope: fw.Scope, verb: str, position: int, params: Mapping[str, Any], tried: str) -> None:
        self._send(scope, verb, scope.rules + "/{pos}", params, tried, repeat=Repeat.UNSENT, pos=position)

    def _repeated(self, once: Callable[[], None], scope: fw.Scope, tried: str) -> None:
        """Read and change again, after a refused digest or a lost answer: what was done shows in the list.

        By then the list may be another's, with rules that look like ours.
        """
        tries = itertools.count()

        def attempt() -> None:
            if next(tries):
                self._again(scope, tried)
            once()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                (errors.ModifiedError, errors.LostAnswerError, errors.TransientError)
            )
            & tenacity.retry_if_not_exception_type(errors.AnswerTimeoutError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            sleep=self._sleep,
            reraise=True,
        )
        retrying(attempt)


def _only(there: fw.RuleList, find: Find, tried: str) -> int:
    found = [at for at, rule in enumerate(there.rules) if find(rule)]
    if not found:
        raise errors.MissingError(
            tried, got="there is no such rule", todo="somebody has removed it: run again, so that it is planned anew"
        )
    if len(found) > 1:
        raise _several(there, found, tried)
    return found[0]


def _several(there: fw.RuleList, found: list[int], tried: str) -> fw.DuplicateRuleError:
    word = there.rules[found[0]].comment.partition(" ")[0]
    return fw.DuplicateRuleError(
        tried,
        got=f"the rules at positions {', '.join(map(str, found))} carry the same identity ({word})",
        todo="remove all but one by hand, then run again",
    )
