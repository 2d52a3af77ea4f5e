"use client";

import { create } from "zustand";
import { persist } from "zustand/middleware";

export type Attached = { id: string; filename: string };
export type Draft = { text: string; files: Attached[] };
type Drafts = { all: Record<string, Draft>; put: (key: string, draft: Draft) => void };

const KEPT = 30;

/** What was typed and not sent, by conversation: nothing of it is lost when a session or a connection ends. */
export const useDrafts = create<Drafts>()(
  persist(
    (set) => ({
      all: {},
      put: (key, draft) =>
        set((now) => {
          const { [key]: _, ...rest } = now.all;
          const others = Object.entries(rest).slice(-KEPT);
          return { all: Object.fromEntries(draft.text || draft.files.length ? [...others, [key, draft]] : others) };
        }),
    }),
    { name: "zentoria-drafts" },
  ),
);

export const NONE: Draft = { text: "", files: [] };
