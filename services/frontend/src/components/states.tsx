"use client";

import type { LucideIcon } from "lucide-react";
import { type ReactNode, useEffect, useState } from "react";
import { ApiError } from "@/lib/api";
import { useTexts } from "@/lib/texts";
import { Id } from "./copy";
import { Button } from "./ui/button";

/** A place with nothing in it: what belongs here, and how it comes here. */
export function Empty({
  icon: Icon,
  title,
  text,
  children,
}: {
  icon: LucideIcon;
  title: string;
  text: string;
  children?: ReactNode;
}) {
  return (
    <div className="mx-auto flex max-w-md flex-col items-center px-4 py-16 text-center">
      <Icon aria-hidden className="mb-4 size-7 stroke-[1.25] text-muted" />
      <h2 className="font-semibold text-base">{title}</h2>
      <p className="mt-1.5 text-muted">{text}</p>
      {children && <div className="mt-5">{children}</div>}
    </div>
  );
}

/** What happened, what is safe, what to do, and the id to tell others. */
export function Failure({ error, retry, children }: { error: unknown; retry?: () => void; children?: ReactNode }) {
  const t = useTexts();
  const found = error instanceof ApiError ? error : null;
  const text = found?.kind === "network" ? t("error.network") : found?.detail || t("error.unknown");
  return (
    <div
      role="alert"
      className="my-3 flex flex-wrap items-center gap-x-3 gap-y-2 rounded-md bg-failed-soft px-3 py-2.5"
    >
      <p className="min-w-48 grow text-failed">
        {text}
        {found?.requestId && (
          <span className="ml-2 text-xs">
            {t("error.request", { id: "" })}
            <Id text={found.requestId} className="text-failed" />
          </span>
        )}
      </p>
      {children}
      {retry && (
        <Button size="sm" onClick={retry}>
          {t("do.retry")}
        </Button>
      )}
    </div>
  );
}

/** Nothing for 300 ms, then a quiet bar. */
export function Loading() {
  const t = useTexts();
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 300);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div role="status" className="h-24 py-6">
      {late && (
        <div className="mx-auto h-0.5 w-40 animate-pulse rounded bg-accent">
          <span className="sr-only">{t("state.loading")}</span>
        </div>
      )}
    </div>
  );
}
