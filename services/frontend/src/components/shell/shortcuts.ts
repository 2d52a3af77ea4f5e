"use client";

import { useRouter } from "next/navigation";
import { useEffect, useRef, useState } from "react";
import { PLACES } from "./places";

const SEQUENCE_MS = 1200;

/** Keys that work everywhere: Ctrl/Cmd K, `/`, `n`, `?`, and `g` with a letter. */
export function useShortcuts() {
  const router = useRouter();
  const [palette, setPalette] = useState(false);
  const [keys, setKeys] = useState(false);
  const began = useRef(0);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setPalette((open) => !open);
        return;
      }
      const target = event.target as HTMLElement;
      const typing = target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
      if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('[role="dialog"]')) {
        return;
      }
      if (Date.now() - began.current < SEQUENCE_MS) {
        began.current = 0;
        const place = PLACES.find((one) => one.go === event.key);
        if (place) {
          event.preventDefault();
          router.push(place.href);
          return;
        }
      }
      if (event.key === "g") {
        began.current = Date.now();
      } else if (event.key === "n") {
        event.preventDefault();
        router.push("/chat");
      } else if (event.key === "?") {
        setKeys(true);
      } else if (event.key === "/") {
        event.preventDefault();
        const field = document.querySelector<HTMLInputElement>('input[type="search"]');
        field ? field.focus() : setPalette(true);
      }
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, [router]);
  return { palette, setPalette, keys, setKeys };
}
