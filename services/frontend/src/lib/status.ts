import { create } from "zustand";

type Online = {
  state: "well" | "offline" | "signed-out";
  reached: () => void;
  lost: () => void;
  signedOut: () => void;
};

/** Whether the server can be reached, and knows us. */
export const useOnline = create<Online>((set) => ({
  state: "well",
  reached: () => set((now) => (now.state === "offline" ? { state: "well" } : now)),
  lost: () => set((now) => (now.state === "well" ? { state: "offline" } : now)),
  signedOut: () => set({ state: "signed-out" }),
}));
