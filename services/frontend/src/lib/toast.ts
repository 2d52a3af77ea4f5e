import { create } from "zustand";

export type Toast = { id: number; text: string; action?: { label: string; run: () => void } };
type Toasts = { all: Toast[]; show: (text: string, action?: Toast["action"]) => void; drop: (id: number) => void };

const SHOWN_MS = 5000;
const UNDO_MS = 10_000;
let last = 0;

/** Short news that need no action; an undo stays for ten seconds. */
export const useToasts = create<Toasts>((set, get) => ({
  all: [],
  show: (text, action) => {
    const id = ++last;
    set((now) => ({ all: [...now.all.slice(-2), { id, text, action }] }));
    setTimeout(() => get().drop(id), action ? UNDO_MS : SHOWN_MS);
  },
  drop: (id) => set((now) => ({ all: now.all.filter((one) => one.id !== id) })),
}));
