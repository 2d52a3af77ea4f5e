import type { Key, Messages } from "./en";

export type { Key, Messages };
export type Values = Record<string, string | number>;

/** A text with its `{names}` filled in. */
export function filled(text: string, values: Values = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
