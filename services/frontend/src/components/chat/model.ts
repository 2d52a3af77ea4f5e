import type { Schemas } from "@/api/types";
import type { Box } from "../document/pdf";

/** A place in a document that an answer stands on. */
export type Citation = {
  n: number;
  chunk_id: string;
  file_id: string;
  version: number;
  filename: string;
  page: number;
  boxes: Box[];
  passage: string;
  start: number;
  end: number;
};

export type Message = Schemas["Message"];

/** A message in the path that is shown, and its siblings: the branches at this place. */
export type Shown = { message: Message; siblings: string[] };

const ROOT = "";

/**
 * The path through a tree of messages that is shown: at each place the branch that was chosen, else the newest.
 *
 * @param messages all of a conversation, in their order.
 * @param chosen the id of the chosen child, by the id of its parent ("" for the first message).
 */
export function pathOf(messages: readonly Message[], chosen: Readonly<Record<string, string>>): Shown[] {
  const tree = messages.some((one) => one.parent_id);
  if (!tree) {
    return messages.map((message) => ({ message, siblings: [message.id] }));
  }
  const children = new Map<string, Message[]>();
  for (const one of messages) {
    const parent = one.parent_id ?? ROOT;
    children.set(parent, [...(children.get(parent) ?? []), one]);
  }
  const path: Shown[] = [];
  const seen = new Set<string>();
  for (let at = ROOT; ; ) {
    const branches = children.get(at) ?? [];
    const message = branches.find((one) => one.id === chosen[at]) ?? branches.at(-1);
    if (message === undefined || seen.has(message.id)) {
      return path;
    }
    seen.add(message.id);
    path.push({ message, siblings: branches.map((one) => one.id) });
    at = message.id;
  }
}

/** Of what is not text in a message, the citations. */
export function citationsOf(message: Message): Citation[] {
  return (message.parts as Record<string, unknown>[])
    .filter((part) => part && typeof part === "object" && "chunk_id" in part && "n" in part)
    .map((part) => part as unknown as Citation);
}

/** Of what is not text in a message, the proposals: ids of approvals. */
export function proposalsOf(message: Message): Record<string, unknown>[] {
  return (message.parts as Record<string, unknown>[]).flatMap((part) =>
    part && typeof part === "object" && "approval" in part ? [part.approval as Record<string, unknown>] : [],
  );
}

/** Whether the answer says that the documents do not say it. */
export function refusedOf(message: Message): boolean {
  return (message.parts as Record<string, unknown>[]).some((part) => part?.refused === true);
}

/** Of what is not text in a message, the stretches that no document supports. */
export function unsupportedOf(message: Message): [number, number][] {
  return (message.parts as Record<string, unknown>[]).flatMap((part) =>
    part && typeof part === "object" && Array.isArray(part.unsupported) ? (part.unsupported as [number, number][]) : [],
  );
}

const CITE = "#cite-";
const GREY = "#unsupported";

/**
 * Markdown in which citations are links `[n](#cite-n)`, and what no document supports is `[text](#unsupported)`.
 * A marker that the text itself has there (`[1]`) becomes the link.
 *
 * @param text the answer.
 * @param citations with their places in it, in code points.
 * @param grey stretches that no document supports.
 */
export function marked(text: string, citations: readonly Citation[], grey: readonly [number, number][]): string {
  if (/[\ud800-\udfff]/.test(text)) {
    const at = unitsOf(text);
    const place = (point: number) => at[Math.min(point, at.length - 1)] ?? text.length;
    return placed(
      text,
      citations.map((one) => ({ ...one, start: place(one.start), end: place(one.end) })),
      grey.map(([start, end]) => [place(start), place(end)]),
    );
  }
  return placed(text, citations, grey);
}

/** Where each code point begins, in UTF-16's units, and where the last one ends. */
function unitsOf(text: string): number[] {
  const found = [0];
  for (const point of text) {
    found.push((found.at(-1) ?? 0) + point.length);
  }
  return found;
}

function placed(text: string, citations: readonly Citation[], grey: readonly [number, number][]): string {
  const edits = new Map<number, { end: number; text: string }>();
  const notes = new Map<number, string>();
  for (const one of citations) {
    const there = text.slice(one.start, one.end);
    if (/^\[\d+\]$/.test(there)) {
      edits.set(one.start, { end: one.end, text: link(one.n) });
    } else {
      const end = Math.min(one.end, text.length);
      notes.set(end, (notes.get(end) ?? "") + link(one.n));
    }
  }
  for (const [start, end] of grey) {
    const there = text.slice(start, end);
    const inner = there.trim();
    if (inner && !/[[\]\n`|]/.test(inner) && ![...edits.keys()].some((at) => at >= start && at < end)) {
      edits.set(start, { end, text: there.replace(inner, `[${inner}](${GREY})`) });
    }
  }
  let made = "";
  let at = 0;
  const places = [...new Set([...edits.keys(), ...notes.keys()])].sort((one, other) => one - other);
  for (const place of places) {
    if (place < at) {
      made += notes.get(place) ?? "";
      continue;
    }
    made += text.slice(at, place) + (notes.get(place) ?? "");
    at = place;
    const edit = edits.get(place);
    if (edit) {
      made += edit.text;
      at = edit.end;
      made += notes.get(at) ?? "";
      notes.delete(at);
    }
  }
  return made + text.slice(at);
}

/** The number of the citation that a link is; null: it is none. */
export function citedBy(href: string | undefined): number | null {
  const number = Number(href?.startsWith(CITE) ? href.slice(CITE.length) : "");
  return number > 0 ? number : null;
}

export const isGrey = (href: string | undefined): boolean => href === GREY;

const link = (n: number): string => `[${n}](${CITE}${n})`;
