"use client";

import { Command, PanelLeft, Plus } from "lucide-react";
import Link from "next/link";
import { usePathname } from "next/navigation";
import { useState } from "react";
import { cn } from "@/lib/cn";
import { usePending } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { useUser } from "@/lib/user";
import { Button } from "../ui/button";
import { PLACES } from "./places";
import { Recent } from "./recent";

/** The side bar of large screens. */
export function Rail({ narrow: first, openPalette }: { narrow: boolean; openPalette: () => void }) {
  const t = useTexts();
  const path = usePathname();
  const user = useUser();
  const [narrow, setNarrow] = useState(first);
  const waiting = usePending().data?.length ?? 0;
  const toggle = () => {
    // biome-ignore lint/suspicious/noDocumentCookie: the server reads it, so that nothing moves after the page is there
    document.cookie = `rail=${narrow ? "wide" : "narrow"}; path=/; max-age=31536000; samesite=lax; secure`;
    setNarrow(!narrow);
  };
  return (
    <nav
      aria-label={t("nav.main")}
      className={cn("hidden shrink-0 flex-col border-r bg-surface md:flex", narrow ? "w-14" : "w-62")}
    >
      <div className={cn("flex h-14 items-center gap-2 px-3", narrow && "justify-center px-0")}>
        {!narrow && <span className="grow pl-1 font-semibold text-base tracking-tight">Zentoria</span>}
        <Button
          size="icon-sm"
          variant="ghost"
          onClick={toggle}
          aria-label={t(narrow ? "nav.expand" : "nav.collapse")}
          aria-expanded={!narrow}
        >
          <PanelLeft aria-hidden />
        </Button>
      </div>
      <div className={cn("flex gap-2 px-3 pb-2", narrow && "flex-col items-center px-0")}>
        <Link
          href="/chat"
          aria-label={t("chat.new")}
          title={narrow ? t("chat.new") : undefined}
          className="inline-flex h-9 min-w-9 grow items-center justify-center gap-2 rounded-md border bg-raised px-2 font-medium hover:bg-hover"
        >
          <Plus aria-hidden className="size-4 stroke-[1.5]" />
          {!narrow && t("chat.new")}
        </Link>
        <Button
          size="icon"
          onClick={openPalette}
          aria-label={t("palette.title")}
          title={`${t("palette.title")} (Ctrl K)`}
        >
          <Command aria-hidden />
        </Button>
      </div>
      <ul className="space-y-0.5 px-2 py-1">
        {PLACES.map(({ href, label, icon: Icon }) => {
          const here = path === href || path.startsWith(`${href}/`);
          const badge = href === "/approvals" && waiting > 0;
          return (
            <li key={href}>
              <Link
                href={href}
                aria-current={here ? "page" : undefined}
                title={narrow ? t(label) : undefined}
                className={cn(
                  "relative flex h-9 items-center gap-2.5 rounded-md px-2.5 text-muted hover:bg-hover hover:text-text",
                  here && "bg-hover font-medium text-text",
                  narrow && "justify-center",
                )}
              >
                <Icon aria-hidden className="size-4 shrink-0 stroke-[1.5]" />
                <span className={narrow ? "sr-only" : "grow"}>{t(label)}</span>
                {badge && (
                  <span
                    className={cn(
                      "rounded-full bg-waits-soft px-1.5 font-medium text-waits text-xs",
                      narrow && "absolute top-0 right-0",
                    )}
                  >
                    <span aria-hidden>{waiting}</span>
                    <span className="sr-only">{t("nav.waiting", { n: waiting })}</span>
                  </span>
                )}
              </Link>
            </li>
          );
        })}
      </ul>
      {narrow ? <div className="grow" /> : <Recent className="min-h-0 grow overflow-y-auto px-2 pt-3" />}
      <Link
        href="/settings"
        className={cn("flex items-center gap-2.5 border-t px-4 py-3 hover:bg-hover", narrow && "justify-center px-0")}
      >
        <span
          aria-hidden
          className="flex size-7 shrink-0 items-center justify-center rounded-full bg-accent-soft font-medium text-accent text-xs"
        >
          {(user.name || user.email).slice(0, 1).toUpperCase()}
        </span>
        <span className={narrow ? "sr-only" : "min-w-0"}>
          <span className="block truncate font-medium">{user.name || user.email}</span>
          <span className="block truncate text-muted text-xs">{user.email}</span>
        </span>
      </Link>
    </nav>
  );
}
