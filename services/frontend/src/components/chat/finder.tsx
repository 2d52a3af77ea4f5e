"use client";

import { Search, X } from "lucide-react";
import Link from "next/link";
import { useEffect, useState } from "react";
import type { Schemas } from "@/api/types";
import { useList } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { Recent } from "../shell/recent";
import { Failure } from "../states";
import { Time } from "../time";
import { Button } from "../ui/button";
import { Input } from "../ui/input";

/** Conversations by the words that were said in them. */
export function Finder({ done }: { done: () => void }) {
  const t = useTexts();
  const [words, setWords] = useState("");
  const [asked, setAsked] = useState("");
  const hits = useList<Schemas["Hit"]>(
    ["conversations", "search"],
    "/api/v1/conversations/search",
    { q: asked },
    asked !== "",
  );
  useEffect(() => {
    const timer = setTimeout(() => setAsked(words.trim()), 200);
    return () => clearTimeout(timer);
  }, [words]);
  return (
    <>
      <div className="flex items-center gap-1 border-b p-2">
        <div className="relative grow">
          <Search aria-hidden className="absolute top-2.5 left-2.5 size-4 stroke-[1.5] text-muted" />
          <Input
            type="search"
            autoFocus
            aria-label={t("chat.search")}
            placeholder={t("chat.search")}
            value={words}
            onChange={(event) => setWords(event.target.value)}
            className="pl-8"
          />
        </div>
        <Button variant="ghost" size="icon" aria-label={t("do.close")} onClick={done}>
          <X aria-hidden />
        </Button>
      </div>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: the links inside are what one presses */}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the same */}
      <div
        className="min-h-0 grow overflow-y-auto p-2"
        onClick={(event) => (event.target as HTMLElement).closest("a") && done()}
      >
        {!asked && <Recent />}
        {hits.error && <Failure error={hits.error} />}
        {hits.data?.length === 0 && <p className="px-2.5 py-6 text-muted">{t("chat.search_none")}</p>}
        <ul>
          {hits.data?.map((hit) => (
            <li key={hit.message_id}>
              <Link href={`/chat/${hit.conversation_id}`} className="block rounded-md px-2.5 py-2 hover:bg-hover">
                <span className="flex items-baseline justify-between gap-2">
                  <span className="truncate font-medium">{hit.title || t("chat.untitled")}</span>
                  <Time at={hit.created_at} className="shrink-0 text-muted text-xs" />
                </span>
                <span className="line-clamp-2 text-muted text-xs">{hit.excerpt}</span>
              </Link>
            </li>
          ))}
        </ul>
      </div>
    </>
  );
}
