"use client";

import { useSyncExternalStore } from "react";

const QUERY = "(min-width: 64rem)";

/** Whether two things fit side by side. */
export function useWide(): boolean {
  return useSyncExternalStore(
    (changed) => {
      const media = matchMedia(QUERY);
      media.addEventListener("change", changed);
      return () => media.removeEventListener("change", changed);
    },
    () => matchMedia(QUERY).matches,
    () => true,
  );
}
