import "server-only";
import { cookies, headers } from "next/headers";
import { filled, type Key, type Messages, type Values } from ".";
import { chosenLanguage, LANGUAGES } from "./languages";

/** The language of this request and its texts. */
export async function language(): Promise<{ code: string; messages: Messages }> {
  const code = chosenLanguage((await cookies()).get("lang")?.value, (await headers()).get("accept-language"));
  const found = LANGUAGES[code];
  if (found === undefined) {
    throw new Error(`no language ${code}`);
  }
  return { code, messages: found.messages };
}

/** Texts on the server. */
export async function texts(): Promise<(key: Key, values?: Values) => string> {
  const { messages } = await language();
  return (key, values) => filled(messages[key], values);
}
