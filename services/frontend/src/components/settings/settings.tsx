"use client";

import Link from "next/link";
import type { Key } from "@/i18n";
import { cn } from "@/lib/cn";
import { useTexts } from "@/lib/texts";
import { PageHead } from "../page-head";
import { Appearance } from "./appearance";
import { Keys } from "./keys";
import { Memory } from "./memory";
import { Profile } from "./profile";
import { Programs } from "./programs";
import { Security } from "./security";
import { Sessions } from "./sessions";

const PARTS = ["profile", "security", "sessions", "keys", "programs", "memory", "appearance"] as const;

/** Everything about oneself; each part has an address. */
export function Settings({ part, publicUrl }: { part: string; publicUrl: string }) {
  const t = useTexts();
  return (
    <>
      <PageHead title={t("settings.title")} />
      <div className="flex min-h-0 grow flex-col overflow-y-auto md:flex-row">
        <nav
          aria-label={t("settings.title")}
          className="shrink-0 overflow-x-auto border-b px-2 py-2 md:w-52 md:border-r md:border-b-0 md:px-3 md:py-4"
        >
          <ul className="flex gap-0.5 md:flex-col">
            {PARTS.map((one) => (
              <li key={one}>
                <Link
                  href={`/settings/${one}`}
                  aria-current={one === part ? "page" : undefined}
                  className={cn(
                    "block whitespace-nowrap rounded-md px-2.5 py-1.5 text-muted hover:bg-hover hover:text-text pointer-coarse:py-2.5",
                    one === part && "bg-hover font-medium text-text",
                  )}
                >
                  {t(`settings.${one}` as Key)}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div className="min-w-0 grow px-4 py-6 md:overflow-y-auto md:px-8">
          <div className="mx-auto max-w-2xl">
            <h2 className="mb-4 font-semibold text-lg tracking-tight">
              {t(`settings.${(PARTS as readonly string[]).includes(part) ? part : "profile"}` as Key)}
            </h2>
            {part === "security" ? (
              <Security />
            ) : part === "sessions" ? (
              <Sessions />
            ) : part === "keys" ? (
              <Keys />
            ) : part === "programs" ? (
              <Programs publicUrl={publicUrl} />
            ) : part === "memory" ? (
              <Memory />
            ) : part === "appearance" ? (
              <Appearance />
            ) : (
              <Profile />
            )}
          </div>
        </div>
      </div>
    </>
  );
}
