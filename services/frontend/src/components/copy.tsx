"use client";

import { Check, Copy as CopyIcon } from "lucide-react";
import { useState } from "react";
import { cn } from "@/lib/cn";
import { useTexts } from "@/lib/texts";
import { Button } from "./ui/button";

function useCopied(): [boolean, (text: string) => void] {
  const [copied, setCopied] = useState(false);
  return [
    copied,
    (text) => {
      void navigator.clipboard.writeText(text).then(() => {
        setCopied(true);
        setTimeout(() => setCopied(false), 1500);
      });
    },
  ];
}

/** An id or a hash: shortened, whole on hover, copied on click. */
export function Id({ text, length = 8, className }: { text: string; length?: number; className?: string }) {
  const t = useTexts();
  const [copied, copy] = useCopied();
  return (
    <button
      type="button"
      title={text}
      aria-label={`${t("do.copy")}: ${text}`}
      onClick={() => copy(text)}
      className={cn("mono rounded px-1 text-xs hover:bg-hover", className)}
    >
      {copied ? t("do.copied") : text.slice(0, length)}
    </button>
  );
}

/** A button that copies a text. */
export function CopyButton({ text, className }: { text: string; className?: string }) {
  const t = useTexts();
  const [copied, copy] = useCopied();
  return (
    <Button size="sm" onClick={() => copy(text)} className={className}>
      {copied ? <Check aria-hidden /> : <CopyIcon aria-hidden />}
      {copied ? t("do.copied") : t("do.copy")}
    </Button>
  );
}
