"use client";

import { useQueryClient } from "@tanstack/react-query";
import type { Schemas } from "@/api/types";
import { ApiError, call } from "@/lib/api";
import { useTexts } from "@/lib/texts";
import { useToasts } from "@/lib/toast";

type File = Schemas["File"];

/** What one can do with a file; each is told, and a deletion can be undone. */
export function useFileActions() {
  const t = useTexts();
  const client = useQueryClient();
  const show = useToasts((toasts) => toasts.show);
  const anew = () => client.invalidateQueries({ queryKey: ["files"] });
  const tried = async (what: () => Promise<unknown>) => {
    try {
      await what();
      return true;
    } catch (error) {
      show(error instanceof ApiError && error.detail ? error.detail : t("error.title"));
      return false;
    } finally {
      await anew();
    }
  };
  const restore = (file: File) => tried(() => call("POST", `/api/v1/files/${file.id}/restore`));
  return {
    restore,
    change: (file: File, change: Partial<Pick<File, "filename" | "tags">>) =>
      tried(() =>
        call("PATCH", `/api/v1/files/${file.id}`, { body: change, headers: { "if-match": `"${file.revision}"` } }),
      ),
    remove: async (file: File) => {
      if (await tried(() => call("DELETE", `/api/v1/files/${file.id}`))) {
        show(t("files.deleted", { name: file.filename }), { label: t("do.undo"), run: () => void restore(file) });
      }
    },
  };
}
