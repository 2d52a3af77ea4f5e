"use client";

export type Theme = "light" | "dark" | "system";

const YEAR = 31_536_000;

/** Remember it for the server, which renders the next page in it: so nothing flashes. */
function remember(name: string, value: string, seconds = YEAR): void {
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not in every browser yet
  document.cookie = `${name}=${value}; path=/; max-age=${seconds}; samesite=lax; secure`;
}

export function setTheme(theme: Theme): void {
  remember("theme", theme, theme === "system" ? 0 : YEAR);
  document.documentElement.className = theme;
}

export function currentTheme(): Theme {
  const name = document.documentElement.className;
  return name === "light" || name === "dark" ? name : "system";
}

export function setLanguage(code: string): void {
  remember("lang", code);
  location.reload();
}

/** A form, so that the browser follows the answer. */
export function signOut(): void {
  const form = document.createElement("form");
  form.method = "post";
  form.action = "/bff/sign-out";
  document.body.append(form);
  form.submit();
}
