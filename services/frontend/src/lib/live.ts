"use client";

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { create } from "zustand";
import { address } from "./api";
import { useOnline } from "./status";

export type Reading = { state: "reading" | "ready" | "failed" | "needs_a_look"; page?: number; pages?: number };
type Live = { files: Record<string, Reading>; put: (id: string, reading: Reading) => void };

/** How far the reading of files is, as events tell it. */
export const useLive = create<Live>((set) => ({
  files: {},
  put: (id, reading) => set((now) => ({ files: { ...now.files, [id]: reading } })),
}));

const TOPICS = ["approvals", "conversations", "files", "jobs", "workflows"];
const LONGEST_WAIT_MS = 15_000;

/** Listens to the events of this user for as long as the page is open; what they are about is asked anew. */
export function useEvents(): void {
  const client = useQueryClient();
  useEffect(() => {
    let source: EventSource | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let last = "";
    let tries = 0;
    const open = () => {
      source = new EventSource(address("/api/v1/events", { last_event_id: last }));
      source.addEventListener("hello", () => {
        tries = 0;
        useOnline.getState().reached();
      });
      for (const topic of TOPICS) {
        source.addEventListener(topic, (event) => {
          last = event.lastEventId;
          heard(client, topic, event.data);
        });
      }
      source.onerror = () => {
        // The browser itself comes back after a drop, but not after an answer such as 503.
        if (source?.readyState === EventSource.CLOSED) {
          const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** tries++);
          timer = setTimeout(again, wait * (0.75 + Math.random() / 2));
        }
      };
    };
    const again = async () => {
      const session = await fetch("/bff/session").catch(() => null);
      if (session?.status === 401) {
        useOnline.getState().signedOut();
        return;
      }
      if (session === null) {
        useOnline.getState().lost();
      }
      open();
    };
    open();
    return () => {
      clearTimeout(timer);
      source?.close();
    };
  }, [client]);
}

function heard(client: QueryClient, topic: string, text: string): void {
  const { data } = JSON.parse(text) as { data: Record<string, unknown> };
  if (topic === "files" && typeof data.file_id === "string" && typeof data.state === "string") {
    useLive.getState().put(data.file_id, data as unknown as Reading);
    if (data.state === "reading") {
      return;
    }
  }
  void client.invalidateQueries({ queryKey: [topic] });
  if (topic === "jobs") {
    void client.invalidateQueries({ queryKey: ["files"] });
  }
}
