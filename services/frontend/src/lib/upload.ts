"use client";

import { create } from "zustand";
import { ApiError, csrfToken } from "./api";

export type Upload = {
  id: string;
  name: string;
  size: number;
  sent: number;
  state: "sending" | "reading" | "done" | "failed";
  why?: string;
  fileId?: string;
  stop: () => void;
};

type Uploads = {
  all: Upload[];
  change: (id: string, part: Partial<Upload>) => void;
  add: (one: Upload) => void;
  drop: (id: string) => void;
};

export const useUploads = create<Uploads>((set) => ({
  all: [],
  add: (one) => set((now) => ({ all: [...now.all, one] })),
  change: (id, part) => set((now) => ({ all: now.all.map((one) => (one.id === id ? { ...one, ...part } : one)) })),
  drop: (id) => set((now) => ({ all: now.all.filter((one) => one.id !== id) })),
}));

const CHUNK = 8 << 20;
const ASK_MS = 1000;
const RETRIES = [0, 1000, 3000, 5000, 10_000, 20_000];

/** Send a file in pieces, so that a dropped connection goes on where it was (tus). Resolves to the id of the file. */
export async function upload(file: File, replaces?: string): Promise<string> {
  const { Upload: Tus } = await import("tus-js-client");
  const id = crypto.randomUUID();
  const { add, change } = useUploads.getState();
  return new Promise<string>((resolve, reject) => {
    const failed = (error: unknown) => {
      const why = error instanceof ApiError ? error.detail : error instanceof Error ? reasonOf(error) : String(error);
      change(id, { state: "failed", why });
      reject(error);
    };
    const sending = new Tus(file, {
      endpoint: "/bff/api/v1/uploads",
      chunkSize: CHUNK,
      retryDelays: RETRIES,
      metadata: {
        filename: file.name,
        filetype: file.type || "application/octet-stream",
        ...(replaces ? { replaces } : {}),
      },
      removeFingerprintOnSuccess: true,
      onBeforeRequest: (request) => request.setHeader("x-csrf-token", csrfToken()),
      onProgress: (sent) => change(id, { sent }),
      onError: failed,
      onSuccess: () => {
        change(id, { state: "reading", sent: file.size });
        const address = sending.url ?? "";
        stored(new URL(address, location.href).pathname.split("/").pop() ?? "")
          .then((fileId) => {
            change(id, { state: "done", fileId });
            resolve(fileId);
          })
          .catch(failed);
      },
    });
    add({
      id,
      name: file.name,
      size: file.size,
      sent: 0,
      state: "sending",
      stop: () => void sending.abort(true).then(() => useUploads.getState().drop(id)),
    });
    sending.start();
  });
}

/** Wait until a file was made of an upload; returns the file's id. */
async function stored(id: string): Promise<string> {
  const { call } = await import("./api");
  for (;;) {
    const found = await call<{ state: string; file_id: string | null; error: { detail?: string } | null }>(
      "GET",
      `/api/v1/uploads/${id}`,
    );
    if (found.file_id !== null && found.state === "done") {
      return found.file_id;
    }
    if (found.state === "failed" || found.state === "aborted") {
      throw new Error(found.error?.detail ?? found.state);
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
}

/** What the server said, of an error of tus'. */
function reasonOf(error: Error & { originalResponse?: { getBody(): string } | null }): string {
  try {
    return JSON.parse(error.originalResponse?.getBody() ?? "").detail;
  } catch {
    return error.message;
  }
}
