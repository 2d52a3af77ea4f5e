import "server-only";
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stateFolder } from "./settings";

/**
 * Sessions on disk, so that a new release signs nobody out. A file is named by a hash of the browser's cookie and
 * encrypted with a key that is made of the cookie: whoever has the disk has no token.
 */
const LONGEST_MS = 8 * 24 * 3600 * 1000;
const TIDY_MS = 3600 * 1000;
const KEY = /^[A-Za-z0-9_-]{43}$/;
let tidied = 0;

/** A new name for a session: 256 bits. */
export function newKey(): string {
  return randomBytes(32).toString("base64url");
}

/** Whether a cookie's value can be one. */
export function isKey(text: string | undefined): text is string {
  return text !== undefined && KEY.test(text);
}

/** What was kept under a key; null: nothing, or it cannot be read. */
export async function read<T>(key: string): Promise<T | null> {
  try {
    const sealed = await readFile(place(key));
    const opener = createDecipheriv("aes-256-gcm", secret(key), sealed.subarray(0, 12));
    opener.setAuthTag(sealed.subarray(12, 28));
    return JSON.parse(Buffer.concat([opener.update(sealed.subarray(28)), opener.final()]).toString()) as T;
  } catch {
    return null;
  }
}

/** Keep a value; the one before is replaced at once and entirely. */
export async function write(key: string, value: unknown): Promise<void> {
  const nonce = randomBytes(12);
  const sealer = createCipheriv("aes-256-gcm", secret(key), nonce);
  const text = Buffer.concat([sealer.update(JSON.stringify(value)), sealer.final()]);
  await mkdir(stateFolder(), { recursive: true, mode: 0o700 });
  const fresh = `${place(key)}.${randomBytes(4).toString("hex")}`;
  await writeFile(fresh, Buffer.concat([nonce, sealer.getAuthTag(), text]), { mode: 0o600 });
  await rename(fresh, place(key));
  if (Date.now() - tidied > TIDY_MS) {
    tidied = Date.now();
    void tidy();
  }
}

/** Forget a session. */
export async function remove(key: string): Promise<void> {
  await rm(place(key), { force: true });
}

function place(key: string): string {
  return join(stateFolder(), createHash("sha256").update(key).digest("hex"));
}

function secret(key: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, "", "zentoria session", 32));
}

/** Remove what no session can need any more. */
async function tidy(): Promise<void> {
  for (const name of await readdir(stateFolder()).catch(() => [])) {
    const file = join(stateFolder(), name);
    const found = await stat(file).catch(() => null);
    if (found?.isFile() && Date.now() - found.mtimeMs > LONGEST_MS) {
      await rm(file, { force: true });
    }
  }
}
