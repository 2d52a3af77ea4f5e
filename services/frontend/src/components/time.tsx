"use client";

import { useEffect, useState } from "react";
import { useFormat } from "@/lib/format";

/** When it was, as people say it; the exact moment on hover. */
export function Time({ at, className }: { at: string; className?: string }) {
  const format = useFormat();
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 30_000);
    return () => clearInterval(timer);
  }, []);
  return (
    <time dateTime={at} title={format.exact(at)} className={className} suppressHydrationWarning>
      {format.ago(at)}
    </time>
  );
}
