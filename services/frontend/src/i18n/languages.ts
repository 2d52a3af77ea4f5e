import { de } from "./de";
import { en, type Messages } from "./en";

/** Languages by their code (BCP 47), with the name that their speakers give them. */
export const LANGUAGES: Record<string, { name: string; messages: Messages }> = {
  en: { name: "English", messages: en },
  de: { name: "Deutsch", messages: de },
};

/** The language that fits best: what was chosen, else the first of the browser's that we have. */
export function chosenLanguage(chosen: string | undefined, accepted: string | null): string {
  const wanted = [chosen ?? "", ...(accepted ?? "").split(",").map((one) => one.split(";")[0]?.trim() ?? "")];
  const found = wanted.map((one) => one.split("-")[0]?.toLowerCase() ?? "").find((one) => one in LANGUAGES);
  return found ?? "en";
}
