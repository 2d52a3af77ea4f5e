"use client";

import type { QueryClient } from "@tanstack/react-query";
import { create } from "zustand";
import { ApiError, address, call } from "@/lib/api";
import type { Asked } from "../approvals/card";
import type { Citation } from "./model";

export type Stage = "searching" | "reading" | "writing" | "waiting_model";

/** An answer that is coming. */
export type Answer = {
  id: string;
  conversation: string;
  text: string;
  stage: Stage | null;
  searched: string;
  citations: Citation[];
  unsupported: [number, number][];
  proposals: Asked[];
  dropped: string[];
  refused: boolean;
  state: "streaming" | "dropped" | "done" | "failed" | "cancelled";
  error: ApiError | null;
};

type Answers = { all: Record<string, Answer>; change: (id: string, part: (now: Answer) => Partial<Answer>) => void };

/** Answers by their id. They go on when one looks at something else. */
export const useAnswers = create<Answers>((set) => ({
  all: {},
  change: (id, part) =>
    set((now) => {
      const one = now.all[id];
      return one ? { all: { ...now.all, [id]: { ...one, ...part(one) } } } : now;
    }),
}));

const sources = new Map<string, () => void>();
const LONGEST_WAIT_MS = 8000;
const TRIES = 12;

/** Listen to an answer, from its beginning or from where a dropped connection left it. */
export function follow(client: QueryClient, conversation: string, id: string): void {
  if (sources.has(id)) {
    return;
  }
  const fresh: Answer = {
    id,
    conversation,
    text: "",
    stage: null,
    searched: "",
    citations: [],
    unsupported: [],
    proposals: [],
    dropped: [],
    refused: false,
    state: "streaming",
    error: null,
  };
  useAnswers.setState((now) => ({ all: { ...now.all, [id]: fresh } }));
  const { change } = useAnswers.getState();
  let last = "";
  let tries = 0;
  let waits = "";
  let frame = 0;
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;

  // What comes within one frame is shown at once: a fast model writes hundreds of pieces a second.
  const flush = () => {
    frame = 0;
    const text = waits;
    waits = "";
    change(id, (now) => ({ text: now.text + text, stage: "writing", state: "streaming" }));
  };
  const end = (state: Answer["state"], error: ApiError | null = null) => {
    cancelAnimationFrame(frame);
    if (waits) {
      flush();
    }
    change(id, () => ({ state, error, stage: null }));
    clearTimeout(timer);
    source?.close();
    sources.delete(id);
    void client.invalidateQueries({ queryKey: ["conversations"] });
  };
  const hear = (name: string, what: (data: Record<string, unknown>) => void) =>
    source?.addEventListener(name, (event) => {
      if (!(event instanceof MessageEvent) || typeof event.data !== "string") {
        return;
      }
      last = event.lastEventId || last;
      tries = 0;
      what(JSON.parse(event.data));
    });
  const open = () => {
    source = new EventSource(
      address(`/api/v1/conversations/${conversation}/answers/${id}/events`, { last_event_id: last }),
    );
    source.onopen = () => change(id, () => ({ state: "streaming" }));
    hear("status", (data) => {
      const stage = String(data.stage) as Stage;
      change(id, (now) => ({
        stage,
        searched: stage === "searching" ? String(data.text ?? now.searched) : now.searched,
      }));
    });
    hear("delta", (data) => {
      waits += String(data.text ?? "");
      frame ||= requestAnimationFrame(flush);
      if (document.hidden) {
        flush();
      }
    });
    hear("citation", (data) => change(id, (now) => ({ citations: [...now.citations, data as unknown as Citation] })));
    hear("proposal", (data) =>
      change(id, (now) => ({ proposals: [...now.proposals, (data.approval ?? data) as Asked] })),
    );
    hear("dropped", (data) => change(id, (now) => ({ dropped: [...now.dropped, String(data.what ?? "")] })));
    hear("done", (data) => {
      change(id, (now) => ({
        text: typeof data.text === "string" ? data.text : now.text + waits,
        unsupported: (data.unsupported as [number, number][] | undefined) ?? [],
        refused: data.refused === true,
      }));
      waits = "";
      end(data.cancelled ? "cancelled" : "done");
    });
    hear("cancelled", () => end("cancelled"));
    hear("error", (data) =>
      end(
        "failed",
        new ApiError(
          Number(data.status ?? 500),
          String(data.detail ?? data.title ?? ""),
          String(data.type ?? "").replace("/problems/", ""),
          (data.request_id as string) ?? null,
        ),
      ),
    );
    source.onerror = (event) => {
      if (event instanceof MessageEvent || !sources.has(id)) {
        return;
      }
      change(id, () => ({ state: "dropped" }));
      if (source?.readyState === EventSource.CLOSED) {
        if (++tries > TRIES) {
          end("failed", new ApiError(0, "", "network", null));
          return;
        }
        timer = setTimeout(open, Math.min(LONGEST_WAIT_MS, 300 * 2 ** tries));
      }
    };
  };
  sources.set(id, () => end("cancelled"));
  open();
}

/** Stop an answer: what is there of it stays. */
export async function stop(conversation: string, id: string): Promise<void> {
  await call("POST", `/api/v1/conversations/${conversation}/answers/${id}/cancel`).catch(() => undefined);
  sources.get(id)?.();
}
