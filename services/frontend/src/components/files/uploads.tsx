"use client";

import { X } from "lucide-react";
import { useFormat } from "@/lib/format";
import { useTexts } from "@/lib/texts";
import { useUploads } from "@/lib/upload";
import { Button } from "../ui/button";

/** Uploads that are under way, or failed. */
export function Uploads() {
  const t = useTexts();
  const format = useFormat();
  const { all, drop } = useUploads();
  const shown = all.filter((one) => one.state !== "done");
  if (!shown.length) {
    return null;
  }
  return (
    <ul className="mb-4 divide-y rounded-lg border bg-raised">
      {shown.map((one) => (
        <li key={one.id} className="flex items-center gap-3 px-3 py-2">
          <div className="min-w-0 grow">
            <p className={one.state === "failed" ? "truncate text-failed" : "truncate"}>
              {one.state === "failed"
                ? t("files.upload_failed", { name: one.name, why: one.why ?? "" })
                : t("files.uploading", { name: one.name })}
            </p>
            {one.state !== "failed" && (
              <progress
                aria-label={one.name}
                max={one.size || 1}
                value={one.sent}
                className="mt-1.5 block h-1 w-full overflow-hidden rounded [&::-moz-progress-bar]:bg-accent [&::-webkit-progress-bar]:bg-hover [&::-webkit-progress-value]:bg-accent"
              />
            )}
          </div>
          <span className="text-muted text-xs">
            {format.size(one.sent)} / {format.size(one.size)}
          </span>
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={t("do.cancel")}
            onClick={() => (one.state === "failed" ? drop(one.id) : one.stop())}
          >
            <X aria-hidden />
          </Button>
        </li>
      ))}
    </ul>
  );
}
