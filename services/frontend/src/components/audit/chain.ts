type Link = { id: number; timestamp: string; hash: string; prev_hash: string };

/**
 * Whether rows that follow each other hang together: each names the hash of the one before. What it does not show is
 * whether a row's own hash is right; `zentoria audit verify` computes that.
 *
 * @param entries the newest first, with no filter, so that none is missing between two.
 * @returns the span that is whole, or the two rows between which it is broken; null: there is nothing to compare, or
 *   the rows are of one user alone (a member sees only their own).
 */
export function chainOf<L extends Link>(entries: readonly L[]): { whole: boolean; from: L; to: L } | null {
  const rows = [...entries].sort((one, other) => one.id - other.id);
  const [first, last] = [rows[0], rows.at(-1)];
  if (rows.length < 2 || first === undefined || last === undefined || last.id - first.id !== rows.length - 1) {
    return null;
  }
  for (const [index, row] of rows.entries()) {
    const before = rows[index - 1];
    if (before !== undefined && row.prev_hash !== before.hash) {
      return { whole: false, from: before, to: row };
    }
  }
  return { whole: true, from: first, to: last };
}
