"use client";

import { X } from "lucide-react";
import { useTexts } from "@/lib/texts";
import { useToasts } from "@/lib/toast";
import { Button } from "../ui/button";

export function Toasts() {
  const t = useTexts();
  const { all, drop } = useToasts();
  return (
    <div
      role="status"
      aria-live="polite"
      className="pointer-events-none fixed inset-x-3 bottom-20 z-50 flex flex-col items-center gap-2 md:bottom-6"
    >
      {all.map((one) => (
        <div
          key={one.id}
          className="pointer-events-auto flex max-w-full animate-rise items-center gap-2 rounded-md border bg-raised py-1.5 pr-1.5 pl-3.5 shadow-float"
        >
          <span className="min-w-0 truncate py-1">{one.text}</span>
          {one.action && (
            <Button
              size="sm"
              variant="ghost"
              className="text-accent"
              onClick={() => {
                one.action?.run();
                drop(one.id);
              }}
            >
              {one.action.label}
            </Button>
          )}
          <Button size="icon-sm" variant="ghost" aria-label={t("do.close")} onClick={() => drop(one.id)}>
            <X aria-hidden />
          </Button>
        </div>
      ))}
    </div>
  );
}
