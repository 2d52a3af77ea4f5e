"use client";

import { createContext, type ReactNode, useCallback, useContext } from "react";
import { filled, type Key, type Messages, type Values } from "@/i18n";

const Texts = createContext<{ messages: Messages; code: string } | null>(null);

/** Gives the texts of one language to everything below. */
export function TextsProvider({ messages, code, children }: { messages: Messages; code: string; children: ReactNode }) {
  return <Texts value={{ messages, code }}>{children}</Texts>;
}

export type T = (key: Key, values?: Values) => string;

/** Texts of the interface. */
export function useTexts(): T {
  const found = useContext(Texts);
  if (found === null) {
    throw new Error("no texts here");
  }
  const { messages } = found;
  return useCallback((key, values) => filled(messages[key], values), [messages]);
}

/** The language's code, for dates and numbers. */
export function useLanguage(): string {
  return useContext(Texts)?.code ?? "en";
}
