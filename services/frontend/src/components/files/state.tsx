"use client";

import { Check, CircleAlert, LoaderCircle } from "lucide-react";
import { cn } from "@/lib/cn";
import { type Reading, useLive } from "@/lib/live";
import { useTexts } from "@/lib/texts";

type Known = { id: string; document?: string | null };

/** How far a file is read: as events say it, else as the file says. */
export function FileState({ file, className }: { file: Known; className?: string }) {
  const t = useTexts();
  const heard = useLive((live) => live.files[file.id]);
  const reading: Reading | null =
    heard ??
    (file.document ? { state: file.document === "waiting" ? "reading" : (file.document as Reading["state"]) } : null);
  const style = cn(
    "inline-flex items-center gap-1.5 whitespace-nowrap text-muted [&_svg]:size-3.5 [&_svg]:stroke-[1.5]",
    className,
  );
  switch (reading?.state) {
    case "reading":
      return (
        <span className={style}>
          <LoaderCircle aria-hidden className="animate-spin" />
          {reading.pages
            ? t("files.state_reading", { page: reading.page ?? 0, pages: reading.pages })
            : t("files.state_started")}
        </span>
      );
    case "ready":
      return (
        <span className={style}>
          <Check aria-hidden className="text-accent" />
          {t("files.state_ready")}
        </span>
      );
    case "failed":
      return (
        <span className={cn(style, "text-failed")}>
          <CircleAlert aria-hidden />
          {t("files.state_failed")}
        </span>
      );
    case "needs_a_look":
      return (
        <span className={cn(style, "text-waits")}>
          <CircleAlert aria-hidden />
          {t("files.state_needs_a_look")}
        </span>
      );
    default:
      return <span className={style}>{t("files.state_stored")}</span>;
  }
}
