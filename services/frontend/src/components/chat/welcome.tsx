"use client";

import { useEffect } from "react";
import type { Schemas } from "@/api/types";
import { useOne } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { useUser } from "@/lib/user";
import type { Attached } from "./drafts";

const EXAMPLES = ["chat.example_1", "chat.example_2", "chat.example_3"] as const;

/** The beginning of a conversation: what one can ask. */
export function Welcome({ fileId, put }: { fileId: string | null; put: (text: string, files: Attached[]) => void }) {
  const t = useTexts();
  const user = useUser();
  const file = useOne<Schemas["File"]>(["files", "one", fileId], `/api/v1/files/${fileId}`, {}, fileId !== null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: once for a file
  useEffect(() => {
    if (file.data) {
      put("", [{ id: file.data.id, filename: file.data.filename }]);
    }
  }, [file.data?.id]);
  return (
    <div className="mx-auto flex min-h-full max-w-3xl flex-col justify-center px-5 py-10 md:px-7">
      <p className="text-muted">{user.name}</p>
      <h2 className="mt-1 font-semibold text-xl tracking-tight">{t("chat.empty_title")}</h2>
      <p className="mt-2 max-w-prose text-base text-muted leading-relaxed">{t("chat.empty_text")}</p>
      <ul className="mt-6 divide-y border-y">
        {EXAMPLES.map((key) => (
          <li key={key}>
            <button
              type="button"
              onClick={() => put(t(key), [])}
              className="w-full px-1 py-3 text-left text-base hover:bg-surface"
            >
              {t(key)}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
