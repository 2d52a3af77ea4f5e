import "server-only";
import { timingSafeEqual } from "node:crypto";
import { cookies } from "next/headers";
import { gatewayUrl } from "./settings";
import * as vault from "./vault";

/** Only the server sees what is in a session; the browser has its key, in a cookie that no script can read. */
export type Session = {
  access: string;
  accessUntil: number;
  refresh: string;
  refreshUntil: number;
  csrf: string;
  user: { id: number; email: string; name: string; role: "owner" | "member" };
};

type Tokens = {
  access_token: string;
  expires_in: number;
  refresh_token: string;
  refresh_expires_in: number;
  user: Session["user"];
};

export const COOKIE = "__Host-zentoria";
const EARLY_MS = 60_000;

type Memory = { sessions: Map<string, Session>; refreshes: Map<string, Promise<Session | null>> };
// The bundler may load this module once for pages and once for routes: there shall be one memory.
const global = globalThis as { zentoriaSessions?: Memory };
global.zentoriaSessions ??= { sessions: new Map(), refreshes: new Map() };
const memory = global.zentoriaSessions;

/** The key that the browser sent. */
export async function sessionKey(): Promise<string | undefined> {
  const value = (await cookies()).get(COOKIE)?.value;
  return vault.isKey(value) ? value : undefined;
}

/** The caller's session, its access token good for a minute at least; null: nobody is signed in. */
export async function session(): Promise<Session | null> {
  const key = await sessionKey();
  return key === undefined ? null : live(key);
}

/** The session of a key. All requests that find its token spent wait for one refresh. */
export async function live(key: string, spent?: string): Promise<Session | null> {
  const found = memory.sessions.get(key) ?? (await vault.read<Session>(key));
  if (found === null) {
    return null;
  }
  memory.sessions.set(key, found);
  if (found.accessUntil - EARLY_MS > Date.now() && found.access !== spent) {
    return found;
  }
  const running = memory.refreshes.get(key) ?? refreshed(key, found).finally(() => memory.refreshes.delete(key));
  memory.refreshes.set(key, running);
  return running;
}

/** Begin a session with tokens of the gateway; returns its key. */
export async function begin(tokens: Tokens): Promise<{ key: string; session: Session }> {
  const key = vault.newKey();
  const made = sessionOf(tokens, vault.newKey());
  await keep(key, made);
  return { key, session: made };
}

/** Forget a session here. */
export async function forget(key: string): Promise<void> {
  memory.sessions.delete(key);
  await vault.remove(key);
}

/** Whether a text is the session's CSRF token. */
export function isCsrf(one: Session, text: string | null): boolean {
  const [given, right] = [Buffer.from(text ?? ""), Buffer.from(one.csrf)];
  return given.length === right.length && timingSafeEqual(given, right);
}

/** The attributes of the cookie: this host alone, no script, not from other sites' forms. */
export function cookieOptions(until: number) {
  return { httpOnly: true, secure: true, sameSite: "lax", path: "/", expires: new Date(until) } as const;
}

async function refreshed(key: string, old: Session): Promise<Session | null> {
  const answer = await fetch(`${gatewayUrl()}/api/v1/auth/refresh`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ refresh_token: old.refresh }),
    cache: "no-store",
    signal: AbortSignal.timeout(15_000),
  }).catch(() => null);
  if (answer?.ok) {
    const made = { ...sessionOf((await answer.json()) as Tokens, old.csrf) };
    await keep(key, made);
    return made;
  }
  if (answer?.status === 401 || answer?.status === 403) {
    await forget(key);
    return null;
  }
  // The gateway is away: the session is not over for that, and what is left of the token may do.
  return old;
}

async function keep(key: string, one: Session): Promise<void> {
  memory.sessions.set(key, one);
  await vault.write(key, one);
}

function sessionOf(tokens: Tokens, csrf: string): Session {
  const now = Date.now();
  return {
    access: tokens.access_token,
    accessUntil: now + tokens.expires_in * 1000,
    refresh: tokens.refresh_token,
    refreshUntil: now + tokens.refresh_expires_in * 1000,
    csrf,
    user: tokens.user,
  };
}
