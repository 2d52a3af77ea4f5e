"use client";

import { useQueryClient } from "@tanstack/react-query";
import { type DragEvent, useCallback, useRef, useState } from "react";
import { useTexts } from "@/lib/texts";
import { useToasts } from "@/lib/toast";
import { upload } from "@/lib/upload";

/** Send files, and say how it went. */
export function useUpload(done?: (fileId: string, file: File) => void) {
  const t = useTexts();
  const client = useQueryClient();
  return useCallback(
    async (files: Iterable<File>) => {
      const { show } = useToasts.getState();
      await Promise.all(
        [...files].map(async (file) => {
          try {
            const id = await upload(file);
            done?.(id, file);
            show(t("files.upload_done", { name: file.name }));
          } catch {
            // The row of the upload says why.
          }
          await client.invalidateQueries({ queryKey: ["files"] });
        }),
      );
    },
    [client, done, t],
  );
}

/** Handlers for a place that takes files. */
export function useDrop(take: (files: File[]) => void) {
  const [over, setOver] = useState(false);
  const depth = useRef(0);
  const has = (event: DragEvent) => event.dataTransfer.types.includes("Files");
  return {
    over,
    handlers: {
      onDragEnter: (event: DragEvent) => {
        if (has(event)) {
          depth.current += 1;
          setOver(true);
        }
      },
      onDragLeave: () => {
        depth.current = Math.max(0, depth.current - 1);
        setOver(depth.current > 0);
      },
      onDragOver: (event: DragEvent) => has(event) && event.preventDefault(),
      onDrop: (event: DragEvent) => {
        depth.current = 0;
        setOver(false);
        if (event.dataTransfer.files.length) {
          event.preventDefault();
          take([...event.dataTransfer.files]);
        }
      },
    },
  };
}
